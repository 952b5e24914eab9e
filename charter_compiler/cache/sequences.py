"""Sequences: what the engine's memory is addressed by, and a second capacity beside blocks.

llama.cpp keeps a KV cell alive while some sequence holds it, so every branch of the radix tree needs one sequence that
covers it: that of a running request, or an idle one that waits at the branch's leaf.
"""

from __future__ import annotations

import heapq
from typing import Protocol


class SequenceMemory(Protocol):
    """The engine's KV memory. Calls take effect at once, in the order in which they are made."""

    def copy_range(self, source: int, target: int, start: int, stop: int) -> None:
        """Let ``target`` share the KV cells of ``source`` at positions [start, stop)."""

    def drop_range(self, sequence: int, start: int, stop: int | None) -> None:
        """Forget the KV cells of ``sequence`` at positions [start, stop), or from ``start`` on where stop is None."""


class NoMemory:
    """For simulation: there are no cells to share or forget."""

    def copy_range(self, source: int, target: int, start: int, stop: int) -> None:
        """Nothing is held."""

    def drop_range(self, sequence: int, start: int, stop: int | None) -> None:
        """Nothing is held."""


class SequencePool:
    """The sequence ids that are free, lowest first. ``limit`` None: as many as are asked for."""

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self._made = 0
        self._free: list[int] = []

    @property
    def available(self) -> bool:
        return bool(self._free) or self.limit is None or self._made < self.limit

    @property
    def in_use(self) -> int:
        return self._made - len(self._free)

    def take(self) -> int:
        """The lowest free id; only when one is ``available``."""
        if self._free:
            return heapq.heappop(self._free)
        self._made += 1
        return self._made - 1

    def give_back(self, sequence: int) -> None:
        heapq.heappush(self._free, sequence)
