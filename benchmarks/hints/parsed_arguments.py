"""Argument lists through an engine's own parser, for the peers beside this file; runs with their Pythons."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
from collections.abc import Callable
from pathlib import Path


def print_parsed(path: Path, make_parser: Callable[[], argparse.ArgumentParser]) -> None:
    """For each list in a JSON file one line: ``{"parsed": {...}}`` of the options that it names, or ``{"error": ...}``,
    the last line that the parser printed."""
    for words in json.loads(path.read_text(encoding="utf-8")):
        errors = io.StringIO()
        try:
            with contextlib.redirect_stderr(errors):
                found = vars(make_parser().parse_args(words))
        except SystemExit:
            print(json.dumps({"error": errors.getvalue().splitlines()[-1]}))
            continue
        asked = {word[2:].partition("=")[0].replace("-", "_") for word in words if word.startswith("--")}
        print(json.dumps({"parsed": {name: found[name] for name in sorted(asked) if name in found}}))
