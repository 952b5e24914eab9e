"""The requests of a predicted run, and what simulation says of them: the evidence behind computed values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from charter_compiler.analysis.sizing import (
    BLOCK_SIZES,
    BlockSizeChoice,
    CapacityChoice,
    best_block_size,
    count_blocks,
    smallest_capacity,
)
from charter_compiler.cache.simulate import Engine, Setup, simulate
from charter_compiler.cache.trace import trace_of_prompts


@dataclass(frozen=True, slots=True)
class Workload:
    """Prompts as token ids, in the order in which they are sent, and at most how many tokens each answer has.
    ``inputs`` is the number of rows that they were made from."""

    prompts: tuple[tuple[int, ...], ...]
    outputs: tuple[int, ...]
    inputs: int

    @property
    def longest_prompt(self) -> int:
        return max(map(len, self.prompts))

    @property
    def longest_request(self) -> int:
        """Prompt and output together."""
        return max(len(prompt) + output for prompt, output in zip(self.prompts, self.outputs, strict=True))

    def rate(self, engine: Engine, size: int, blocks: int | None, host_blocks: int = 0) -> float | None:
        """Token hit rate of the prompts, one after another; ``None`` if the engine would refuse one."""
        result = simulate(trace_of_prompts(self.prompts, size), Setup(engine, blocks, host_blocks=host_blocks))
        return None if result.rejected else result.hit_rate

    def block_size(
        self, engine: Engine, capacity_tokens: int | None, sizes: Sequence[int] = BLOCK_SIZES
    ) -> BlockSizeChoice | None:
        """The best size in a cache of so many tokens; ``None`` tokens: one that never evicts."""
        unbounded = capacity_tokens is None
        return best_block_size(
            lambda size, blocks: self.rate(engine, size, None if unbounded else blocks),
            sum(map(len, self.prompts)) + max(sizes) if capacity_tokens is None else capacity_tokens,
            sizes,
        )

    def host_blocks(self, engine: Engine, size: int, capacity_blocks: int) -> CapacityChoice | None:
        """How much host memory keeps the attainable rate beside so many blocks of GPU memory; ``None`` where the GPU's
        are enough."""
        attainable = self.rate(engine, size, None) or 0.0
        most = count_blocks(self.prompts, size).with_sharing
        if capacity_blocks >= most:
            return None
        choice = smallest_capacity(lambda host: self.rate(engine, size, capacity_blocks, host), attainable, most)
        alone = self.rate(engine, size, capacity_blocks)
        return None if alone is not None and alone >= choice.target_rate else choice
