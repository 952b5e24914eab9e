"""Options of ``charter cache``."""

from __future__ import annotations

import argparse

from charter_compiler.cli.options.shared import add_memo
from charter_compiler.cli.options.values import days


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """``stats``, ``clear`` and ``verify``."""
    add_memo(parser)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    stats = actions.add_parser("stats", help="what is stored, and where")
    stats.add_argument("--format", choices=["text", "json"], default="text")
    clear = actions.add_parser("clear", help="erase everything, or what is old")
    clear.add_argument("--older-than", type=days, metavar="DAYS", help="only what was written longer ago")
    actions.add_parser("verify", help="check every entry; exit status 1 if one is corrupt")
