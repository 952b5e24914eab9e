"""TensorRT-LLM: token ranges with priorities and durations.

Over Triton only the inner model ``tensorrt_llm`` of the ``engine`` profile takes them, with token ids; in Python they
are ``KvCacheRetentionConfig`` (https://nvidia.github.io/TensorRT-LLM/features/kvcache.html, "Retention Policy").
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from charter_compiler.cache.retention import DEFAULT_PRIORITY, Retention, RetentionRange
from charter_compiler.config.settings import Overrides
from charter_compiler.plan.hint_ranges import HintRange, PromptHints
from charter_compiler.plan.hints import HintAction

OFFLOADABLE = DEFAULT_PRIORITY
"""The lowest priority whose blocks go to host memory when they are evicted (``secondary_offload_min_priority``): what
is to be demoted gets it, whatever else it would get."""
LEASE = 10
"""A lease lasts so many times the time that the calls until the next use would take alone: others run beside them."""


def retention_of(
    hints: PromptHints,
    tokens_per_block: int,
    *,
    ms_per_output_token: float | None = None,
    overrides: Overrides | None = None,
    actions: Iterable[HintAction] = tuple(HintAction),
) -> Retention:
    """What TensorRT-LLM is to keep of a request, and for how long.

    A block has one priority, that of the range with its first token. So a range ends with its last full block: the
    block in which two ranges meet holds tokens of the later one, and is worth no more than that.

    Args:
        tokens_per_block: the engine's.
        ms_per_output_token: how long the target takes for one; without it nothing has a duration.
        actions: those that count; ranges of others have the default priority.
    """
    used = set(actions)
    ranges = tuple(
        RetentionRange(start, end, *_priority(part, ms_per_output_token, overrides or Overrides()))
        for part, start, end in _aligned(hints, tokens_per_block)
        if part.action in used
    )
    decoded = DEFAULT_PRIORITY if hints.hints.output_reused or HintAction.RELEASE not in used else 0
    return Retention(ranges, decode_priority=decoded)


def _aligned(hints: PromptHints, size: int) -> Iterator[tuple[HintRange, int, int]]:
    """Each range with its first token and the one behind its last, on block borders; a prompt's end is its end."""
    for part in hints.ranges:
        start = part.start // size * size
        end = part.end if part.end == hints.prompt_tokens else part.end // size * size
        if end > start:
            yield part, start, end


def _priority(part: HintRange, ms_per_token: float | None, overrides: Overrides) -> tuple[int, float | None]:
    priority = OFFLOADABLE if part.action is HintAction.DEMOTE else part.priority
    future = part.future
    if future is None:
        return priority, None
    priority = overrides.priority(future.cache_id, priority)
    if ms_per_token is None or future.output_tokens is None or future.other_items:
        return priority, None
    return priority, LEASE * ms_per_token * future.output_tokens


def retention_tensors(retention: Retention) -> Mapping[str, list[int]]:
    """The tensors of the inner model, by name, without the batch dimension. A range without a duration is held for
    ever: -1, where any range has one."""
    ranges: Sequence[RetentionRange] = retention.ranges
    tensors: dict[str, list[int]] = {}
    if ranges:
        assert all(part.end is not None for part in ranges), "hints resolve to ranges that end"
        tensors["retention_token_range_starts"] = [part.start for part in ranges]
        tensors["retention_token_range_ends"] = [part.end or 0 for part in ranges]
        tensors["retention_token_range_priorities"] = [part.priority for part in ranges]
        durations = [part.duration_ms for part in ranges]
        if any(duration is not None for duration in durations):
            tensors["retention_token_range_durations_ms"] = [
                -1 if duration is None else round(duration) for duration in durations
            ]
    tensors["retention_decode_priority"] = [retention.decode_priority]
    if retention.decode_duration_ms is not None:
        tensors["retention_decode_duration_ms"] = [round(retention.decode_duration_ms)]
    return tensors


def retention_config(retention: Retention) -> dict[str, Any]:
    """Keyword arguments of ``KvCacheRetentionConfig`` and its ``TokenRangeRetentionConfig``; durations in milliseconds,
    which Python takes as ``datetime.timedelta``."""
    return {
        "token_range_retention_configs": [
            {
                "token_start": part.start,
                "token_end": part.end,
                "priority": part.priority,
                "duration_ms": part.duration_ms,
            }
            for part in retention.ranges
        ],
        "decode_retention_priority": retention.decode_priority,
        "decode_duration_ms": retention.decode_duration_ms,
    }
