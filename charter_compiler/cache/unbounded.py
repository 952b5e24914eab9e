"""The attainable rate: what a cache that never evicts would reuse of the same requests in the same order."""

from __future__ import annotations

from collections.abc import Sequence


class UnboundedCache:
    """Full blocks of ``tokens_per_block`` tokens, all kept for ever; one request after another.

    Each block gets a number when it is first seen; it is found by its tokens and the number of the block before it, so
    equality is exact and the cost is one look-up a block.
    """

    def __init__(self, tokens_per_block: int) -> None:
        self.tokens_per_block = tokens_per_block
        self._numbers: dict[tuple[int, tuple[int, ...]], int] = {}

    def request(self, prompt: Sequence[int], output: Sequence[int] = ()) -> int:
        """Prompt tokens that are reused; the last one never is. Then prompt and output are stored, but for the last
        output token, whose KV no engine computes."""
        size = self.tokens_per_block
        tokens = (*prompt, *output[:-1])
        block, reused, matching = 0, 0, True
        for start in range(0, len(tokens) - size + 1, size):
            key = (block, tuple(tokens[start : start + size]))
            known = self._numbers.get(key)
            if known is None:
                matching = False
                known = self._numbers[key] = len(self._numbers) + 1
            elif matching and start + size < len(prompt):
                reused += size
            block = known
        return reused
