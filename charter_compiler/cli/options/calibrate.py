"""Options of ``charter calibrate``."""

from __future__ import annotations

import argparse

from charter_compiler.cli.options.shared import add_model, add_target, add_tokenizer
from charter_compiler.cli.options.values import seconds


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which target, and how long."""
    add_target(parser)
    parser.add_argument(
        "--seconds", type=seconds, default=60.0, metavar="S", help="how long to probe, about (default: %(default)g)"
    )
    add_model(parser)
    add_tokenizer(parser)
    parser.add_argument("--json", action="store_true", help="the whole result as JSON")
