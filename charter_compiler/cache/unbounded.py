"""The attainable rate: what a cache that never evicts would reuse of the same requests in the same order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from charter_compiler.cache.block_keys import chain, root_key
from charter_compiler.cache.compact_set import CompactSet
from charter_compiler.cache.interface import CacheTotals, Lease, Request


class UnboundedCache:
    """Full blocks of ``tokens_per_block`` tokens, all kept for ever; one request after another.

    Blocks are found by their names (``block_keys.chain``), which take 8 bytes each: a run of a million prompts of 200
    tokens needs about 50 MB.
    """

    def __init__(self, tokens_per_block: int) -> None:
        self.tokens_per_block = tokens_per_block
        self._stored = CompactSet()

    def request(self, prompt: Sequence[int], output: Sequence[int] = ()) -> int:
        """Prompt tokens that are reused; the last one never is. Then prompt and output are stored, but for the last
        output token, whose KV no engine computes."""
        size = self.tokens_per_block
        names = chain((*prompt, *output[:-1]), size, root_key(None))
        known = self._stored.take(names)
        return min(known, (len(prompt) - 1) // size) * size


@dataclass(slots=True, eq=False)
class UnboundedLease(Lease):
    """``names`` of its full blocks, and the tokens behind them."""

    names: list[int]
    tail: list[int]
    root: int


class UnboundedProfile:
    """The same as an engine profile, so that requests may run at once: what is not computed yet is not found."""

    def __init__(self, tokens_per_block: int) -> None:
        self.tokens_per_block = tokens_per_block
        self.totals = CacheTotals()
        self._stored: set[int] = set()

    def start(self, request: Request) -> UnboundedLease:
        """See ``EngineProfile.start``; there is always room."""
        size, length, root = self.tokens_per_block, len(request.prompt), root_key(request.salt)
        names = chain(request.prompt, size, root) if request.names is None else list(request.names)
        limit = (length - 1) // size
        hits = next((index for index, name in enumerate(names[:limit]) if name not in self._stored), None)
        found = min(limit, len(names)) if hits is None else hits
        tail = list(request.prompt[len(names) * size :]) if request.names is None else []
        return UnboundedLease(found * size, length, names, tail, root)

    def prefilled(self, lease: UnboundedLease) -> None:
        """See ``EngineProfile.prefilled``."""
        self._stored.update(lease.names)
        self.totals.peak = len(self._stored)

    def append(self, lease: UnboundedLease, tokens: Sequence[int]) -> bool:
        """See ``EngineProfile.append``; always true."""
        lease.length += len(tokens)
        lease.tail.extend(tokens)
        named = chain(lease.tail, self.tokens_per_block, lease.names[-1] if lease.names else lease.root)
        del lease.tail[: len(named) * self.tokens_per_block]
        lease.names.extend(named)
        return True

    def finish(self, lease: UnboundedLease, now_ms: float = 0.0) -> None:
        """See ``EngineProfile.finish``; everything stays."""
        self.prefilled(lease)
