"""Which leading tokens of each call's prompts the engine should keep longest."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from charter_compiler.config.block_size import ConstantPrefix

DEFAULT_PRIORITY = 35
"""TensorRT-LLM's priority, 0 to 100, of blocks that nobody spoke for."""


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
