"""Single-flight among all that share a memo store: who computes an answer that is not there yet."""

from __future__ import annotations

from typing import Protocol


class Claims(Protocol):
    """Of one run; owned by one event loop. Keys are those of the store. Every method that waits raises ``MemoError``
    where the claims cannot be reached.

    A claim is held until ``release``, or until its holder's process has ended: then it expires. It is taken when its
    call goes to the target, and not before: of two runs whose calls wait for their turn with a claim, each could keep
    the other's from its turn, for ever.
    """

    async def open(self) -> None:
        """Before anything else."""

    async def take(self, key: bytes) -> str | None:
        """The claim, which is the caller's from now on, who releases it; ``None`` where it is another's."""

    async def wait(self, key: bytes) -> bool:
        """False: nobody holds the claim. True: somebody did, and it was waited for, until it was let go or for some
        seconds; perhaps the answer is in the store."""

    def release(self, claim: str) -> None:
        """Let the claim go and wake those who wait for it; what is to be found afterwards is in the store already."""

    async def close(self) -> None:
        """Let go what is held. Idempotent."""
