"""TensorRT-LLM's retention inputs. Knows NumPy, not Triton."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from charter_compiler.cache.retention import DEFAULT_PRIORITY, Retention, RetentionRange
from charter_compiler.diagnostics.errors import RequestRejectedError

RANGES = "retention_token_range_"
NONE = -1
"""An end, or a duration, that is not given."""


def read_retention(tensors: Mapping[str, NDArray[Any]], row: int) -> Retention | None:
    """What the inputs of one entry of a batch ask for; None where there are none. As in TensorRT-LLM, an end or a
    duration of -1 is none: to the end of the prompt, for ever.

    Raises:
        RequestRejectedError: they contradict each other; the message names the input.
    """
    starts = _values(tensors, f"{RANGES}starts", row)
    decode_priority = _values(tensors, "retention_decode_priority", row) or [DEFAULT_PRIORITY]
    decode_duration = _values(tensors, "retention_decode_duration_ms", row) or [NONE]
    if not any(name.startswith("retention_") and tensors[name][row].size for name in tensors):
        return None
    durations = f"{RANGES}durations_ms"
    columns = [
        _values(tensors, f"{RANGES}ends", row, len(starts)),
        _values(tensors, f"{RANGES}priorities", row, len(starts)),
        _values(tensors, durations, row, len(starts)) if durations in tensors else [NONE] * len(starts),
    ]
    try:
        ranges = tuple(
            RetentionRange(start, None if end == NONE else end, priority, _duration(duration))
            for start, end, priority, duration in zip(starts, *columns, strict=True)
        )
        return Retention(ranges, decode_priority[0], _duration(decode_duration[0]))
    except ValueError as error:
        raise RequestRejectedError(f"retention: {error}", remedy="mend the retention_* inputs") from error


def _values(tensors: Mapping[str, NDArray[Any]], name: str, row: int, count: int | None = None) -> list[int]:
    values: list[int] = tensors[name][row].ravel().tolist() if name in tensors else []
    if count is not None and len(values) != count:
        raise RequestRejectedError(
            f"{name} has {len(values)} values", remedy=f"send {count}, as many as {RANGES}starts has"
        )
    return values


def _duration(value: int) -> float | None:
    if value < NONE:
        raise ValueError(f"a duration of {value} ms")
    return None if value == NONE else float(value)
