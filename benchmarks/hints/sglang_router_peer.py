"""sglang-router's own argument parser: ``sglang_router_peer.py ARGUMENTS.json``, a list of argument lists; for each one
line, ``{"parsed": {...}}`` or ``{"error": ...}``. Runs with the Python of ``.venv-hints`` (``tools/peer_hints.sh``)."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
from pathlib import Path

from sglang_router.router_args import RouterArgs


def main(path: Path) -> None:
    for words in json.loads(path.read_text(encoding="utf-8")):
        parser = argparse.ArgumentParser(prog="sglang_router")
        RouterArgs.add_cli_args(parser)
        errors = io.StringIO()
        try:
            with contextlib.redirect_stderr(errors):
                found = vars(parser.parse_args(words))
        except SystemExit:
            print(json.dumps({"error": errors.getvalue().splitlines()[-1]}))
            continue
        asked = {word[2:].replace("-", "_") for word in words if word.startswith("--")}
        print(json.dumps({"parsed": {name: found[name] for name in sorted(asked) if name in found}}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
