"""How much of a cache its holders need together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable


class HeldBlocks:
    """Blocks of calls or items that must be in the cache at once. Those that have names count once, however many hold
    them; ``tail`` blocks are their holder's alone."""

    def __init__(self) -> None:
        self._holders: Counter[Hashable] = Counter()
        self._tails = 0

    def __len__(self) -> int:
        return len(self._holders) + self._tails

    def hold(self, blocks: Collection[Hashable], tail: int) -> None:
        """One more holder of these."""
        self._holders.update(blocks)
        self._tails += tail

    def release(self, blocks: Collection[Hashable], tail: int) -> None:
        """One of their holders needs them no more."""
        holders = self._holders
        for block in blocks:
            holders[block] -= 1
            if not holders[block]:
                holders.pop(block)
        self._tails -= tail

    def missing(self, blocks: Collection[Hashable], tail: int) -> int:
        """How many blocks one more holder of these would add."""
        return sum(1 for block in blocks if block not in self._holders) + tail
