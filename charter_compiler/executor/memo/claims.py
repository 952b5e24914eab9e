"""Single-flight among all that share a memo store: who computes an answer that is not there yet."""

from __future__ import annotations

from typing import Protocol


class Claims(Protocol):
    """Of one run; owned by one event loop. Keys are those of the store. Every method that waits raises ``MemoError``
    where the claims cannot be reached.

    A claim is held until ``release``, or until its holder's process has ended: then it expires.
    """

    async def open(self) -> None:
        """Before anything else."""

    async def take(self, key: bytes) -> bool:
        """True: the claim is the caller's, who releases it. False: it was another's until now; perhaps the answer is
        in the store."""

    def release(self, key: bytes) -> None:
        """Let the claim go and wake those who wait for it; what is to be found afterwards is in the store already."""

    async def close(self) -> None:
        """Let go what is held. Idempotent."""
