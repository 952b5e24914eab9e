"""TensorRT-LLM's KV-cache block manager: a radix tree of full blocks, evicted least recently used.

After `cpp/tensorrt_llm/batch_manager/kvCacheManager.cpp`: blocks are found by their tokens along the path from the
start; the last prompt token is always computed; a prompt's blocks become reusable when its prefill is done, a block of
generated tokens when it is full; blocks are let go in reverse, so that the end of a sequence is evicted first; the
capacity scheduler is GUARANTEED_NO_EVICT, which starts a request only when all that it may need is free.

Two things differ. A block that another request has stored in the meantime is given up at once for the stored one, where
TensorRT-LLM keeps both until the request ends. And each branch needs a sequence (see ``sequences``), which
TensorRT-LLM has no need of; with ``max_sequences`` None that never shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from charter_compiler.cache.radix import Block, EvictionQueue
from charter_compiler.cache.sequences import NoMemory, SequenceMemory, SequencePool
from charter_compiler.diagnostics.errors import ContextLengthError


@dataclass(slots=True)
class CacheCounters:
    """Totals since the start, in blocks. ``evicted`` includes ``evicted_for_sequences``, the blocks that went because
    the sequences ran short, not the blocks; ``peak`` is the most that were occupied at once."""

    reused: int = 0
    new: int = 0
    evicted: int = 0
    evicted_for_sequences: int = 0
    peak: int = 0


@dataclass(slots=True, eq=False)
class Allocation:
    """What one running request holds: stored blocks (``path``, from the start), ``private`` blocks that are not in the
    tree, ``reserved`` blocks that it may still ask for, and the sequence that its tokens are computed in."""

    sequence: int
    reused_blocks: int
    path: list[Block]
    anchor: Block
    reserved: int
    private: int = 0
    new_blocks: int = 0

    @property
    def blocks(self) -> int:
        return len(self.path) + self.private


class BlockManager:
    """Decides which blocks are reused, kept and evicted. Not thread-safe.

    ``capacity_blocks`` and ``max_sequences`` None are unbounded. ``memory`` is told of every sharing and forgetting, at
    once and in order. The attributes are for reading: ``cached_blocks`` are in the tree, ``private_blocks`` held by one
    running request and not stored, ``held_blocks`` all that running requests hold, ``reserved_blocks`` what they may
    still ask for.
    """

    def __init__(
        self,
        capacity_blocks: int | None,
        tokens_per_block: int,
        *,
        max_sequences: int | None = None,
        enable_reuse: bool = True,
        memory: SequenceMemory | None = None,
    ) -> None:
        self.capacity_blocks = capacity_blocks
        self.tokens_per_block = tokens_per_block
        self.max_sequences = max_sequences
        self.enable_reuse = enable_reuse
        self.counters = CacheCounters()
        self.root = Block((), None)
        self.running: list[Allocation] = []
        self.queue = EvictionQueue()
        self.pool = SequencePool(max_sequences)
        self.cached_blocks = 0
        self.private_blocks = 0
        self.held_blocks = 0
        self.reserved_blocks = 0
        self._memory: SequenceMemory = NoMemory() if memory is None else memory

    def blocks_for(self, tokens: int) -> int:
        """Blocks that so many tokens take."""
        return -(-tokens // self.tokens_per_block)

    @property
    def occupied_blocks(self) -> int:
        """Blocks in the tree or private to a running request."""
        return self.cached_blocks + self.private_blocks

    def require_fit(self, prompt_tokens: int, max_tokens: int) -> None:
        """Raises ContextLengthError where prompt and output could not be held even alone."""
        if self.capacity_blocks is None or self.blocks_for(prompt_tokens + max_tokens) <= self.capacity_blocks:
            return
        raise ContextLengthError(
            f"a prompt of {prompt_tokens} tokens and {max_tokens} output tokens do not fit the KV cache "
            f"of {self.capacity_blocks * self.tokens_per_block} tokens",
            remedy="shorten the prompt, lower max_tokens or raise the cache's capacity in blocks",
        )

    def match(self, prompt: Sequence[int]) -> list[Block]:
        """The stored blocks that the prompt begins with, without its last token. Changes nothing."""
        path: list[Block] = []
        if not self.enable_reuse:
            return path
        size, block = self.tokens_per_block, self.root
        for start in range(0, len(prompt) - size, size):
            child = block.children.get(tuple(prompt[start : start + size]))
            if child is None:
                break
            path.append(child)
            block = child
        return path

    def admit(self, prompt: Sequence[int], max_tokens: int) -> Allocation | None:
        """Start a request: hold the blocks that it reuses, allocate those of its prompt, reserve those of its output.

        None when blocks or sequences are short: ask again when a request has ended. The first
        ``reused_blocks * tokens_per_block`` positions of its sequence are already there. Raises ContextLengthError
        where it can never fit.
        """
        self.require_fit(len(prompt), max_tokens)
        if self.max_sequences is not None and len(self.running) >= self.max_sequences:
            return None
        path = self.match(prompt)
        unheld = sum(not block.refs for block in path)
        needed = self.blocks_for(len(prompt) + max_tokens) - len(path)
        if self.capacity_blocks is not None:
            committed = self.held_blocks + self.reserved_blocks
            if committed + needed + unheld > self.capacity_blocks:
                return None
        for block in path:
            block.refs += 1
        self.held_blocks += unheld
        self.reserved_blocks += needed
        self.counters.reused += len(path)
        anchor = path[-1] if path else self.root
        allocation = Allocation(self._start_sequence(anchor), len(path), path, anchor, needed)
        self.running.append(allocation)
        self.extend(allocation, len(prompt))
        return allocation

    def extend(self, allocation: Allocation, length: int) -> None:
        """Allocate blocks until the sequence can hold ``length`` tokens; evicts where none is free. The reservation
        made by ``admit`` guarantees that this succeeds up to prompt and ``max_tokens``."""
        count = self.blocks_for(length) - allocation.blocks
        if count <= 0:
            return
        assert count <= allocation.reserved, "a request outgrew its reservation"
        allocation.reserved -= count
        allocation.private += count
        allocation.new_blocks += count
        self.reserved_blocks -= count
        self.private_blocks += count
        self.held_blocks += count
        self.counters.new += count
        if self.capacity_blocks is not None:
            while self.occupied_blocks > self.capacity_blocks:
                self._evict(self.queue.pop())
        self.counters.peak = max(self.counters.peak, self.occupied_blocks)

    def store(self, allocation: Allocation, tokens: Sequence[int], length: int) -> None:
        """Make the full blocks among the first ``length`` tokens reusable; their KV has been computed.

        A block that is stored already replaces the request's own copy, in its sequence too.
        """
        size, first = self.tokens_per_block, len(allocation.path)
        if not self.enable_reuse or length // size <= first:
            return
        keys = [tuple(tokens[start : start + size]) for start in range(first * size, length // size * size, size)]
        block = allocation.anchor
        stored = 0
        while stored < len(keys) and (child := block.children.get(keys[stored])) is not None:
            self.held_blocks += not child.refs
            block = self._hold(allocation, child)
            stored += 1
        if stored:
            self._adopt(allocation, block, first * size)
        for key in keys[stored:]:
            child = block.children[key] = Block(key, block)
            self.cached_blocks += 1
            self.held_blocks += 1
            block = self._hold(allocation, child)
        allocation.private -= len(keys)
        self.private_blocks -= len(keys)
        self.held_blocks -= len(keys)
        allocation.anchor.runners.discard(allocation.sequence)
        allocation.anchor = block
        block.runners.add(allocation.sequence)

    def release(self, allocation: Allocation) -> None:
        """End a request. What it has stored stays reusable; the rest of its blocks are free at once."""
        self.running.remove(allocation)
        for block in reversed(allocation.path):
            block.refs -= 1
            if not block.refs:
                self.held_blocks -= 1
                self.queue.release(block)
        self.held_blocks -= allocation.private
        self.private_blocks -= allocation.private
        self.reserved_blocks -= allocation.reserved
        anchor, sequence = allocation.anchor, allocation.sequence
        anchor.runners.discard(sequence)
        self._settle(sequence, anchor)
        if anchor.evictable:
            self.queue.push(anchor)
            self.queue.compact(self.cached_blocks)

    def _start_sequence(self, anchor: Block) -> int:
        """A sequence that holds the path to ``anchor``: the idle one that waits there, or a new one."""
        if anchor.idle is None and not self.pool.available:
            self._evict_branch()
        if anchor.idle is not None:
            sequence, anchor.idle = anchor.idle, None
        else:
            sequence = self.pool.take()
            if anchor is not self.root:
                self._memory.copy_range(anchor.covering_sequence(), sequence, 0, anchor.depth * self.tokens_per_block)
        anchor.runners.add(sequence)
        return sequence

    @staticmethod
    def _hold(allocation: Allocation, block: Block) -> Block:
        block.refs += 1
        allocation.path.append(block)
        return block

    def _adopt(self, allocation: Allocation, last: Block, start: int) -> None:
        """Swap the request's own cells from position ``start`` to the end of block ``last`` for the stored ones. From
        now on the request's sequence covers ``last``, so an idle one that waits there is free."""
        stop = last.depth * self.tokens_per_block
        self._memory.drop_range(allocation.sequence, start, stop)
        self._memory.copy_range(last.covering_sequence(), allocation.sequence, start, stop)
        if last.idle is not None:
            self._free_sequence(last.idle)
            last.idle = None

    def _settle(self, sequence: int, block: Block) -> None:
        """A sequence whose request or leaf is gone waits at ``block`` if that needs one; else it is free."""
        if block is self.root or block.children or block.runners or block.idle is not None:
            self._free_sequence(sequence)
            return
        block.idle = sequence
        self._memory.drop_range(sequence, block.depth * self.tokens_per_block, None)

    def _free_sequence(self, sequence: int) -> None:
        self._memory.drop_range(sequence, 0, None)
        self.pool.give_back(sequence)

    def _evict(self, leaf: Block) -> Block:
        """Forget an evictable leaf; returns its parent."""
        parent, sequence = leaf.parent, leaf.idle
        assert parent is not None
        assert sequence is not None
        del parent.children[leaf.tokens]
        leaf.parent = leaf.idle = None
        self.cached_blocks -= 1
        self.counters.evicted += 1
        self._settle(sequence, parent)
        if parent.evictable:
            self.queue.push(parent)
        return parent

    def _evict_branch(self) -> None:
        """Forget the least recently released leaf and what only its sequence covers, until the sequence is free or
        waits at a block that a request holds, which is then about to take it."""
        block = self.queue.pop()
        while block.idle is not None and block.evictable:
            block = self._evict(block)
            self.counters.evicted_for_sequences += 1
