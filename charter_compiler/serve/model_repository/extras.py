"""What no tensor of TensorRT-LLM's carries and is sent as Triton's request parameters instead."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from charter_compiler.config.hints.received import ReceivedEnvelope, read_envelope
from charter_compiler.diagnostics.errors import RequestRejectedError
from charter_compiler.serve.model_repository.kv_report import HINTS


@dataclass(frozen=True, slots=True)
class Extras:
    """``cache_salt``: requests share blocks only where it is the same; ``min_p``: tokens less likely than that share of
    the likeliest are left out; ``hints``: an envelope of KV hints."""

    cache_salt: str | None = None
    min_p: float | None = None
    hints: ReceivedEnvelope | None = None


def read_extras(parameters: Mapping[str, Any]) -> Extras:
    """Those of Charter among a request's parameters; others are somebody else's.

    Raises:
        RequestRejectedError: one is of the wrong kind; the message names it.
    """
    salt = parameters.get("cache_salt")
    if salt is not None and not isinstance(salt, str):
        raise RequestRejectedError(f"the parameter cache_salt is {salt!r}", remedy="send a string")
    return Extras(cache_salt=salt or None, min_p=_min_p(parameters.get("min_p")), hints=_hints(parameters.get(HINTS)))


def _hints(value: Any) -> ReceivedEnvelope | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise RequestRejectedError(f"the parameter {HINTS} is {value!r}", remedy="send the envelope as a JSON string")
    return read_envelope(value)


def _min_p(value: Any) -> float | None:
    """Triton's parameters are strings, integers and truth values: a fraction comes as a string."""
    if value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 <= number <= 1:
        raise RequestRejectedError(f"the parameter min_p is {value!r}", remedy="send a number from 0 to 1")
    return number
