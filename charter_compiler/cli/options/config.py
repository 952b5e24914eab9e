"""Options of ``charter config``."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One action so far."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    check = actions.add_parser("check", help="check a folder or a running server; exits with 1 if something is wrong")
    check.add_argument("what", metavar="DIR|URL", help="engine configuration, or http://host:port of a server")
    check.add_argument(
        "--plan",
        type=Path,
        metavar="PATH",
        help="plan.json, or the folder of a compilation (default: that in DIR)",
    )
