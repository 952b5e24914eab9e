"""Lambda's API key: from the environment, or from the file in which its tools and SkyPilot keep it."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Mapping
from pathlib import Path

from charter_compiler.diagnostics.errors import AuthenticationError

VARIABLE = "LAMBDA_API_KEY"
FILE = Path(".lambda_cloud") / "lambda_keys"
"""Below the home folder; a line ``api_key = ...``."""


def find_key(environment: Mapping[str, str] = os.environ, home: Path | None = None) -> str:
    """The key. Says on standard error where others may read its file.

    Raises:
        AuthenticationError: there is none, or it cannot be one.
    """
    path = (home or Path.home()) / FILE
    key, place = environment.get(VARIABLE, "").strip(), VARIABLE
    if not key:
        key, place = _in_file(path), str(path)
    remedy = f"make one in Lambda's console, then: export {VARIABLE}=..., or write 'api_key = ...' to ~/{FILE}"
    if not key:
        raise AuthenticationError("there is no API key for Lambda's cloud", remedy=remedy)
    if not key.isascii() or any(letter.isspace() for letter in key):
        raise AuthenticationError("this is no API key", place=place, remedy=remedy)  # it is not shown
    return key


def _in_file(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        return ""
    if path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
        print(f"charter: warning: others can read {path} (chmod 600 {path})", file=sys.stderr)
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals and name.strip() == "api_key":
            return value.strip().strip("\"'")
    return ""
