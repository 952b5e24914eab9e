"""What a cache that never evicts would reuse: the yardstick for a measured hit rate."""

from __future__ import annotations

from collections.abc import Hashable, Sequence


class UnboundedCache:
    """Full blocks by chained hash, kept for ever. A request is counted when it is sent; its blocks are there for the
    next one at once, as if requests ran one after the other."""

    def __init__(self, tokens_per_block: int) -> None:
        self._tokens_per_block = tokens_per_block
        self._blocks: set[Hashable] = set()

    def send(self, blocks: Sequence[Hashable], prompt_tokens: int) -> int:
        """Prompt tokens found in the cache; then the prompt's full blocks are in it.

        At least one token is always computed, since the engine needs its logits: a prompt of whole blocks that is in
        the cache entirely computes its last block again.
        """
        reusable = blocks[: max(prompt_tokens - 1, 0) // self._tokens_per_block]
        hits = 0
        for block in reusable:
            if block not in self._blocks:
                break
            hits += 1
        self._blocks.update(blocks)
        return hits * self._tokens_per_block

    def add(self, blocks: Sequence[Hashable]) -> None:
        """Put blocks of prompt and output into the cache, once the output is there."""
        self._blocks.update(blocks)
