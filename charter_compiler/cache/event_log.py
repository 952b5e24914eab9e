"""The latest events, numbered, for whoever asks for them now and then."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

from charter_compiler.cache.events import BlockEvent

KEPT = 16_384


@dataclass(frozen=True, slots=True)
class Events:
    """``events`` are numbered from ``first`` on; ``lost`` that were asked for are forgotten; ask next from ``next``."""

    first: int
    events: tuple[BlockEvent, ...]
    lost: int
    next: int


class EventLog:
    """Any thread may call it."""

    def __init__(self, kept: int = KEPT) -> None:
        self._lock = threading.Lock()
        self._events: deque[BlockEvent] = deque(maxlen=kept)
        self._count = 0

    def add(self, event: BlockEvent) -> None:
        with self._lock:
            self._events.append(event)
            self._count += 1

    def since(self, number: int, limit: int) -> Events:
        """Those from ``number`` (0: the first ever) on, ``limit`` at most."""
        with self._lock:
            oldest = self._count - len(self._events)
            first = min(max(number, oldest), self._count)
            found = tuple(self._events)[first - oldest : first - oldest + limit]
        return Events(first, found, max(0, first - number), first + len(found))
