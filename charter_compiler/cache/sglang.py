"""SGLang's KV cache: a radix tree whose edges hold runs of pages, evicted a whole leaf at a time.

After SGLang, ``python/sglang/srt/mem_cache/radix_cache.py``, with its default policy (least recently used). The rules:
matches are cut to whole pages and leave the prompt's last token to be computed; a look-up refreshes every node that it
touches, the rest of one that it splits included; a prompt enters the tree when its prefill is done, and the request
gives up what is there already; its output enters when it ends; eviction removes unlocked leaves, each with all its
pages, until there is room.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

from charter_compiler.cache.block_keys import chain, root_key
from charter_compiler.cache.interface import CacheTotals, Lease, Request
from charter_compiler.diagnostics.errors import ContextLengthError


class _Node:
    """A run of pages. ``locks`` counts the running requests whose path leads through it."""

    __slots__ = ("children", "locks", "pages", "parent", "used")

    def __init__(self, pages: list[int], parent: _Node | None, used: int) -> None:
        self.pages = pages
        self.parent = parent
        self.used = used
        self.locks = 0
        self.children: dict[int, _Node] = {}


@dataclass(slots=True, eq=False)
class SglangLease(Lease):
    """``names`` of its full pages; the first ``shared`` of them are in the tree, down to ``node``; ``private`` pages
    are its own. ``tail`` are the tokens behind the full pages."""

    names: list[int]
    node: _Node
    shared: int
    private: int
    tail: list[int]
    root: int


class SglangCache:
    """``capacity_blocks`` pages of ``tokens_per_block`` tokens (SGLang's ``page_size``)."""

    def __init__(self, capacity_blocks: int | None, tokens_per_block: int) -> None:
        self.capacity_blocks = capacity_blocks
        self.tokens_per_block = tokens_per_block
        self.totals = CacheTotals()
        self.occupied = 0
        self._root = _Node([], None, 0)
        self._root.locks = 1
        self._clock = 0
        self._serial = 0
        self._evictable = 0
        self._leaves: list[tuple[int, int, _Node]] = []

    def start(self, request: Request) -> SglangLease | None:
        """See ``EngineProfile.start``."""
        size, length = self.tokens_per_block, len(request.prompt)
        needed = -(-length // size)
        if self.capacity_blocks is not None and needed > self.capacity_blocks:
            raise ContextLengthError(
                f"a prompt of {length} tokens does not fit the KV cache of {self.capacity_blocks * size} tokens",
                remedy="shorten the prompt or raise the cache's capacity in blocks",
            )
        root = root_key(request.salt)
        names = chain(request.prompt, size, root) if request.names is None else list(request.names)
        node, shared = self._match(names[: (length - 1) // size])
        self._lock(node)
        if not self._take(needed - shared):
            self._unlock(node)
            return None
        tail = list(request.prompt[len(names) * size :]) if request.names is None else []
        return SglangLease(shared * size, length, names, node, shared, needed - shared, tail, root)

    def prefilled(self, lease: SglangLease) -> None:
        """See ``EngineProfile.prefilled``."""
        self._store(lease)

    def append(self, lease: SglangLease, tokens: Sequence[int]) -> bool:
        """See ``EngineProfile.append``."""
        size = self.tokens_per_block
        length = lease.length + len(tokens)
        more = -(-length // size) - lease.shared - lease.private
        if more > 0 and not self._take(more):
            return False
        lease.private += max(0, more)
        lease.length = length
        lease.tail.extend(tokens)
        named = chain(lease.tail, size, lease.names[-1] if lease.names else lease.root)
        del lease.tail[: len(named) * size]
        lease.names.extend(named)
        return True

    def finish(self, lease: SglangLease, now_ms: float = 0.0) -> None:
        """See ``EngineProfile.finish``."""
        self._store(lease)
        self.occupied -= lease.private
        lease.private = 0
        self._unlock(lease.node)

    def _match(self, names: Sequence[int]) -> tuple[_Node, int]:
        """The deepest node that the names lead to, which is split off where they end inside one; and how many match."""
        self._clock += 1
        node, done = self._root, 0
        while done < len(names):
            child = node.children.get(names[done])
            if child is None:
                break
            common = _common(child.pages, names, done)
            self._touch(child)
            if common < len(child.pages):
                child = self._split(child, common)
            done += common
            node = child
            if not common:
                break
        return node, done

    def _split(self, child: _Node, length: int) -> _Node:
        """A new node with the first pages of ``child``, above it."""
        parent = child.parent
        assert parent is not None
        top = _Node(child.pages[:length], parent, self._clock)
        top.locks = child.locks
        parent.children[top.pages[0]] = top
        child.pages = child.pages[length:]
        child.parent = top
        top.children[child.pages[0]] = child
        return top

    def _store(self, lease: SglangLease) -> None:
        """Put the lease's full pages into the tree; give up those that are there already."""
        fresh = len(lease.names) - lease.shared
        if fresh <= 0:
            return
        node, found = self._match(lease.names)
        new = len(lease.names) - found
        self.occupied -= found - lease.shared
        if new:
            leaf = _Node(lease.names[found:], node, self._clock)
            node.children[leaf.pages[0]] = leaf
            self._evictable += new
            node = leaf
        lease.private -= fresh
        self._lock(node)
        self._unlock(lease.node)
        lease.node, lease.shared = node, len(lease.names)

    def _lock(self, node: _Node) -> None:
        walk: _Node | None = node
        while walk is not None and walk is not self._root:
            if not walk.locks:
                self._evictable -= len(walk.pages)
            walk.locks += 1
            walk = walk.parent

    def _unlock(self, node: _Node) -> None:
        walk: _Node | None = node
        while walk is not None and walk is not self._root:
            walk.locks -= 1
            if not walk.locks:
                self._evictable += len(walk.pages)
                self._offer(walk)
            walk = walk.parent

    def _touch(self, node: _Node) -> None:
        node.used = self._clock
        self._offer(node)

    def _offer(self, node: _Node) -> None:
        if not node.locks and not node.children:
            self._serial += 1
            heapq.heappush(self._leaves, (node.used, self._serial, node))
            if len(self._leaves) > 4 * self.occupied + 1024:
                self._leaves = [entry for entry in self._leaves if _current(entry)]
                heapq.heapify(self._leaves)

    def _take(self, pages: int) -> bool:
        """Pages for a request, evicting for them; False, and nothing changes, where there are not enough."""
        if self.capacity_blocks is not None:
            missing = self.occupied + pages - self.capacity_blocks
            if missing > self._evictable:
                return False
            while missing > 0:
                missing -= self._evict()
        self.occupied += pages
        self.totals.peak = max(self.totals.peak, self.occupied)
        return True

    def _evict(self) -> int:
        entry = heapq.heappop(self._leaves)
        while not _current(entry):
            entry = heapq.heappop(self._leaves)
        leaf = entry[2]
        parent, count = leaf.parent, len(leaf.pages)
        assert parent is not None
        del parent.children[leaf.pages[0]]
        leaf.parent = None
        self.occupied -= count
        self._evictable -= count
        self.totals.evicted += count
        if parent is not self._root:
            self._offer(parent)
        return count


def _current(entry: tuple[int, int, _Node]) -> bool:
    used, _, node = entry
    return node.parent is not None and not node.locks and not node.children and node.used == used


def _common(pages: Sequence[int], names: Sequence[int], start: int) -> int:
    """How many of ``pages`` stand in ``names`` from ``start`` on. Names are chained: one tells all before it."""
    low, high = 0, min(len(pages), len(names) - start)
    while low < high:
        middle = (low + high + 1) // 2
        if pages[middle - 1] == names[start + middle - 1]:
            low = middle
        else:
            high = middle - 1
    return low
