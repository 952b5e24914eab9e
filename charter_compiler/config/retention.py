"""Which leading tokens of each call's prompts the engine should keep longest."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from charter_compiler.cache.retention import DEFAULT_PRIORITY
from charter_compiler.config.block_size import ConstantPrefix
from charter_compiler.config.settings import Overrides
from charter_compiler.plan.hints import CallHints, HintAction


@dataclass(frozen=True, slots=True)
class TokenRange:
    """Prompt tokens from ``start`` up to, not including, ``end``, and their retention priority."""

    start: int
    end: int
    priority: int


@dataclass(frozen=True, slots=True)
class CallRetention:
    """The ranges of one call's prompts: ascending, without overlap, in full blocks."""

    call: str
    ranges: tuple[TokenRange, ...]


def suggest_retention(prefixes: Iterable[ConstantPrefix], tokens_per_block: int) -> tuple[CallRetention, ...]:
    """For each call the ranges that its constant prefixes make, an inner one before what the next adds.

    A range has its prefix's priority, but always more than the default, and never less than a range behind it: the
    engine finds a block only through all blocks before it.
    """
    by_call: dict[str, list[ConstantPrefix]] = {}
    for prefix in prefixes:
        for node in prefix.nodes:
            by_call.setdefault(node, []).append(prefix)
    retention = (CallRetention(call, _ranges(own, tokens_per_block)) for call, own in sorted(by_call.items()))
    return tuple(one for one in retention if one.ranges)


def _ranges(prefixes: Iterable[ConstantPrefix], tokens_per_block: int) -> tuple[TokenRange, ...]:
    by_end: dict[int, int] = {}
    for prefix in prefixes:
        end = prefix.tokens // tokens_per_block * tokens_per_block
        by_end[end] = max(by_end.get(end, DEFAULT_PRIORITY + 1), prefix.priority)
    ends = sorted(end for end in by_end if end)
    starts = [0, *ends]
    return tuple(
        TokenRange(start, end, max(by_end[behind] for behind in ends if behind >= end))
        for start, end in zip(starts, ends, strict=False)
    )


def hinted_retention(
    hints: Iterable[CallHints], tokens_per_block: int, overrides: Overrides
) -> tuple[CallRetention, ...]:
    """For each call the ranges of its constant prefixes, with the priorities of the plan's hints. What depends on the
    run's values is said with each request (``config.hints.retention``)."""
    calls = (CallRetention(one.call, _hinted(one, tokens_per_block, overrides)) for one in hints)
    return tuple(one for one in calls if one.ranges)


def _hinted(hints: CallHints, tokens_per_block: int, overrides: Overrides) -> tuple[TokenRange, ...]:
    ranges: list[TokenRange] = []
    start = 0
    for hint in hints.hints:
        future = None if hint.future is None else hints.futures[hint.future]
        if future is None or future.parameters or hint.action is HintAction.RELEASE:
            break
        end = future.tokens // tokens_per_block * tokens_per_block
        if end > start:
            ranges.append(TokenRange(start, end, overrides.priority(future.cache_id, hint.priority)))
            start = end
    return tuple(ranges)


def retention_json(retention: Iterable[CallRetention]) -> str:
    """By call, the tensors of the inner ``tensorrt_llm`` model that carry its retention ranges, as JSON."""
    calls = {
        one.call: {
            "retention_token_range_starts": [part.start for part in one.ranges],
            "retention_token_range_ends": [part.end for part in one.ranges],
            "retention_token_range_priorities": [part.priority for part in one.ranges],
        }
        for one in retention
    }
    return json.dumps(calls, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
