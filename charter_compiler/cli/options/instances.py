"""Options of ``charter lambda``."""

from __future__ import annotations

import argparse

from charter_compiler.cli.options.values import amount, hours, seconds

HOURS, MAX_USD = 3.0, 20.0
"""Of a launch that says nothing of them."""


def dollars(text: str) -> float:
    """``$20`` or ``20``."""
    return amount(text.removeprefix("$"))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One action each."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    types = actions.add_parser("types", help="what can be launched, with the API's prices and free regions")
    types.add_argument("--available", action="store_true", help="only what has room now")
    types.add_argument("--for", dest="span", type=hours, metavar="T", help="what so long costs (3h, 90m), too")
    types.add_argument("--json", action="store_true", help="as JSON")
    start = actions.add_parser("launch", help="launch one instance, and set when it is terminated")
    start.add_argument("type", metavar="TYPE", help="as charter lambda types lists it")
    start.add_argument(
        "--terminate-after", type=hours, default=HOURS, metavar="T", help="3h, 90m, 1h30m (%(default)gh)"
    )
    start.add_argument(
        "--max-usd",
        type=dollars,
        default=MAX_USD,
        metavar="X",
        help="refuse if this and all that runs already may cost more until then (%(default)g)",
    )
    start.add_argument("--region", metavar="NAME", help="(default: one that has room)")
    start.add_argument("--ssh-key", metavar="NAME", help="(default: the account's only one)")
    start.add_argument("--file-system", metavar="NAME", help="persistent storage, mounted below /lambda/nfs")
    start.add_argument("--image-family", metavar="NAME", help="machine image (default: Lambda's newest)")
    start.add_argument("--name", metavar="NAME", help="(default: charter-...)")
    start.add_argument("--wait-for-capacity", type=seconds, default=0.0, metavar="S", help="go on trying for so long")
    listed = actions.add_parser("list", help="your instances, their addresses, prices and ends")
    listed.add_argument("--json", action="store_true", help="as JSON")
    wait = actions.add_parser("wait", help="wait until an instance is up")
    wait.add_argument("instance", metavar="ID|NAME")
    wait.add_argument("--timeout", type=seconds, default=1200.0, metavar="S", help="(%(default)g)")
    end = actions.add_parser("terminate", help="terminate instances: the one way to end the billing")
    end.add_argument("instances", nargs="*", metavar="ID|NAME")
    end.add_argument("--all", action="store_true", help="all of the account")
    guarded = actions.add_parser("guard", help="(started by launch) wait for an instance's end and terminate it")
    guarded.add_argument("instance", metavar="HANDLE")
