"""Which KV block size serves given prefixes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

CANDIDATES = (16, 32, 64, 128)
"""Tokens a block; TensorRT-LLM takes powers of two, and these are the sizes that it and its kernels are used with."""
DEFAULT_TOKENS_PER_BLOCK = 32
"""What TensorRT-LLM itself takes when nothing is said."""
KEPT_REUSE = 0.95
"""A larger block is taken while it keeps this share of the reuse that the smallest allows: larger blocks are fewer to
look up, but what fills no whole block is computed again."""


@dataclass(frozen=True, slots=True)
class ConstantPrefix:
    """A constant prefix of ``tokens`` tokens that the prompts of the calls ``nodes`` begin with."""

    tokens: int
    priority: int
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BlockChoice:
    """The size chosen, and by candidate size the tokens of full blocks that one prompt of each call reuses."""

    tokens_per_block: int
    reuse: tuple[tuple[int, int], ...]

    @property
    def reason(self) -> str:
        if not any(tokens for _, tokens in self.reuse):
            return "no constant prefix fills a block of any size, so this is a default"
        figures = ", ".join(f"{size}: {tokens}" for size, tokens in self.reuse)
        return (
            f"tokens reused by one prompt of each call, by block size: {figures}; "
            f"the largest that keeps {KEPT_REUSE:.0%} of the best"
        )


def choose_block_size(prefixes: Iterable[ConstantPrefix], sizes: Sequence[int] = CANDIDATES) -> BlockChoice:
    """The largest candidate that keeps ``KEPT_REUSE`` of the best reuse; the default where there is nothing to reuse.

    A call that begins with several of the prefixes, one inside the other, counts with the longest.
    """
    longest: dict[str, int] = {}
    for prefix in prefixes:
        for node in prefix.nodes:
            longest[node] = max(longest.get(node, 0), prefix.tokens)
    reuse = tuple((size, sum(tokens // size * size for tokens in longest.values())) for size in sizes)
    best = max(tokens for _, tokens in reuse)
    if not best:
        default = DEFAULT_TOKENS_PER_BLOCK if DEFAULT_TOKENS_PER_BLOCK in sizes else min(sizes)
        return BlockChoice(default, reuse)
    return BlockChoice(max(size for size, tokens in reuse if tokens >= KEPT_REUSE * best), reuse)
