"""Argument types that several commands share."""

from __future__ import annotations

import argparse
import math
import re

from charter_compiler.executor.budget import Prices
from charter_compiler.tokens.models import DEFAULT_MODEL

DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+)m)?")
MAX_PORT = 65535
MEMO_HELP = "the memo store: redis://host:port/database, shared by machines, or a folder (default: this user's)"


def positive(text: str) -> int:
    """A whole number from 1."""
    return _at_least(text, 1)


def natural(text: str) -> int:
    """A whole number from 0."""
    return _at_least(text, 0)


def port(text: str) -> int:
    """A TCP port; 0 for a free one."""
    value = natural(text)
    if value > MAX_PORT:
        raise argparse.ArgumentTypeError(f"{text} is above {MAX_PORT}")
    return value


def seconds(text: str) -> float:
    """A time above 0, and not without end."""
    return _above_zero(text, "a time above 0 seconds")


def days(text: str) -> float:
    """Days above 0, as seconds."""
    return seconds(text) * 86400.0


def hours(text: str) -> float:
    """``3h``, ``90m`` or ``1h30m``, as hours above 0."""
    found = DURATION.fullmatch(text)
    value = float(found[1] or 0) + float(found[2] or 0) / 60 if found else 0.0
    if value <= 0:
        raise argparse.ArgumentTypeError(f"'{text}' is no time (write 3h, 90m or 1h30m)")
    return value


def fraction(text: str) -> float:
    """A share from 0 to 1."""
    try:
        value = float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number") from error
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not from 0 to 1")
    return value


def _above_zero(text: str, what: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number") from error
    if not (value > 0 and math.isfinite(value)):
        raise argparse.ArgumentTypeError(f"{text} is not {what}")
    return value


def _at_least(text: str, least: int) -> int:
    try:
        value = int(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number") from error
    if value < least:
        raise argparse.ArgumentTypeError(f"{text} is below {least}")
    return value


def amount(text: str) -> float:
    """Money above 0."""
    return _above_zero(text, "an amount above 0")


def prices(text: str) -> Prices:
    """``PROMPT,CACHED,OUTPUT``."""
    try:
        prompt, cached, output = (float(part) for part in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"'{text}' is not three numbers, as in 2.5,0.25,10") from error
    if not all(value >= 0 and math.isfinite(value) for value in (prompt, cached, output)):
        raise argparse.ArgumentTypeError(f"'{text}' holds a price below 0")
    return Prices(prompt, cached, output)


def add_predicted_target_arguments(parser: argparse.ArgumentParser) -> None:
    """What a prediction may be told of its target, and whether it may run the agent's code."""
    parser.add_argument("--block-size", type=positive, metavar="N", help="tokens per block instead of the target's")
    parser.add_argument("--capacity-blocks", type=positive, metavar="N", help="KV blocks instead of the target's")
    parser.add_argument(
        "--model", default=DEFAULT_MODEL.name, metavar="NAME|PATH", help="a local target's (%(default)s)"
    )
    parser.add_argument("--tokenizer", metavar="SPEC", help="tokenizer of a target that does not say which it has")
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
