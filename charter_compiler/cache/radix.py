"""The radix tree's node and the order in which nodes are evicted."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from charter_compiler.cache.retention import DEFAULT_PRIORITY, NO_RETENTION, BlockRetention

Tokens = tuple[int, ...]


class Block:
    """A block whose KV can be reused: a node of the radix tree, found by its tokens below its parent. One that is not
    full is a leaf, and found by partial reuse alone.

    ``end`` counts the tokens from the start of the prompt to the end of this block (the root has 0). ``name`` stands
    for its tokens and all before them, as ``block_keys.chain`` makes it. ``refs`` counts the running requests and pins
    that hold it; whoever holds a block holds its parent too. ``released`` orders blocks by the time their last holder
    let go. ``priority`` from 0 to 100 falls back to the default ``duration_ms`` (None: never) after that, at
    ``expires``. ``runners`` are the sequences of running requests whose path ends here; ``idle`` is the sequence that
    keeps a leaf alive which no running request's path ends at.
    """

    __slots__ = (
        "children", "duration_ms", "end", "expires", "idle", "name", "parent", "priority", "refs", "released",
        "runners", "tokens",
    )  # fmt: skip

    def __init__(
        self, tokens: Tokens, parent: Block | None, retention: BlockRetention = NO_RETENTION, *, name: int = 0
    ) -> None:
        self.tokens = tokens
        self.parent = parent
        self.name: int = name if parent is None else hash((parent.name, tokens))
        self.end: int = 0 if parent is None else parent.end + len(tokens)
        self.children: dict[Tokens, Block] = {}
        self.refs = 0
        self.released = 0
        self.priority = DEFAULT_PRIORITY if retention.priority is None else retention.priority
        self.duration_ms = retention.duration_ms
        self.expires: float | None = None
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
    """Evictable blocks: those of a lower priority first, of equal ones the least recently released.

    A heap with lazy deletion: an entry counts only while its block is still evictable and has been neither released
    again nor given another priority. A second heap has the priorities that end some time.
    """

    def __init__(self) -> None:
        self._clock = 0
        self._heap: list[tuple[int, int, Block]] = []
        self._expiring: list[tuple[float, int, Block]] = []

    def __len__(self) -> int:
        """Entries, stale ones included."""
        return len(self._heap) + len(self._expiring)

    def release(self, block: Block, now_ms: float = 0.0) -> None:
        """Stamp a block whose last holder let go. Stamps are unique, so blocks themselves are never compared."""
        self._stamp(block)
        if block.duration_ms is not None and block.priority != DEFAULT_PRIORITY:
            block.expires = now_ms + block.duration_ms
            heapq.heappush(self._expiring, (block.expires, block.released, block))

    def push(self, block: Block) -> None:
        """Offer an evictable block."""
        heapq.heappush(self._heap, (block.priority, block.released, block))

    def set_priority(self, block: Block, priority: int, duration_ms: float | None, now_ms: float) -> None:
        """Change the priority of a block, held or not; one that is not held counts as released now."""
        block.priority, block.duration_ms, block.expires = priority, duration_ms, None
        if not block.refs:
            self.release(block, now_ms)
            if block.evictable:
                self.push(block)

    def refresh(self, now_ms: float) -> None:
        """Priorities whose time has passed fall back to the default, as if released now."""
        while self._expiring and self._expiring[0][0] <= now_ms:
            entry = heapq.heappop(self._expiring)
            if _expires(entry):
                self.set_priority(entry[2], DEFAULT_PRIORITY, None, now_ms)

    def top(self) -> Block | None:
        """The block that ``pop`` would return now."""
        while self._heap:
            if _current(self._heap[0]):
                return self._heap[0][2]
            heapq.heappop(self._heap)
        return None

    def pop(self) -> Block:
        """The evictable block that goes first. Raises IndexError if there is none."""
        while True:
            entry = heapq.heappop(self._heap)
            if _current(entry):
                return entry[2]

    def compact(self, live: int) -> None:
        """Drop stale entries once they outnumber the ``live`` blocks, so that the queue stays as small as the tree."""
        if len(self._heap) > 2 * live + 64:
            self._heap = sorted((entry for entry in self._heap if _current(entry)), key=lambda entry: entry[:2])
        if len(self._expiring) > 2 * live + 64:
            self._expiring = sorted((entry for entry in self._expiring if _expires(entry)), key=lambda entry: entry[:2])

    def evictable(self) -> list[Block]:
        """The blocks that ``pop`` would return now, in order."""
        return [entry[2] for entry in sorted(self._heap, key=lambda entry: entry[:2]) if _current(entry)]

    def _stamp(self, block: Block) -> None:
        self._clock += 1
        block.released = self._clock


def _current(entry: tuple[int, int, Block]) -> bool:
    priority, released, block = entry
    return block.evictable and block.released == released and block.priority == priority


def _expires(entry: tuple[float, int, Block]) -> bool:
    expires, _, block = entry
    return block.parent is not None and not block.refs and block.expires == expires
