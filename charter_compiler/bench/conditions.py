"""Under which conditions a measurement was made: the first line of each file of raw rows."""

from __future__ import annotations

import datetime
import os
import subprocess
from pathlib import Path
from typing import Any

from charter_compiler.api.environment import describe_environment
from charter_compiler.tokens.tokenizer import default_tokenizer

ROOT = Path(__file__).resolve().parents[2]


def now() -> str:
    """UTC in ISO form."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def conditions(*, seed: int, engine: object) -> dict[str, Any]:
    """Time, commit, hardware, versions, load, seed and tokenizer. ``commit`` and ``changed_files`` are ``None`` outside
    of a checkout; an environment that lies in somebody else's is none."""
    commit = changed = None
    if _git("rev-parse", "--show-toplevel") == str(ROOT):
        commit, changed = _git("rev-parse", "HEAD"), _git("status", "--porcelain", "--untracked-files=no")
    return {
        "measured": now(),
        "commit": commit,
        "changed_files": None if changed is None else bool(changed),
        "environment": dict(describe_environment()),
        "load_average": os.getloadavg()[0],
        "seed": seed,
        "tokenizer": default_tokenizer().fingerprint,
        "engine": engine,
    }


def _git(*arguments: str) -> str | None:
    try:
        run = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return run.stdout.strip()
