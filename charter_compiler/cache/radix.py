"""The radix tree's node and the order in which nodes are evicted."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

Tokens = tuple[int, ...]


class Block:
    """A full block whose KV can be reused: a node of the radix tree, found by its tokens below its parent.

    ``depth`` counts the blocks from the start of the prompt to this one, inclusive (the root has 0). ``refs`` counts
    the running requests that hold it; whoever holds a block holds its parent too. ``released`` orders blocks by the
    time their last holder let go. ``runners`` are the sequences of running requests whose path ends here; ``idle`` is
    the sequence that keeps a leaf alive which no running request's path ends at.
    """

    __slots__ = ("children", "depth", "idle", "parent", "refs", "released", "runners", "tokens")

    def __init__(self, tokens: Tokens, parent: Block | None) -> None:
        self.tokens = tokens
        self.parent = parent
        self.depth: int = 0 if parent is None else parent.depth + 1
        self.children: dict[Tokens, Block] = {}
        self.refs = 0
        self.released = 0
        self.runners: set[int] = set()
        self.idle: int | None = None

    @property
    def evictable(self) -> bool:
        return self.refs == 0 and not self.children and self.parent is not None

    def covering_sequence(self) -> int:
        """A sequence that holds the cells of the whole path to this block: that of any leaf below it."""
        block = self
        while block.children:
            block = next(iter(block.children.values()))
        return next(iter(block.runners)) if block.idle is None else block.idle

    def subtree(self) -> Iterator[Block]:
        """Every block below this one."""
        stack = list(self.children.values())
        while stack:
            block = stack.pop()
            stack.extend(block.children.values())
            yield block


class EvictionQueue:
    """Evictable blocks, least recently released first.

    A heap with lazy deletion: an entry counts only while its block is still evictable and has not been released again.
    """

    def __init__(self) -> None:
        self._clock = 0
        self._heap: list[tuple[int, Block]] = []

    def __len__(self) -> int:
        """Entries, stale ones included."""
        return len(self._heap)

    def release(self, block: Block) -> None:
        """Stamp a block whose last holder let go. Stamps are unique, so blocks themselves are never compared."""
        self._clock += 1
        block.released = self._clock

    def push(self, block: Block) -> None:
        """Offer an evictable block."""
        heapq.heappush(self._heap, (block.released, block))

    def pop(self) -> Block:
        """The evictable block that was released first. Raises IndexError if there is none."""
        while True:
            released, block = heapq.heappop(self._heap)
            if _current(released, block):
                return block

    def compact(self, live: int) -> None:
        """Drop stale entries once they outnumber the ``live`` blocks, so that the queue stays as small as the tree."""
        if len(self._heap) > 2 * live + 64:
            self._heap = sorted((entry for entry in self._heap if _current(*entry)), key=lambda entry: entry[0])

    def evictable(self) -> list[Block]:
        """The blocks that ``pop`` would return now, in order."""
        return [
            block for released, block in sorted(self._heap, key=lambda entry: entry[0]) if _current(released, block)
        ]


def _current(released: int, block: Block) -> bool:
    return block.evictable and block.released == released
