"""TensorRT-LLM's KV cache in full: partial reuse, retention, durations, host memory.

``trtllm.py`` is the part of it that the embedded engine runs on; this profile adds what only TensorRT-LLM has. After
its documentation ("KV Cache System") and ``cpp/tensorrt_llm/batch_manager/kvCacheManager.cpp``, first-generation
manager, one attention window, beam width 1, capacity scheduler GUARANTEED_NO_EVICT.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from charter_compiler.cache.interface import CacheTotals, Lease, Request
from charter_compiler.cache.retention import DEFAULT_PRIORITY, BlockRetention, Retention
from charter_compiler.cache.trtllm_pool import OFFLOAD_MIN_PRIORITY, BlockPool, Key, PoolBlock
from charter_compiler.diagnostics.errors import ContextLengthError


@dataclass(slots=True, eq=False)
class TrtllmLease(Lease):
    """``tokens`` are the prompt and what was generated, empty where a trace gives ``names`` of full blocks instead."""

    root: PoolBlock
    tokens: list[int]
    names: Sequence[int] | None
    retention: Retention
    blocks: list[PoolBlock]
    reserved: int


class TrtllmCache:
    """``capacity_blocks`` in primary (GPU) memory, ``host_blocks`` in secondary (``host_cache_size``).

    ``partial_reuse`` and ``copy_on_partial_reuse`` are ``KvCacheConfig``'s: the first tokens of a block are reused too,
    by taking over an unused leaf, or by a copy where the block is in use or has others behind it.
    ``offload_min_priority`` is ``secondary_offload_min_priority``.
    """

    def __init__(
        self,
        capacity_blocks: int | None,
        tokens_per_block: int,
        *,
        host_blocks: int = 0,
        partial_reuse: bool = True,
        copy_on_partial_reuse: bool = True,
        offload_min_priority: int = OFFLOAD_MIN_PRIORITY,
    ) -> None:
        self.capacity_blocks = capacity_blocks
        self.tokens_per_block = tokens_per_block
        self.partial_reuse = partial_reuse
        self.copy_on_partial_reuse = copy_on_partial_reuse
        self.totals = CacheTotals()
        self.pool = BlockPool(capacity_blocks, host_blocks, offload_min_priority)
        self._roots: dict[str | None, PoolBlock] = {}
        self._reserved = 0

    @property
    def free_blocks(self) -> int:
        """Primary blocks that no running request holds."""
        return self.pool.free

    def start(self, request: Request) -> TrtllmLease | None:
        """See ``EngineProfile.start``."""
        length = len(request.prompt)
        total = self._blocks(length + request.max_tokens)
        self._require_fit(length, request.max_tokens, total)
        self.pool.refresh(request.now_ms)
        root = self._roots.setdefault(request.salt, _root())
        tokens = list(request.prompt) if request.names is None else []
        retention = request.retention or Retention()
        lease = TrtllmLease(0, length, root, tokens, request.names, retention, [], 0)
        keys = self._keys(lease, length - 1)
        path = self._match(root, keys)
        held = sum(block.refs > 0 for block in path)
        if self.capacity_blocks is not None and total - held > self.pool.free - self._reserved:
            return None
        wanted = retention.of_blocks(length, self.tokens_per_block)
        for block, one in zip(path, wanted, strict=False):
            self.pool.claim(block, one.priority, one.duration_ms)
        for block in path:
            if not block.primary:
                self.pool.onboard(block)
        lease.blocks = path
        lease.cached_tokens = len(path) * self.tokens_per_block
        if len(path) < len(keys) and len(path) < len(wanted):
            self._reuse_part(lease, path[-1] if path else root, keys[len(path)], wanted[len(path)])
        for one in wanted[len(lease.blocks) :]:
            priority = DEFAULT_PRIORITY if one.priority is None else one.priority
            lease.blocks.append(self.pool.take(priority, one.duration_ms))
        lease.reserved = total - len(lease.blocks)
        self._reserved += lease.reserved
        self._count()
        return lease

    def prefilled(self, lease: TrtllmLease) -> None:
        """See ``EngineProfile.prefilled``."""
        self._store(lease, lease.length - 1, partial=False)

    def append(self, lease: TrtllmLease, tokens: Sequence[int]) -> bool:
        """See ``EngineProfile.append``; never False up to the request's ``max_tokens``."""
        length = lease.length + len(tokens)
        count = max(0, self._blocks(length) - len(lease.blocks))
        beyond = max(0, count - lease.reserved)
        if self.capacity_blocks is not None and beyond > self.pool.free - self._reserved:
            return False
        for _ in range(count):
            lease.blocks.append(self.pool.take(lease.retention.decode_priority, lease.retention.decode_duration_ms))
        self._reserved -= count - beyond
        lease.reserved -= count - beyond
        lease.length = length
        if lease.names is None:
            lease.tokens.extend(tokens)
        self._store(lease, length, partial=False)
        self._count()
        return True

    def finish(self, lease: TrtllmLease, now_ms: float = 0.0) -> None:
        """See ``EngineProfile.finish``. Its last, partial block is stored too."""
        self._store(lease, lease.length, partial=True)
        self._reserved -= lease.reserved
        for block in reversed(lease.blocks):
            self.pool.release(block, now_ms)
        lease.blocks = []

    def _blocks(self, tokens: int) -> int:
        return -(-tokens // self.tokens_per_block)

    def _require_fit(self, length: int, max_tokens: int, total: int) -> None:
        if self.capacity_blocks is not None and total > self.capacity_blocks:
            raise ContextLengthError(
                f"a prompt of {length} tokens and {max_tokens} output tokens do not fit the KV cache "
                f"of {self.capacity_blocks * self.tokens_per_block} tokens",
                remedy="shorten the prompt, lower max_tokens or raise the cache's capacity in blocks",
            )

    def _keys(self, lease: TrtllmLease, length: int) -> list[Key]:
        """One for each block of the first ``length`` tokens, the last maybe of a partial one."""
        size = self.tokens_per_block
        if lease.names is not None:
            return [(name,) for name in lease.names[: length // size]]
        return [tuple(lease.tokens[start : min(start + size, length)]) for start in range(0, length, size)]

    def _match(self, root: PoolBlock, keys: Sequence[Key]) -> list[PoolBlock]:
        path: list[PoolBlock] = []
        block = root
        for key in keys:
            child = block.children.get(key)
            if child is None or not child.full:
                break
            path.append(child)
            block = child
        return path

    def _reuse_part(self, lease: TrtllmLease, parent: PoolBlock, key: Key, wanted: BlockRetention) -> None:
        """The child that begins most like ``key``: taken over if nobody needs it, else copied."""
        if not self.partial_reuse or lease.names is not None:
            return
        best, length = None, 0
        for child in parent.children.values():
            if self.copy_on_partial_reuse or (not child.refs and not child.children):
                common = _common(child.key, key)
                if common > length:
                    best, length = child, common
        if best is None:
            return
        if best.refs or best.children:
            lease.blocks.append(self.pool.take(best.priority, best.duration_ms))
        else:
            self.pool.claim(best, wanted.priority, wanted.duration_ms)
            if not best.primary:
                self.pool.onboard(best)
            self.pool.detach(best)
            lease.blocks.append(best)
        lease.cached_tokens += length

    def _store(self, lease: TrtllmLease, length: int, *, partial: bool) -> None:
        """Make the blocks of the first ``length`` tokens findable. A block that another request has stored in the
        meantime is held instead of the lease's own, which is given up (TensorRT-LLM keeps it until the request ends).
        """
        block = lease.root
        for index, key in enumerate(self._keys(lease, length)):
            full = lease.names is not None or len(key) == self.tokens_per_block
            if not (full or partial):
                break
            own, child = lease.blocks[index], block.children.get(key)
            if child is None:
                self.pool.attach(own, key, block, full=full)
                child = own
            elif child is not own:
                self.pool.adopt(child, own)
                lease.blocks[index] = child
            block = child

    def _count(self) -> None:
        self.totals.evicted = self.pool.evicted
        self.totals.peak = max(self.totals.peak, self.pool.used)


def _root() -> PoolBlock:
    root = PoolBlock(DEFAULT_PRIORITY, None)
    root.refs = 1
    return root


def _common(a: Key, b: Key) -> int:
    return next((index for index, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
