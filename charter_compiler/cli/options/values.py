"""Types of arguments: what a text on the command line stands for."""

from __future__ import annotations

import argparse
import math
import re

from charter_compiler.executor.budget import Prices

DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+)m)?")
MAX_PORT = 65535


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
    value = _number(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not from 0 to 1")
    return value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number") from error


def _above_zero(text: str, what: str) -> float:
    value = _number(text)
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
