"""Options that several commands have."""

from __future__ import annotations

import argparse

from charter_compiler.cli.options.values import amount, positive, prices
from charter_compiler.executor.defaults import DEFAULT_CONCURRENCY, KNOWN_TARGETS, LOCAL
from charter_compiler.tokens.models import DEFAULT_MODEL


def add_run_arguments(parser: argparse.ArgumentParser, *, in_flight: str) -> None:
    """The agent, how many rows, how many at once, and the cap of each call. ``in_flight``: where, for the help."""
    parser.add_argument("entry", metavar="ENTRY", help="path/to/file.py:function or path/to/file.py:Class.method")
    parser.add_argument("--limit", type=positive, metavar="N", help="only the first N rows of the inputs")
    parser.add_argument(
        "--concurrency",
        type=positive,
        default=DEFAULT_CONCURRENCY,
        metavar="N",
        help=f"items in flight {in_flight} (default: %(default)s)",
    )
    parser.add_argument("--max-tokens", type=positive, metavar="N", help="cap every call's max_tokens")


def add_target(parser: argparse.ArgumentParser) -> None:
    """One target."""
    parser.add_argument("--target", default=LOCAL, metavar="T", help=f"{KNOWN_TARGETS} (default: %(default)s)")


def add_model(parser: argparse.ArgumentParser) -> None:
    """What a local target serves."""
    parser.add_argument(
        "--model", default=DEFAULT_MODEL.name, metavar="NAME|PATH", help="a local target's (%(default)s)"
    )


def add_tokenizer(parser: argparse.ArgumentParser) -> None:
    """Where a target does not tell its own."""
    parser.add_argument("--tokenizer", metavar="SPEC", help="tokenizer of a target that does not say which it has")


def add_memo(parser: argparse.ArgumentParser) -> None:
    """Where answers are kept."""
    parser.add_argument(
        "--memo",
        metavar="PLACE",
        help="the memo store: redis://host:port/database, shared by machines, or a folder (default: this user's)",
    )


def add_predicted_target_arguments(parser: argparse.ArgumentParser) -> None:
    """What a prediction may be told of its target, and whether it may run the agent's code."""
    parser.add_argument("--block-size", type=positive, metavar="N", help="tokens per block instead of the target's")
    parser.add_argument("--capacity-blocks", type=positive, metavar="N", help="KV blocks instead of the target's")
    add_model(parser)
    add_tokenizer(parser)
    parser.add_argument(
        "--allow-effects",
        action="store_true",
        help="run the agent for it though its code may act on the outside",
    )


def add_price_arguments(parser: argparse.ArgumentParser) -> None:
    """What the user pays: only with these does a report speak of money."""
    parser.add_argument(
        "--price-per-hour", type=amount, metavar="X", help="of the machine behind the target, for the report"
    )
    parser.add_argument(
        "--prices",
        type=prices,
        metavar="P,C,O",
        help="money for a million tokens of prompt, of prompt out of the cache, and of output",
    )
