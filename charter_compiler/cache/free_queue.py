"""Free blocks in the order in which they are taken, with removal from the middle at no cost."""

from __future__ import annotations

from collections.abc import Sequence


class FreeQueue:
    """First those that nobody can want (``push_front``, last in first out), then blocks never used, then released
    blocks, least recently released first.

    A block that is found again leaves the queue by getting a holder: its entry becomes stale and is dropped when its
    turn comes, so that no operation costs more than a few steps a block. ``refs`` is the caller's count of holders a
    block, read here and never written; a block's newest entry alone counts. ``capacity`` None: there is always a block
    never used.
    """

    def __init__(self, capacity: int | None, refs: list[int]) -> None:
        self.capacity = capacity
        self.refs = refs
        self.free = capacity or 0
        self._front: list[int] = []
        self._made = 0
        self._order: list[int] = []
        self._stamp: list[int] = []
        self._head = 0
        self._base = 0

    @property
    def used_blocks(self) -> int:
        """Blocks that have ever been taken."""
        return self._made

    def has(self, count: int) -> bool:
        """Whether so many blocks are free."""
        return self.capacity is None or count <= self.free

    def take(self, count: int) -> tuple[list[int], int]:
        """The first ``count`` blocks, and how many of them, at the end of the list, come from the released ones. Call
        only if ``has(count)``; the caller must hold them before it asks the queue again."""
        front = self._front
        blocks = [front.pop() for _ in range(min(count, len(front)))]
        fresh = count - len(blocks)
        if self.capacity is not None:
            self.free -= count
            fresh = min(fresh, self.capacity - self._made)
        if fresh:
            blocks.extend(range(self._made, self._made + fresh))
            self._made += fresh
            self._stamp.extend([-1] * fresh)
            self.refs.extend([0] * fresh)
        released = count - len(blocks)
        order, stamp, refs, head, base = self._order, self._stamp, self.refs, self._head, self._base
        missing = released
        while missing:
            block = order[head]
            if stamp[block] == base + head and not refs[block]:
                blocks.append(block)
                missing -= 1
            head += 1
        self._head = head
        return blocks, released

    def push_front(self, blocks: Sequence[int]) -> None:
        """Blocks that hold nothing reusable; the first of them is taken first."""
        self._front.extend(reversed(blocks))
        self.free += len(blocks)

    def push_back(self, blocks: Sequence[int]) -> None:
        """Blocks whose last holder let go; the first of them is taken first among these."""
        position = self._base + len(self._order)
        stamp = self._stamp
        for block in blocks:
            stamp[block] = position
            position += 1
        self._order.extend(blocks)
        self.free += len(blocks)
        if len(self._order) > 4 * self._made + 1024:
            self._compact()

    def released(self) -> list[int]:
        """The released blocks, in order."""
        positions = range(self._base + self._head, self._base + len(self._order))
        entries = zip(positions, self._order[self._head :], strict=True)
        return [block for position, block in entries if self._stamp[block] == position and not self.refs[block]]

    def _compact(self) -> None:
        live = self.released()
        self._base += len(self._order)
        self._head = 0
        self._order = []
        for block in live:
            self._stamp[block] = self._base + len(self._order)
            self._order.append(block)
