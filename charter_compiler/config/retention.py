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

    A range has its prefix's priority, but always more than the default, and never more than the range before it: the
    engine finds a block only behind all blocks before it.
    """
    by_call: dict[str, list[ConstantPrefix]] = {}
    for prefix in prefixes:
        for node in prefix.nodes:
            by_call.setdefault(node, []).append(prefix)
    retention = []
    for call, own in sorted(by_call.items()):
        ranges: list[TokenRange] = []
        for prefix in sorted(own, key=lambda prefix: prefix.tokens):
            start = ranges[-1].end if ranges else 0
            end = prefix.tokens // tokens_per_block * tokens_per_block
            if end > start:
                limit = ranges[-1].priority if ranges else 100
                ranges.append(TokenRange(start, end, min(limit, max(DEFAULT_PRIORITY + 1, prefix.priority))))
        if ranges:
            retention.append(CallRetention(call, tuple(ranges)))
    return tuple(retention)
