"""TensorRT-LLM's KV-cache block manager: a radix tree of blocks, evicted by priority, then least recently used.

After `cpp/tensorrt_llm/batch_manager/kvCacheManager.cpp` and `evictionPolicy.cpp`: blocks are found by their tokens
along the path from the start; the last prompt token is always computed; a prompt's blocks become reusable when its
prefill is done, a block of generated tokens when it is full; blocks are let go in reverse, so that the end of a
sequence is evicted first, all of a lower priority before any of a higher one; the capacity scheduler is
GUARANTEED_NO_EVICT, which starts a request only when all that it may need is free. With partial reuse the first tokens
of a block are reused too, and the partial block at the end of a request is kept for that.

Two things differ. A block that another request has stored in the meantime is given up at once for the stored one, where
TensorRT-LLM keeps both until the request ends. And each branch needs a sequence (see ``sequences``), which
TensorRT-LLM has no need of; with ``max_sequences`` None that never shows. ``trtllm_profile`` adds host memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from charter_compiler.cache.block_keys import root_key
from charter_compiler.cache.block_tree import BlockTree
from charter_compiler.cache.events import OnEvent
from charter_compiler.cache.radix import Block, Tokens
from charter_compiler.cache.retention import DEFAULT_PRIORITY, BlockRetention, Retention
from charter_compiler.cache.sequences import SequenceMemory
from charter_compiler.diagnostics.errors import ContextLengthError

_PLAIN = Retention()


@dataclass(slots=True, eq=False)
class Allocation:
    """What one running request holds: stored blocks (``path``, from the start), its ``own`` blocks, which are not in
    the tree, each with the retention that it will be stored with, ``reserved`` blocks that it may still ask for, and
    the sequence that its tokens are computed in. ``cached_tokens`` were there when it started; ``reused_blocks`` held
    them, the last maybe in part."""

    sequence: int
    retention: Retention
    path: list[Block]
    anchor: Block
    reserved: int
    reused_blocks: int
    cached_tokens: int
    own: list[BlockRetention] = field(default_factory=list)
    new_blocks: int = 0

    @property
    def private(self) -> int:
        """Blocks that are not in the tree."""
        return len(self.own)

    @property
    def blocks(self) -> int:
        return len(self.path) + len(self.own)


@dataclass(slots=True, eq=False)
class Pin:
    """Blocks from the start that are not evicted before ``expires_ms``."""

    path: list[Block]
    expires_ms: float


class BlockManager(BlockTree):
    """Decides which blocks are reused, kept and evicted. Not thread-safe.

    ``capacity_blocks`` and ``max_sequences`` None are unbounded. ``memory`` is told of every sharing and forgetting, at
    once and in order; ``on_event`` of every block that becomes reusable or stops being so. What is reused is a multiple
    of ``reuse_step`` tokens, which is a multiple of ``tokens_per_block`` (None: any whole block); it excludes
    ``partial_reuse``. Times are in ms of the caller's clock.

    The attributes are for reading: ``cached_blocks`` are in the tree, ``private_blocks`` held by one running request
    and not stored, ``held_blocks`` all that running requests and pins hold, ``reserved_blocks`` what requests may still
    ask for.
    """

    def __init__(
        self,
        capacity_blocks: int | None,
        tokens_per_block: int,
        *,
        max_sequences: int | None = None,
        enable_reuse: bool = True,
        partial_reuse: bool = False,
        reuse_step: int | None = None,
        memory: SequenceMemory | None = None,
        on_event: OnEvent | None = None,
    ) -> None:
        super().__init__(max_sequences, memory=memory, on_event=on_event)
        self.capacity_blocks = capacity_blocks
        self.tokens_per_block = tokens_per_block
        self.enable_reuse = enable_reuse
        self.partial_reuse = partial_reuse and enable_reuse and reuse_step is None
        self.running: list[Allocation] = []
        self.pins: list[Pin] = []
        self.private_blocks = 0
        self.reserved_blocks = 0
        self._step = 1 if reuse_step is None else reuse_step // tokens_per_block

    def blocks_for(self, tokens: int) -> int:
        """Blocks that so many tokens take."""
        return -(-tokens // self.tokens_per_block)

    def reusable_blocks(self, blocks: int) -> int:
        """Of so many blocks from the start, those that can be reused: a multiple of ``reuse_step``."""
        return blocks // self._step * self._step

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

    def match(self, prompt: Sequence[int], salt: str | None = None) -> list[Block]:
        """The full blocks that the prompt, without its last token, begins with and that can be reused. Changes
        nothing."""
        path: list[Block] = []
        block = self.roots.get(root_key(salt))
        if not self.enable_reuse or block is None:
            return path
        size = self.tokens_per_block
        for start in range(0, len(prompt) - size, size):
            child = block.children.get(tuple(prompt[start : start + size]))
            if child is None:
                break
            path.append(child)
            block = child
        del path[self.reusable_blocks(len(path)) :]
        return path

    def admit(
        self,
        prompt: Sequence[int],
        max_tokens: int,
        *,
        salt: str | None = None,
        retention: Retention | None = None,
        now_ms: float = 0.0,
    ) -> Allocation | None:
        """Start a request: hold the blocks that it reuses, allocate those of its prompt, reserve those of its output.

        None when blocks or sequences are short: ask again when a request has ended. The first ``cached_tokens``
        positions of its sequence are already there. Raises ContextLengthError where it can never fit.
        """
        self.require_fit(len(prompt), max_tokens)
        if self.max_sequences is not None and len(self.running) + len(self.pins) >= self.max_sequences:
            return None
        self.queue.refresh(now_ms)
        path = self.match(prompt, salt)
        unheld = sum(not block.refs for block in path)
        needed = self.blocks_for(len(prompt) + max_tokens) - len(path)
        if self.capacity_blocks is not None:
            committed = self.held_blocks + self.reserved_blocks
            if committed + needed + unheld > self.capacity_blocks:
                return None
        wanted = (retention or _PLAIN).of_blocks(len(prompt), self.tokens_per_block)
        for block, one in zip(path, wanted, strict=False):
            self._claim(block, one)
        self.reserved_blocks += needed
        anchor = path[-1] if path else self._root(salt)
        allocation = Allocation(-1, retention or _PLAIN, path, anchor, needed, len(path), anchor.end)
        rest = tuple(prompt[anchor.end : min(anchor.end + self.tokens_per_block, len(prompt) - 1)])
        self._start_sequence(allocation, rest, wanted)
        self.running.append(allocation)
        for one in wanted[allocation.blocks :]:
            self._allocate(allocation, one)
        self.counters.reused += allocation.reused_blocks
        return allocation

    def extend(self, allocation: Allocation, length: int) -> None:
        """Allocate blocks until the sequence can hold ``length`` tokens; evicts where none is free. The reservation
        made by ``admit`` guarantees that this succeeds up to prompt and ``max_tokens``."""
        retention = allocation.retention
        while self.blocks_for(length) > allocation.blocks:
            self._allocate(allocation, BlockRetention(retention.decode_priority, retention.decode_duration_ms))

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
            block = self._swap(allocation, child)
            stored += 1
        if stored:
            self._adopt(allocation, block, first * size)
        for key in keys[stored:]:
            block = self._add(allocation, key, block)
        self._move_anchor(allocation, block)

    def release(
        self, allocation: Allocation, tokens: Sequence[int] = (), length: int = 0, *, now_ms: float = 0.0
    ) -> None:
        """End a request. What it has stored stays reusable, and with partial reuse the partial block at the end of the
        first ``length`` tokens, which have been computed, too; the rest of its blocks are free at once."""
        if self.partial_reuse:
            self._store_part(allocation, tuple(tokens[len(allocation.path) * self.tokens_per_block : length]))
        self.running.remove(allocation)
        self._let_go(allocation.path, now_ms)
        self.held_blocks -= allocation.private
        self.private_blocks -= allocation.private
        self.reserved_blocks -= allocation.reserved
        anchor, sequence = allocation.anchor, allocation.sequence
        anchor.runners.discard(sequence)
        self._settle(sequence, anchor)

    def pin(self, path: list[Block], expires_ms: float) -> Pin:
        """Hold a path of stored blocks until ``unpin``; the caller sees to it that room is left for requests."""
        for block in path:
            self._claim(block, BlockRetention(None, block.duration_ms))
        self.pins.append(Pin(path, expires_ms))
        return self.pins[-1]

    def unpin(self, pin: Pin, now_ms: float) -> None:
        """Let the blocks of a pin go."""
        self.pins.remove(pin)
        self._let_go(pin.path, now_ms)

    def _allocate(self, allocation: Allocation, wanted: BlockRetention, *, new: bool = True) -> None:
        """One block of the request's own. A block of less than the default priority is taken before one that was never
        used, since those have the default."""
        assert allocation.reserved, "a request outgrew its reservation"
        if self.capacity_blocks is not None:
            top = self.queue.top()
            if top is not None and (self.occupied_blocks >= self.capacity_blocks or top.priority < DEFAULT_PRIORITY):
                self._evict(self.queue.pop())
        self._own(allocation, wanted)
        allocation.new_blocks += new
        self.counters.new += new

    def _own(self, allocation: Allocation, wanted: BlockRetention) -> None:
        allocation.reserved -= 1
        allocation.own.append(wanted)
        self.reserved_blocks -= 1
        self.private_blocks += 1
        self.held_blocks += 1
        self.counters.peak = max(self.counters.peak, self.occupied_blocks)

    def _start_sequence(self, allocation: Allocation, rest: Tokens, wanted: Sequence[BlockRetention]) -> None:
        """A sequence that holds the path to the anchor and what of ``rest``, the prompt's next block, is there: the
        idle one of a block that is taken over or that waits at the anchor, or a new one."""
        anchor = allocation.anchor
        while True:
            part, length = self._part(anchor, rest) if self.partial_reuse else (None, 0)
            if part is not None and part.evictable:
                sequence = self._take_over(part, length)
                self._own(allocation, _default(wanted[len(allocation.path)], part))
                break
            if anchor.idle is not None:
                sequence, anchor.idle = anchor.idle, None
                break
            if self.pool.available:
                sequence = self.pool.take()
                if part is not None or anchor.parent is not None:
                    source = (part or anchor).covering_sequence()
                    self._memory.copy_range(source, sequence, 0, anchor.end + length)
                break
            self._evict_branch()
        anchor.runners.add(sequence)
        allocation.sequence = sequence
        if part is not None:
            allocation.reused_blocks += 1
            allocation.cached_tokens += length
            if not allocation.own:
                self._allocate(allocation, BlockRetention(part.priority, part.duration_ms), new=False)

    def _swap(self, allocation: Allocation, stored: Block) -> Block:
        """Hold a stored block in place of the request's own next one."""
        self._hold(stored)
        allocation.path.append(stored)
        del allocation.own[0]
        self.private_blocks -= 1
        self.held_blocks -= 1
        return stored

    def _add(self, allocation: Allocation, key: Tokens, parent: Block) -> Block:
        """Put the request's own next block into the tree."""
        return self._swap(allocation, self._store(key, parent, allocation.own[0]))

    def _store_part(self, allocation: Allocation, key: Tokens) -> None:
        """Keep the last, partial block of a request that ends."""
        if not key or len(key) >= self.tokens_per_block:
            return
        child = allocation.anchor.children.get(key)
        if child is not None:
            self._swap(allocation, child)
        else:
            self._move_anchor(allocation, self._add(allocation, key, allocation.anchor))

    def _move_anchor(self, allocation: Allocation, block: Block) -> None:
        allocation.anchor.runners.discard(allocation.sequence)
        allocation.anchor = block
        block.runners.add(allocation.sequence)

    def _adopt(self, allocation: Allocation, last: Block, start: int) -> None:
        """Swap the request's own cells from position ``start`` to the end of block ``last`` for the stored ones. From
        now on the request's sequence covers ``last``, so an idle one that waits there is free."""
        self._memory.drop_range(allocation.sequence, start, last.end)
        self._memory.copy_range(last.covering_sequence(), allocation.sequence, start, last.end)
        if last.idle is not None:
            self._free_sequence(last.idle)
            last.idle = None


def _default(wanted: BlockRetention, found: Block) -> BlockRetention:
    """What holds for a block that is taken over: its priority, unless another is wanted."""
    return BlockRetention(found.priority if wanted.priority is None else wanted.priority, wanted.duration_ms)
