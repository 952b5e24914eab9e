"""How large a KV cache a workload needs: pure searches over simulated hit rates."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

BLOCK_SIZES = (16, 32, 64, 128)
"""Tokens a block that are tried: what TensorRT-LLM's and vLLM's kernels are used with."""
KEPT = 0.95
"""The share of the attainable hit rate that a cache is to keep."""
SAME_RATE = 0.001
"""Hit rates closer than this count as equal, and then the larger block is taken: fewer blocks to keep track of."""


@dataclass(frozen=True, slots=True)
class BlockCount:
    """Blocks that a workload fills: one set a request, and where equal prefixes are stored once."""

    without_sharing: int
    with_sharing: int


@dataclass(frozen=True, slots=True)
class RatePoint:
    """A simulated token hit rate at one size."""

    size: int
    hit_rate: float


@dataclass(frozen=True, slots=True)
class CapacityChoice:
    """``blocks`` is the smallest capacity found that keeps ``target_rate``, which every larger one that was tried keeps
    too; ``None`` where none does. ``tried`` in ascending order; sizes that the engine refuses are not in it."""

    target_rate: float
    blocks: int | None
    tried: tuple[RatePoint, ...]


@dataclass(frozen=True, slots=True)
class BlockSizeChoice:
    """``tokens_per_block`` has the highest hit rate in a cache of the same number of tokens."""

    tokens_per_block: int
    tried: tuple[RatePoint, ...]


def count_blocks(sequences: Iterable[Sequence[int]], tokens_per_block: int) -> BlockCount:
    """Blocks of token sequences (prompt and output of each request), partial last blocks included: these are shared
    only by sequences that end alike."""
    total = 0
    distinct: dict[tuple[int, tuple[int, ...]], int] = {}
    for tokens in sequences:
        parent = 0
        for start in range(0, len(tokens), tokens_per_block):
            key = (parent, tuple(tokens[start : start + tokens_per_block]))
            parent = distinct.setdefault(key, len(distinct) + 1)
            total += 1
    return BlockCount(total, len(distinct))


def smallest_capacity(
    rate_at: Callable[[int], float | None], attainable: float, most: int, *, kept: float = KEPT, steps: int = 24
) -> CapacityChoice:
    """The smallest capacity in blocks that keeps ``kept`` of the attainable hit rate.

    ``rate_at`` simulates the workload at a capacity; ``None`` where the engine would refuse a request of it. A rate
    need not grow with the capacity (the order of requests may change with it): so from ``most`` downwards capacities
    are halved until one fails, and the border between it and the last that held is searched.
    """
    target = kept * attainable
    tried: dict[int, float] = {}

    def holds(blocks: int) -> bool:
        rate = rate_at(blocks)
        if rate is None:
            return False
        tried[blocks] = rate
        return rate >= target

    best: int | None = None
    low, high = 0, most
    while high >= 1 and holds(high):
        best, high = high, high // 2
    if best is not None:
        low = high
        for _ in range(steps):
            middle = (low + best) // 2
            if middle in (low, best):
                break
            if holds(middle):
                best = middle
            else:
                low = middle
    return CapacityChoice(target, best, tuple(RatePoint(size, tried[size]) for size in sorted(tried)))


def best_block_size(
    rate_at: Callable[[int, int], float | None], capacity_tokens: int, sizes: Sequence[int] = BLOCK_SIZES
) -> BlockSizeChoice | None:
    """The block size with the highest hit rate over a cache of ``capacity_tokens``; ``None`` if the engine would refuse
    a request at every size. ``rate_at`` takes tokens a block and capacity in blocks."""
    tried = []
    for size in sizes:
        rate = rate_at(size, capacity_tokens // size) if capacity_tokens >= size else None
        if rate is not None:
            tried.append(RatePoint(size, rate))
    if not tried:
        return None
    best = max(point.hit_rate for point in tried)
    chosen = max(point.size for point in tried if point.hit_rate >= best - SAME_RATE)
    return BlockSizeChoice(chosen, tuple(tried))
