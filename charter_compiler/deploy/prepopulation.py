"""A prefix that is warmed before it is used, beside one that is not."""

from __future__ import annotations

from dataclasses import dataclass

from charter_compiler.deploy.connect import Server
from charter_compiler.deploy.results import Figure
from charter_compiler.deploy.reuse import block_rate, reused
from charter_compiler.deploy.settings import PrepopulationCase
from charter_compiler.deploy.workload import prose
from charter_compiler.executor.metrics import Percentiles
from charter_compiler.executor.types import GenerationResult

HALF = 0.5


@dataclass(frozen=True, slots=True)
class Prepopulated:
    """``prefix_tokens`` as the server counted them while it warmed. ``cold_reused`` and what is reused by ``warm`` are
    tokens, or blocks where the server reports these alone. Times to first token in seconds; ``None`` where the server
    reports none."""

    cache_id: int
    prefix_tokens: int | None
    cold_reused: int | None
    cold_ttft: float | None
    warm: tuple[GenerationResult, ...]

    @property
    def hits(self) -> int:
        """Warm calls that found at least half of their prefix; where blocks alone are reported, half of the prompt's.
        Something is no measure: an engine that reuses parts of blocks finds a common first token in any call."""
        return sum(self._found(result) for result in self.warm)

    def _found(self, result: GenerationResult) -> bool:
        if self.by_blocks:
            return (block_rate([result.details]) or 0.0) >= HALF
        return (result.cached_tokens or 0) >= HALF * (self.prefix_tokens or 0) > 0

    def found_when_cold(self, tokens_per_block: int | None) -> int | None:
        """How much of the cold call was reused beyond what one block that is reused in part may hold, since texts may
        begin with the same token (llmapi's ``enable_partial_reuse``): 0 if it was cold; ``None``: not reported."""
        if self.cold_reused is None:
            return None
        part = 1 if self.by_blocks else (tokens_per_block or 1) - 1
        return max(0, self.cold_reused - part)

    @property
    def by_blocks(self) -> bool:
        """Whether the server counts no prompt tokens, so that the rate is one of blocks."""
        return self.prefix_tokens is None

    @property
    def hit_rate(self) -> float | None:
        """The fewest cached tokens of a warm call over the prefix's tokens; or the block hit rate of all warm calls."""
        if self.by_blocks:
            return block_rate(result.details for result in self.warm)
        counts = [result.cached_tokens for result in self.warm]
        if None in counts or not self.prefix_tokens:
            return None
        return min(count for count in counts if count is not None) / self.prefix_tokens

    @property
    def warm_ttft_p95(self) -> float | None:
        return Percentiles.of([result.ttft for result in self.warm if result.ttft is not None]).p95

    @property
    def speedup(self) -> float | None:
        """Cold time to first token over the median warm one."""
        warm = Percentiles.of([result.ttft for result in self.warm if result.ttft is not None]).p50
        return None if self.cold_ttft is None or not warm else self.cold_ttft / warm

    def figures(self) -> dict[str, Figure]:
        """Everything, for the report."""
        return {
            "cache_id": self.cache_id,
            "prefix_tokens": self.prefix_tokens,
            "unit": "blocks" if self.by_blocks else "tokens",
            "cold_reused": self.cold_reused,
            "warm_reused": min((reused(result) or 0 for result in self.warm), default=0),
            "hit_rate": self.hit_rate,
            "cold_ttft_s": self.cold_ttft,
            "warm_ttft_p95_s": self.warm_ttft_p95,
            "ttft_speedup": self.speedup,
        }


def prepopulate(server: Server, case: PrepopulationCase) -> Prepopulated:
    """Call once with a cold prefix; warm another of the same length; call with that.

    Raises:
        TargetError: a call failed.
    """
    cold, warm = prose(case.prefix_words, own=True), prose(case.prefix_words, own=True)
    with server.client() as client:
        before = client.infer_with_cache(f"{cold}\nQuestion 0:", max_tokens=case.max_tokens)
        ((cache_id, warmed),) = client.prepopulate_cache([warm]).items()
        results = tuple(
            client.infer_with_cache(f"{warm}\nQuestion {number}:", cache_id=cache_id, max_tokens=case.max_tokens)
            for number in range(case.calls)
        )
    return Prepopulated(cache_id, warmed.tokens, reused(before), before.ttft, results)
