"""How many calls may be at the target at once: as many as it takes, found out by trying. Pure."""

from __future__ import annotations

import math


class InFlightLimit:
    """Additive increase, multiplicative decrease, as in TCP (Chiu and Jain 1989): half of what was in flight when the
    target turned a call away, one more after as many first tokens as the limit says. Of calls that were sent together
    many may be turned away: that counts once.

    Args:
        most: never more than this; ``None`` for no bound, until the target turns a call away.
    """

    def __init__(self, most: int | None = None) -> None:
        self._most = math.inf if most is None else float(most)
        self._limit = self._most
        self._sent_before = 0

    def allows(self, in_flight: int) -> bool:
        """Whether one more may go; one always may."""
        return in_flight < max(1, int(self._limit)) if self._limit != math.inf else True

    def on_overload(self, in_flight: int) -> None:
        """The target turned a call away while so many were in flight, that one included."""
        if self._sent_before > 0:  # it was sent before the limit was lowered
            self._sent_before -= 1
            return
        self._limit = max(1.0, min(self._limit, in_flight) / 2)
        self._sent_before = in_flight - 1

    def on_answer(self) -> None:
        """The target has begun to answer a call."""
        self._sent_before = max(0, self._sent_before - 1)
        if self._limit < self._most:
            self._limit = min(self._most, self._limit + 1 / self._limit)
