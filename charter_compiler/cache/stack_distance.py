"""The hit rate of an LRU cache at every capacity, in one pass over a trace.

Mattson, Gecsei, Slutz and Traiger, "Evaluation techniques for storage hierarchies" (IBM Systems Journal, 1970): a cache
of ``c`` blocks holds the ``c`` blocks at the top of one stack, so a block hits at all capacities from its depth in the
stack on. The stack of a prefix cache is made of whole prompts: a request puts its path on top, start first, so what is
left of an earlier request is always the end of its path. One number a request is enough, and a request costs as many
steps as its path has pieces last used by different requests, not as many as it has blocks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from charter_compiler.cache.trace import Trace


@dataclass(frozen=True, slots=True, eq=False)
class LruCurve:
    """What an LRU cache does at each capacity of 0 blocks up to all distinct ones, where it no longer evicts. Index the
    arrays with ``at(capacity)``. ``hit_tokens`` and ``evicted`` are of the requests after the warm-up, ``peak`` of
    all."""

    requests: int
    prompt_tokens: int
    hit_tokens: NDArray[np.int64]
    evicted: NDArray[np.int64]
    peak: NDArray[np.int64]

    def at(self, capacity: int) -> int:
        return min(capacity, len(self.hit_tokens) - 1)

    def hit_rate(self, capacity: int) -> float:
        return float(self.hit_tokens[self.at(capacity)] / self.prompt_tokens) if self.prompt_tokens else 0.0


def lru_curve(trace: Trace, warmup: int = 0, *, last_token_computed: bool = False) -> LruCurve:
    """Replay one request after another; the first ``warmup`` requests fill the cache and are not counted.

    A request that is longer than the cache keeps its first blocks. With ``last_token_computed`` hits are counted as
    engines of full blocks count them: without a partial last block, and without the block of the prompt's last token,
    which is computed again to have something to sample from.
    """
    size, requests = trace.block_size, trace.requests
    distinct = trace.distinct_blocks
    tokens = np.zeros(distinct + 2, dtype=np.int64)
    blocks = np.zeros(distinct + 2, dtype=np.int64)
    parts: list[tuple[int, int]] = []
    last = np.full(distinct, -1, dtype=np.int32)
    tree = _Sums(requests)
    tree_add, tree_after = tree.add, tree.after
    offsets, lengths = trace.offsets.tolist(), trace.lengths.tolist()
    nodes = trace.nodes
    resident_before = inserted = seen = 0
    sizes = np.zeros(distinct + 2, dtype=np.int64)
    for request in range(requests):
        start, stop = offsets[request], offsets[request + 1]
        count = stop - start
        if request == warmup:
            resident_before = seen
        if not count:
            continue
        path = nodes[start:stop]
        before = last[path]
        last[path] = request
        counted = request >= warmup
        length = lengths[request]
        if counted:
            inserted += count
            sizes[min(count, distinct + 1)] += 1
        first = 0
        owner = int(before[0])
        while owner >= 0:
            # The piece of the path that ``owner`` used last: it ends where an older user, or nobody, follows.
            if int(before[-1]) == owner:
                end = count
            else:
                end = first + int(np.searchsorted(-before[first:], -owner, side="right"))
            above = tree_after(owner) + first  # the path's earlier blocks are on top already
            tree_add(owner, first - end)
            if counted:
                low, high = above + 1, above + end - first
                blocks[low] += 1
                blocks[high + 1] -= 1
                whole = end
                if last_token_computed:
                    whole = min(end, max(0, length - 1) // size)
                elif end * size > length:
                    whole = max(first, length // size)
                    parts.extend(
                        (above + index - first + 1, max(0, length - index * size)) for index in range(whole, end)
                    )
                if whole > first:
                    tokens[low] += size
                    tokens[above + whole - first + 1] -= size
            first = end
            owner = int(before[end]) if end < count else -1
        seen += count - first
        tree_add(request, count)
    hits = np.cumsum(tokens)
    for need, part in parts:
        hits[need] += part
    capacities = np.arange(distinct + 1)
    if warmup >= requests:
        resident_before = seen
    cut = _cut(sizes, distinct)
    evicted = (inserted - cut) - np.cumsum(np.cumsum(blocks))[: distinct + 1]
    evicted -= np.minimum(capacities, seen) - np.minimum(capacities, resident_before)
    return LruCurve(
        max(0, requests - warmup),
        int(trace.lengths[warmup:].sum()),
        np.cumsum(hits)[: distinct + 1],
        evicted,
        np.minimum(capacities, seen),
    )


def _cut(sizes: NDArray[np.int64], distinct: int) -> NDArray[np.int64]:
    """For each capacity, the blocks of requests that are longer than it: ``sizes[n]`` requests have ``n`` blocks."""
    longer = np.cumsum(sizes[::-1])[::-1]  # requests of at least n blocks
    over = np.concatenate((longer[1:], np.zeros(1, dtype=np.int64)))
    cut: NDArray[np.int64] = np.cumsum(over[::-1])[::-1][: distinct + 1]
    return cut


class _Sums:
    """Prefix sums of numbers that change: a Fenwick tree (1994)."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.total = 0
        self._tree = [0] * (size + 1)

    def add(self, index: int, value: int) -> None:
        self.total += value
        tree, size = self._tree, self.size
        index += 1
        while index <= size:
            tree[index] += value
            index += index & -index

    def after(self, index: int) -> int:
        """The sum of all numbers behind ``index``."""
        tree, upto = self._tree, 0
        index += 1
        while index:
            upto += tree[index]
            index &= index - 1
        return self.total - upto
