"""SGLang's own argument parser: ``sglang_peer.py ARGUMENTS.json``, a list of argument lists; for each one line,
``{"parsed": {...}}`` or ``{"error": ...}``. Runs with the Python of ``.venv-hints`` (``tools/peer_hints.sh``)."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from parsed_arguments import print_parsed
from sglang.srt.server_args import ServerArgs


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sglang")
    ServerArgs.add_cli_args(parser)
    return parser


if __name__ == "__main__":
    print_parsed(Path(sys.argv[1]), make_parser)
