"""Who goes first among the users of one gateway: each gets the same share of the target. Pure."""

from __future__ import annotations

KEPT = 4096
"""Users that are remembered, at most."""


class FairRanks:
    """Start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996). A call's rank is where its user's last call ended
    in virtual time, or now where the user had none waiting; it takes ``cost`` of that time. So a user with a thousand
    calls in line delays another user's first call by one call, not by a thousand."""

    def __init__(self) -> None:
        self._now = 0.0
        self._ends: dict[str, float] = {}

    def rank(self, user: str, cost: float) -> float:
        """The place in line of a user's new call; the lowest goes first."""
        start = max(self._now, self._ends.get(user, 0.0))
        self._ends[user] = start + max(cost, 1.0)
        if len(self._ends) > KEPT:
            self._forget()
        return start

    def sent(self, rank: float) -> None:
        """A call of that rank went to the target: virtual time is there now."""
        if rank > self._now:
            self._now = rank

    def _forget(self) -> None:
        """Who has nothing in line starts from now anyway; of the others, the half that had least of the target does."""
        border = max(self._now, sorted(self._ends.values())[KEPT // 2])
        self._ends = {user: end for user, end in self._ends.items() if end > border}
