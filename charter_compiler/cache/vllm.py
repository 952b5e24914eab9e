"""vLLM's KV cache: full blocks found by a chained hash, a queue of free blocks, nothing stored twice on purpose and
nothing merged either.

After vLLM 0.32, ``vllm/v1/core/kv_cache_manager.py`` and ``block_pool.py``, for a model of full attention only. The
rules: only full blocks are found, and never the one with the prompt's last token, which is always computed; a block is
found from the moment when its tokens are scheduled; a block computed twice exists twice, and the older copy is found;
an ended request's blocks go to the end of the free queue, its last block first, but blocks without a hash to the front;
one block of the pool is never used (the null block).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from charter_compiler.cache.block_keys import chain, root_key
from charter_compiler.cache.free_queue import FreeQueue
from charter_compiler.cache.interface import CacheTotals, Lease, Request
from charter_compiler.diagnostics.errors import ContextLengthError

NULL_BLOCKS = 1
"""Blocks of the pool that hold nothing: sliding windows point to it."""


@dataclass(slots=True, eq=False)
class VllmLease(Lease):
    """``keys`` name the full blocks of the prompt of ``prompt_length`` tokens and of what was generated; ``tail`` are
    the tokens behind them. ``stored`` of ``blocks`` have been offered for reuse."""

    prompt_length: int
    blocks: list[int]
    keys: list[int]
    tail: list[int]
    stored: int
    root: int


class VllmCache:
    """vLLM's ``KVCacheManager`` for one group of full attention layers.

    ``capacity_blocks`` is vLLM's ``num_gpu_blocks``, its null block included; None is unbounded. ``tokens_per_block``
    is its ``block_size``.
    """

    def __init__(self, capacity_blocks: int | None, tokens_per_block: int) -> None:
        self.capacity_blocks = capacity_blocks
        self.tokens_per_block = tokens_per_block
        self.totals = CacheTotals()
        self._refs: list[int] = []
        self._key_of: dict[int, int] = {}
        self._found: dict[int, int | dict[int, None]] = {}
        usable = None if capacity_blocks is None else capacity_blocks - NULL_BLOCKS
        self._queue = FreeQueue(usable, self._refs)

    @property
    def free_blocks(self) -> int | None:
        """Blocks that no running request holds; None where there is no end of them."""
        return None if self.capacity_blocks is None else self._queue.free

    @property
    def cached_blocks(self) -> int:
        """Blocks that can be found, held or not."""
        return len(self._key_of)

    def start(
        self, request: Request, first_chunk: int | None = None, *, whole_must_fit: bool = False
    ) -> VllmLease | None:
        """See ``EngineProfile.start``. ``first_chunk`` tokens after the cached ones are computed now, and only their
        blocks taken; None: the whole prompt. ``whole_must_fit``: not before there is room for the whole prompt, which
        is what vLLM's scheduler asks for (``scheduler_reserve_full_isl``)."""
        prompt, size = request.prompt, self.tokens_per_block
        length = len(prompt)
        self.require_fit(length)
        root = root_key(request.salt)
        keys = chain(prompt, size, root) if request.names is None else list(request.names)
        hits = self._match(keys, (length - 1) // size)
        cached = len(hits) * size
        stop = length if first_chunk is None else min(length, cached + first_chunk)
        refs = self._refs
        idle = 0
        for block in hits:
            if not refs[block]:
                idle += 1
        if not self._queue.has(-(-(length if whole_must_fit else stop) // size) - len(hits) + idle):
            return None
        self._queue.free -= idle
        for block in hits:
            refs[block] += 1
        lease = VllmLease(cached, stop, length, hits, keys, list(prompt[len(keys) * size :]), len(hits), root)
        self._compute(lease)
        return lease

    def prefilled(self, lease: VllmLease) -> None:
        """Nothing: vLLM offers blocks when their tokens are scheduled."""

    def append(self, lease: VllmLease, tokens: Sequence[int]) -> bool:
        """See ``EngineProfile.append``; also the next chunk of a prompt that was not computed whole."""
        size = self.tokens_per_block
        length = lease.length + len(tokens)
        if not self._queue.has(-(-length // size) - len(lease.blocks)):
            return False
        if lease.length >= lease.prompt_length:
            lease.tail.extend(tokens)
            if len(lease.tail) >= size:
                more = chain(lease.tail, size, lease.keys[-1] if lease.keys else lease.root)
                del lease.tail[: len(more) * size]
                lease.keys.extend(more)
        lease.length = length
        self._compute(lease)
        return True

    def finish(self, lease: VllmLease, now_ms: float = 0.0) -> None:
        """See ``EngineProfile.finish``."""
        refs, key_of = self._refs, self._key_of
        first, last = [], []
        for block in reversed(lease.blocks):
            count = refs[block] = refs[block] - 1
            if not count:
                if block in key_of:
                    last.append(block)
                else:
                    first.append(block)
        if first:
            self._queue.push_front(first)
        self._queue.push_back(last)
        lease.blocks = []

    def require_fit(self, length: int) -> None:
        """Raises ContextLengthError where so many tokens exceed the whole cache."""
        if self.capacity_blocks is None:
            return
        usable = self.capacity_blocks - NULL_BLOCKS
        if -(-length // self.tokens_per_block) > usable:
            raise ContextLengthError(
                f"a prompt of {length} tokens does not fit the KV cache of {usable * self.tokens_per_block} tokens",
                remedy="shorten the prompt or raise the cache's capacity in blocks",
            )

    def _match(self, keys: Sequence[int], limit: int) -> list[int]:
        hits: list[int] = []
        find, add = self._found.get, hits.append
        for key in keys[:limit]:
            block = find(key)
            if block is None:
                break
            add(block if type(block) is int else next(iter(block)))  # type: ignore[arg-type]
        return hits

    def _compute(self, lease: VllmLease) -> None:
        """Take the blocks that the lease's tokens need, and offer those that are full."""
        size = self.tokens_per_block
        length = lease.length
        count = -(-length // size) - len(lease.blocks)
        refs = self._refs
        if count > 0:
            blocks, released = self._queue.take(count)
            if released:
                self._forget(blocks[count - released :])
            for block in blocks:
                refs[block] = 1
            lease.blocks.extend(blocks)
            self.totals.peak = self._queue.used_blocks
        full = length // size
        if full > lease.stored:
            found, key_of, keys, held = self._found, self._key_of, lease.keys, lease.blocks
            for index in range(lease.stored, full):
                key, block = keys[index], held[index]
                key_of[block] = key
                other = found.setdefault(key, block)
                if other is not block:
                    self._add_copy(key, other, block)
            lease.stored = full

    def _add_copy(self, key: int, other: int | dict[int, None], block: int) -> None:
        if isinstance(other, int):
            if other != block:
                self._found[key] = {other: None, block: None}
        else:
            other[block] = None

    def _forget(self, blocks: Sequence[int]) -> None:
        found, pop_key = self._found, self._key_of.pop
        for block in blocks:
            key = pop_key(block)
            entry = found[key]
            if isinstance(entry, int):
                del found[key]
            else:
                del entry[block]
                if not entry:
                    del found[key]
        self.totals.evicted += len(blocks)
