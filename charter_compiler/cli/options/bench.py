"""Options of ``charter bench``."""

from __future__ import annotations

import argparse
from pathlib import Path

from charter_compiler.cli.options.values import natural, positive, seconds
from charter_compiler.executor.defaults import LOCAL

ITEMS = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is run, how often, and where the raw rows go."""
    parser.add_argument(
        "what",
        nargs="?",
        metavar="TABLE|ENTRY",
        help="a table (--list), or an agent of your own, path/to/file.py:Qualified.name, with --inputs",
    )
    parser.add_argument("--list", action="store_true", help="the tables, and what each is about")
    parser.add_argument("--short", action="store_true", help="a few seconds, to see that it runs")
    parser.add_argument("-o", "--output", type=Path, metavar="ROWS.jsonl", help="append the raw rows, one a run")
    parser.add_argument(
        "--rounds",
        type=natural,
        metavar="N",
        help="repetitions of every run (default: the table's; 0: only the search)",
    )
    parser.add_argument(
        "--target",
        choices=[LOCAL, "sim"],
        default=LOCAL,
        help="sim: the engine's model computes hit rates in seconds, and no times (default: %(default)s)",
    )
    parser.add_argument("--arms", nargs="+", metavar="ARM", help="only these ways to run (default: the table's)")
    parser.add_argument("--cases", nargs="+", metavar="CASE", help="only cases whose label holds one of these texts")
    own = parser.add_argument_group("an agent of your own")
    own.add_argument("--inputs", metavar="F.jsonl")
    own.add_argument("--items", type=positive, default=ITEMS, metavar="N", help="rows (default: %(default)s)")
    own.add_argument("--max-tokens", type=positive, default=24, metavar="N", help="of a call (default: %(default)s)")
    own.add_argument("--concurrency", type=positive, metavar="N", help="items in flight (default: all, at most 16)")
    own.add_argument("--block-size", type=positive, metavar="N")
    capacity = own.add_mutually_exclusive_group()
    capacity.add_argument("--capacity-blocks", type=positive, metavar="N")
    capacity.add_argument("--pressure", type=seconds, metavar="X", help="capacity: so many times the largest call")
    own.add_argument(
        "--allow-effects", action="store_true", help="the agent is run several times for each row, whatever it does"
    )
