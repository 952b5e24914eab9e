"""Options of ``charter demo``."""

from __future__ import annotations

import argparse
from pathlib import Path

from charter_compiler.cli.options.values import positive
from charter_compiler.executor.defaults import DEFAULT_CONCURRENCY

DOCUMENTS = 4
MAX_TOKENS = 24


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How much to run; the defaults take a few minutes on two cores."""
    parser.add_argument("-o", "--output", type=Path, default=Path("demo-out"), metavar="DIR", help="(%(default)s)")
    parser.add_argument("--documents", type=positive, default=DOCUMENTS, metavar="N", help="(default: %(default)s)")
    parser.add_argument(
        "--max-tokens", type=positive, default=MAX_TOKENS, metavar="N", help="output tokens a call (%(default)s)"
    )
    parser.add_argument(
        "--concurrency", type=positive, default=DEFAULT_CONCURRENCY, metavar="N", help="items in flight (%(default)s)"
    )
