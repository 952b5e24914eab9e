"""The best that any eviction could do: what knows the future keeps what is wanted soonest.

Belady, "A study of replacement algorithms for a virtual-storage computer" (IBM Systems Journal, 1966), on the tree of
prompts: a block is wanted no later than what follows it, so keeping the blocks that are wanted soonest, and of those
wanted at the same time the ones nearer the start, always keeps whole beginnings. A block that would be wanted later
than everything cached is not kept at all, which an engine, that needs room for what it computes, cannot do: this is a
bound.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from charter_compiler.cache.interface import CacheTotals


class BeladyCache:
    """Nodes 0 to ``nodes`` - 1 of a trace, one request after another; ``capacity`` in blocks."""

    def __init__(self, capacity: int, nodes: int) -> None:
        self.capacity = capacity
        self.totals = CacheTotals()
        self.occupied = 0
        self._resident = bytearray(nodes)
        self._children = [0] * (nodes + 1)  # the last one is the root's, which is node -1
        self._parent = [-1] * nodes
        self._next_use = [0] * nodes
        self._heap: list[tuple[int, int, int]] = []

    def request(self, path: Sequence[int], next_uses: Sequence[int]) -> int:
        """How many of the path's first blocks are cached; then what is worth it is kept. ``next_uses`` says which
        request wants each block next; it never falls along the path."""
        resident, times = self._resident, self._next_use
        hits = 0
        for node, use in zip(path, next_uses, strict=True):
            if not resident[node]:
                break
            times[node] = use
            hits += 1
        kept = hits
        for index in range(hits, len(path)):
            node, use = path[index], next_uses[index]
            if self.occupied >= self.capacity and not self._make_room(use):
                break
            resident[node] = 1
            times[node] = use
            parent = path[index - 1] if index else -1
            self._parent[node] = parent
            self._children[parent] += 1
            self.occupied += 1
            kept += 1
        if kept:
            last = path[kept - 1]
            if not self._children[last]:
                heapq.heappush(self._heap, (-times[last], -kept, last))
        self.totals.peak = max(self.totals.peak, self.occupied)
        if len(self._heap) > 4 * self.occupied + 64:
            self._heap = [entry for entry in set(self._heap) if self._current(entry)]
            heapq.heapify(self._heap)
        return hits

    def _current(self, entry: tuple[int, int, int]) -> bool:
        time, _, node = entry
        return bool(self._resident[node] and not self._children[node] and self._next_use[node] == -time)

    def _make_room(self, use: int) -> bool:
        """Evict the leaf that is wanted last, if that is later than ``use``."""
        heap = self._heap
        while heap and not self._current(heap[0]):
            heapq.heappop(heap)
        if not heap or -heap[0][0] <= use:
            return False
        _, depth, node = heapq.heappop(heap)
        self._resident[node] = 0
        self.occupied -= 1
        self.totals.evicted += 1
        parent = self._parent[node]
        self._children[parent] -= 1
        if parent >= 0 and not self._children[parent]:
            heapq.heappush(heap, (-self._next_use[parent], depth + 1, parent))
        return True
