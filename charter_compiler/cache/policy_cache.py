"""A prefix cache whose eviction is a policy's and nobody else's: least recently used, by priority, or with knowledge of
the future.

It works on the nodes of a trace. Only leaves are evicted, so that whatever is cached can be found; what a running
request holds is not evicted; a request's blocks can be found once it has been prefilled, and one that another request
has stored in the meantime is given up at once.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from charter_compiler.cache.interface import CacheTotals

_CLOCK_BITS = 44


class Policy(StrEnum):
    """What goes first, among leaves that no running request holds."""

    LRU = "lru"
    """The one whose last holder let go first; of one request, its end."""
    PRIORITY = "priority"
    """The lowest priority; among equals, as ``LRU``."""
    BELADY = "belady"
    """The one whose next use lies farthest ahead (Belady 1966); of one request, its end."""


@dataclass(slots=True, eq=False)
class PathLease:
    """What a running request holds: the first ``kept`` blocks of its path, of which ``hits`` were there."""

    path: Sequence[int]
    hits: int
    kept: int
    priority: int
    prefilled: bool = False


class PolicyCache:
    """Blocks are nodes 0 to ``nodes`` - 1 of a trace; ``capacity`` in blocks. Not thread-safe."""

    def __init__(self, capacity: int, policy: Policy, nodes: int) -> None:
        self.capacity = capacity
        self.policy = policy
        self.totals = CacheTotals()
        self.occupied = 0
        self.running = 0
        self._held = 0
        self._clock = 0
        self._resident = bytearray(nodes)
        self._refs = [0] * nodes
        self._children = [0] * (nodes + 1)  # the last one is the root's, which is node -1
        self._parent = [-1] * nodes
        self._rank = [0] * nodes
        self._next_use = [0] * (nodes if policy is Policy.BELADY else 0)
        self._heap: list[tuple[int, int, int]] = []

    def start(self, path: Sequence[int], priority: int = 0, next_uses: Sequence[int] = ()) -> PathLease | None:
        """Hold what is cached of the path and take blocks for the rest. ``next_uses`` says when each is wanted again;
        only Belady asks. None, and nothing changes, where running requests hold too much; a request that is longer than
        the whole cache keeps its first blocks.
        """
        resident, refs = self._resident, self._refs
        hits = idle = 0
        for node in path:
            if not resident[node]:
                break
            hits += 1
            if not refs[node]:
                idle += 1
        room = self.capacity - self._held - idle
        fresh = len(path) - hits
        if fresh > room:
            if self.running:
                return None
            fresh = room
        for index in range(hits):
            refs[path[index]] += 1
        self.running += 1
        self._held += idle + fresh
        self.occupied += fresh
        while self.occupied > self.capacity:
            self._evict()
        if self.occupied > self.totals.peak:
            self.totals.peak = self.occupied
        if next_uses:
            times = self._next_use
            for node, use in zip(path, next_uses, strict=True):
                times[node] = use
        return PathLease(path, hits, hits + fresh, priority)

    def prefilled(self, lease: PathLease) -> None:
        """The request's blocks can be found from now on."""
        if lease.prefilled:
            return
        lease.prefilled = True
        resident, refs, path = self._resident, self._refs, lease.path
        parent = path[lease.hits - 1] if lease.hits else -1
        for index in range(lease.hits, lease.kept):
            node = path[index]
            if resident[node]:
                self.occupied -= 1
                if refs[node]:
                    self._held -= 1
            else:
                resident[node] = 1
                self._parent[node] = parent
                self._children[parent] += 1
            refs[node] += 1
            parent = node

    def finish(self, lease: PathLease) -> None:
        """Let go of everything, the end of the path first."""
        self.prefilled(lease)
        self.running -= 1
        self._clock += 1
        clock, refs, rank, policy = self._clock, self._refs, self._rank, self.policy
        path = lease.path
        for index in range(lease.kept - 1, -1, -1):
            node = path[index]
            refs[node] -= 1
            if refs[node]:
                # Whoever holds a block holds all before it.
                for above in range(index):
                    refs[path[above]] -= 1
                break
            self._held -= 1
            if policy is Policy.LRU:
                rank[node] = clock
            elif policy is Policy.BELADY:
                rank[node] = -self._next_use[node]
            else:
                rank[node] = (lease.priority << _CLOCK_BITS) + clock
            if not self._children[node]:
                self._offer(node, index)
        if len(self._heap) > 4 * self.occupied + 64:
            self._compact()

    def _offer(self, node: int, depth: int) -> None:
        heapq.heappush(self._heap, (self._rank[node], -depth, node))

    def _current(self, entry: tuple[int, int, int]) -> bool:
        rank, _, node = entry
        return bool(
            self._resident[node] and not self._refs[node] and not self._children[node] and self._rank[node] == rank
        )

    def _evict(self) -> None:
        entry = heapq.heappop(self._heap)
        while not self._current(entry):
            entry = heapq.heappop(self._heap)
        _, depth, node = entry
        self._resident[node] = 0
        self.occupied -= 1
        self.totals.evicted += 1
        parent = self._parent[node]
        self._children[parent] -= 1
        if parent >= 0 and not self._children[parent] and not self._refs[parent]:
            self._offer(parent, -depth - 1)

    def _compact(self) -> None:
        """Drop stale entries, so that the queue stays as small as the cache."""
        self._heap = [entry for entry in set(self._heap) if self._current(entry)]
        heapq.heapify(self._heap)
