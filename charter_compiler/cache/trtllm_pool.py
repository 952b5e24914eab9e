"""TensorRT-LLM's free blocks: two levels of memory, each in order of priority and then of release.

After ``cpp/tensorrt_llm/batch_manager/evictionPolicy.cpp`` and ``kvCacheManager.cpp``, and the documentation of the KV
cache system: all blocks of a lower priority go before any of a higher one, the least recently released first; only
leaves go; from primary memory a block goes to host memory where its priority allows it, and stays reusable; a priority
with a duration falls back to the default when that has passed since the block became free.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from charter_compiler.cache.retention import DEFAULT_PRIORITY

OFFLOAD_MIN_PRIORITY = 35
"""``secondary_offload_min_priority``: blocks below it are forgotten instead of offloaded."""

Key = tuple[int, ...]


class PoolBlock:
    """A block of KV memory and what it holds. ``key`` are its tokens, or its name in a trace; ``parent`` is None while
    it cannot be found. ``primary_children`` counts its children in primary memory."""

    __slots__ = (
        "children", "duration_ms", "expires", "full", "key", "parent", "primary", "primary_children", "priority",
        "refs", "stamp",
    )  # fmt: skip

    def __init__(self, priority: int, duration_ms: float | None) -> None:
        self.key: Key = ()
        self.full = False
        self.parent: PoolBlock | None = None
        self.children: dict[Key, PoolBlock] = {}
        self.primary_children = 0
        self.primary = True
        self.refs = 0
        self.priority = priority
        self.duration_ms = duration_ms
        self.expires: float | None = None
        self.stamp = 0

    @property
    def evictable(self) -> bool:
        """Whether nothing holds it and nothing in its own or the faster memory hangs on it."""
        return not self.refs and not (self.primary_children if self.primary else self.children)

    def descendants(self) -> Iterator[PoolBlock]:
        stack = list(self.children.values())
        while stack:
            block = stack.pop()
            stack.extend(block.children.values())
            yield block


class BlockPool:
    """Primary and host memory of so many blocks (primary None: unbounded). ``free`` counts primary blocks that no
    running request holds, ``evicted`` those that were forgotten, ``offloaded`` and ``onboarded`` the copies."""

    def __init__(self, primary: int | None, host: int, offload_min_priority: int) -> None:
        self.primary = primary
        self.free = primary or 0
        self.used = 0
        self.evicted = 0
        self.offloaded = 0
        self.onboarded = 0
        self._host = host
        self._host_fresh = host
        self._offload_min = offload_min_priority
        self._clock = 0
        self._serial = 0
        self._heaps: dict[bool, list[tuple[int, int, int, PoolBlock]]] = {True: [], False: []}
        self._expiring: list[tuple[float, int, PoolBlock]] = []

    def take(self, priority: int, duration_ms: float | None) -> PoolBlock:
        """A block to write to; forgets or offloads what it holds. Only where one is free."""
        self.free -= 1
        heap = self._heaps[True]
        top = self._top(True)
        if (self.primary is None or self.used < self.primary) and (top is None or top[0] >= DEFAULT_PRIORITY):
            self.used += 1  # never used, and as such of the default priority and older than all
        else:
            assert top is not None
            heapq.heappop(heap)
            self._clear(top[3])
        block = PoolBlock(priority, duration_ms)
        block.refs = 1
        return block

    def claim(self, block: PoolBlock, priority: int | None, duration_ms: float | None) -> None:
        """Hold a block that was found; its new priority, if one is given, replaces the old one."""
        if not block.refs and block.primary:
            self.free -= 1
        block.refs += 1
        if priority is not None:
            block.priority = priority
        block.duration_ms = duration_ms
        block.expires = None

    def onboard(self, block: PoolBlock) -> None:
        """Copy a held block from host memory into a free primary one."""
        self.take(block.priority, block.duration_ms)
        self._host_fresh += 1
        self.onboarded += 1
        block.primary = True
        if block.parent is not None:
            block.parent.primary_children += 1

    def attach(self, block: PoolBlock, key: Key, parent: PoolBlock, *, full: bool) -> None:
        """Make a held block findable."""
        block.key, block.parent, block.full = key, parent, full
        parent.children[key] = block
        parent.primary_children += 1

    def adopt(self, stored: PoolBlock, own: PoolBlock) -> None:
        """The holder of ``own``, which cannot be found, holds ``stored`` of the same content instead."""
        if stored.primary:
            self.free += 1 - (not stored.refs)
            self.used -= 1
        else:
            self._host_fresh += 1
            stored.primary = True
            if stored.parent is not None:
                stored.parent.primary_children += 1
        own.refs = own.stamp = 0  # a block that was taken over must not count as free by its former release
        stored.refs += 1

    def detach(self, block: PoolBlock) -> None:
        """Make a block unfindable; its parent may be a leaf then."""
        parent = block.parent
        if parent is None:
            return
        block.parent = None
        del parent.children[block.key]
        parent.primary_children -= block.primary
        self._offer(parent)

    def release(self, block: PoolBlock, now_ms: float) -> None:
        """One holder let go."""
        block.refs -= 1
        if block.refs:
            return
        self.free += 1
        self._restamp(block)
        if block.duration_ms is not None and block.priority != DEFAULT_PRIORITY:
            block.expires = now_ms + block.duration_ms
            self._serial += 1
            heapq.heappush(self._expiring, (block.expires, self._serial, block))
        self._offer(block)

    def refresh(self, now_ms: float) -> None:
        """Priorities whose time has passed fall back to the default, as if released now."""
        while self._expiring and self._expiring[0][0] <= now_ms:
            expires, _, block = heapq.heappop(self._expiring)
            if block.refs or block.expires != expires or not block.stamp:
                continue  # held, given another time, or forgotten
            block.expires = None
            block.priority = DEFAULT_PRIORITY
            self._restamp(block)
            self._offer(block)

    def _restamp(self, block: PoolBlock) -> None:
        self._clock += 1
        block.stamp = self._clock

    def _offer(self, block: PoolBlock) -> None:
        if block.stamp and block.evictable:
            self._serial += 1
            heap = self._heaps[block.primary]
            heapq.heappush(heap, (block.priority, block.stamp, self._serial, block))
            if len(heap) > 4 * (self.used + self._host) + 1024:
                live = {id(entry[3]): entry for entry in heap if _current(entry, block.primary)}
                self._heaps[block.primary] = sorted(live.values(), key=lambda entry: entry[:3])

    def _top(self, primary: bool) -> tuple[int, int, int, PoolBlock] | None:
        heap = self._heaps[primary]
        while heap and not _current(heap[0], primary):
            heapq.heappop(heap)
        return heap[0] if heap else None

    def _clear(self, block: PoolBlock) -> None:
        """Take a free block's content out of primary memory."""
        parent = block.parent
        if parent is not None and block.priority >= self._offload_min and self._host_room():
            block.primary = False
            self.offloaded += 1
            self._host_fresh -= 1
            parent.primary_children -= 1
            self._restamp(block)
            self._offer(block)
            self._offer(parent)
            return
        below = list(block.descendants())
        for lower in below:
            lower.parent, lower.children, lower.stamp = None, {}, 0
        self._host_fresh += len(below)
        block.children = {}
        if parent is not None:
            self.evicted += 1 + len(below)
            self.detach(block)
        block.stamp = 0

    def _host_room(self) -> bool:
        if not self._host:
            return False
        if not self._host_fresh:
            top = self._top(False)
            if top is None:
                return False
            heapq.heappop(self._heaps[False])
            self.detach(top[3])
            top[3].stamp = 0
            self._host_fresh += 1
            self.evicted += 1
        return True


def _current(entry: tuple[int, int, int, PoolBlock], primary: bool) -> bool:
    priority, stamp, _, block = entry
    return block.primary is primary and block.stamp == stamp and block.priority == priority and block.evictable
