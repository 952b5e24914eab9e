"""The blocks that can be reused: a radix tree a salt, the order of eviction, and the sequences that keep them alive."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from charter_compiler.cache.block_keys import root_key
from charter_compiler.cache.events import BlockEvent, EventKind, OnEvent
from charter_compiler.cache.radix import Block, EvictionQueue, Tokens
from charter_compiler.cache.retention import BlockRetention
from charter_compiler.cache.sequences import NoMemory, SequenceMemory, SequencePool


@dataclass(slots=True)
class CacheCounters:
    """Totals since the start, in blocks. ``evicted`` includes ``evicted_for_sequences``, the blocks that went because
    the sequences ran short, not the blocks; ``peak`` is the most that were occupied at once."""

    reused: int = 0
    new: int = 0
    evicted: int = 0
    evicted_for_sequences: int = 0
    peak: int = 0


class BlockTree:
    """What ``BlockManager`` is made of: it knows blocks and sequences, and nothing of requests.

    ``roots`` are by ``block_keys.root_key`` of their salt. ``held_blocks`` counts the stored blocks that something
    holds, and what its heir adds.
    """

    def __init__(
        self, max_sequences: int | None, *, memory: SequenceMemory | None = None, on_event: OnEvent | None = None
    ) -> None:
        self.max_sequences = max_sequences
        self.counters = CacheCounters()
        self.root = Block((), None)
        self.roots = {self.root.name: self.root}
        self.queue = EvictionQueue()
        self.pool = SequencePool(max_sequences)
        self.cached_blocks = 0
        self.held_blocks = 0
        self._memory: SequenceMemory = NoMemory() if memory is None else memory
        self._on_event = on_event

    def stored(self) -> Iterator[Block]:
        """Every block that can be reused, of all salts."""
        for root in self.roots.values():
            yield from root.subtree()

    def forget(self, block: Block) -> None:
        """Evict an evictable block before its turn."""
        self._evict(block)

    def _root(self, salt: str | None) -> Block:
        name = root_key(salt)
        root = self.roots.get(name)
        if root is None:
            root = self.roots[name] = Block((), None, name=name)
        return root

    def _claim(self, block: Block, wanted: BlockRetention) -> None:
        """One more holder of a stored block; a new priority, if one is given, replaces the old one."""
        self._hold(block)
        if wanted.priority is not None:
            block.priority = wanted.priority
        block.duration_ms = wanted.duration_ms
        block.expires = None

    def _hold(self, block: Block) -> None:
        self.held_blocks += not block.refs
        block.refs += 1

    def _let_go(self, path: Sequence[Block], now_ms: float) -> None:
        """One holder less of each, in reverse, so that the end of a sequence goes before its start."""
        for block in reversed(path):
            block.refs -= 1
            if not block.refs:
                self.held_blocks -= 1
                self.queue.release(block, now_ms)
        if path and path[-1].evictable:
            self.queue.push(path[-1])
        self.queue.compact(self.cached_blocks)

    def _store(self, key: Tokens, parent: Block, one: BlockRetention) -> Block:
        """A new block in the tree, which nobody holds yet."""
        block = parent.children[key] = Block(key, parent, one)
        self.cached_blocks += 1
        if self._on_event is not None:
            self._on_event(BlockEvent(EventKind.STORED, block.name, parent.name, key, block.priority))
        return block

    def _part(self, parent: Block, rest: Tokens) -> tuple[Block | None, int]:
        """The child that begins most like ``rest``, and how many tokens they share."""
        best, length = None, 0
        if rest:
            for child in parent.children.values():
                if child.tokens[0] == rest[0] and (common := _common(child.tokens, rest)) > length:
                    best, length = child, common
        return best, length

    def _take_over(self, part: Block, length: int) -> int:
        """Take a leaf that nobody holds out of the tree, with its sequence, of which its first ``length`` tokens stay.
        Its parent is held, or is a root."""
        parent, sequence = part.parent, part.idle
        assert parent is not None
        assert sequence is not None
        self._remove(part)
        self._memory.drop_range(sequence, parent.end + length, None)
        return sequence

    def _remove(self, leaf: Block) -> None:
        """Out of the tree."""
        parent = leaf.parent
        assert parent is not None
        del parent.children[leaf.tokens]
        leaf.parent = leaf.idle = None
        self.cached_blocks -= 1
        if self._on_event is not None:
            self._on_event(BlockEvent(EventKind.REMOVED, leaf.name, parent.name, leaf.tokens, leaf.priority))

    def _evict(self, leaf: Block) -> Block:
        """Forget an evictable leaf; returns its parent."""
        parent, sequence = leaf.parent, leaf.idle
        assert parent is not None
        assert sequence is not None
        self._remove(leaf)
        self.counters.evicted += 1
        self._settle(sequence, parent)
        if parent.evictable:
            self.queue.push(parent)
        return parent

    def _evict_branch(self) -> None:
        """Forget the leaf that goes first and what only its sequence covers, until the sequence is free or waits at a
        block that is held: by the request that is about to take it, or by a pin, and then the next leaf's turn comes.
        """
        block = self.queue.pop()
        while block.idle is not None and block.evictable:
            block = self._evict(block)
            self.counters.evicted_for_sequences += 1

    def _settle(self, sequence: int, block: Block) -> None:
        """A sequence whose request or leaf is gone waits at ``block`` if that needs one; else it is free."""
        if block.parent is None or block.children or block.runners or block.idle is not None:
            self._free_sequence(sequence)
            if block.parent is None and block is not self.root and not (block.children or block.runners):
                self.roots.pop(block.name, None)  # nothing of this salt is left
            return
        block.idle = sequence
        self._memory.drop_range(sequence, block.end, None)

    def _free_sequence(self, sequence: int) -> None:
        self._memory.drop_range(sequence, 0, None)
        self.pool.give_back(sequence)


def _common(a: Tokens, b: Tokens) -> int:
    return next((index for index, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
