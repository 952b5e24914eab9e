"""Options of ``charter plan``."""

from __future__ import annotations

import argparse
from pathlib import Path

from charter_compiler.api.defaults import WINDOW
from charter_compiler.cli.options.shared import add_predicted_target_arguments, add_run_arguments
from charter_compiler.cli.options.values import amount, hours, positive
from charter_compiler.executor.defaults import KNOWN_TARGETS, LOCAL


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The run that is planned, and what it may take."""
    add_run_arguments(parser, in_flight="on each replica")
    parser.add_argument("--inputs", required=True, type=Path, metavar="F.jsonl", help="one JSON object a line")
    parser.add_argument("--replicas", required=True, type=positive, metavar="N", help="the most that are thought of")
    parser.add_argument("--deadline", type=hours, metavar="T", help="find the cheapest that is done by then: 3h, 90m")
    parser.add_argument("--price", type=amount, metavar="P", help="of one replica for an hour")
    parser.add_argument("--plan", type=Path, metavar="DIR", help="the plan that the run will follow")
    parser.add_argument("--target", default=LOCAL, metavar="T", help=f"one replica: {KNOWN_TARGETS} (%(default)s)")
    parser.add_argument(
        "--costs",
        type=Path,
        metavar="FILE",
        help="a calibration of such a machine, as charter calibrate --json prints",
    )
    parser.add_argument(
        "--window",
        type=positive,
        default=WINDOW,
        metavar="N",
        help="items of a simulated stretch (%(default)s)",
    )
    add_predicted_target_arguments(parser)
    parser.add_argument("--format", choices=["text", "json"], default="text")
