"""What hints are worth: a run's requests through TensorRT-LLM's cache model, which honours them, with and without."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from charter_compiler.cache.interface import Request
from charter_compiler.cache.trtllm_profile import TrtllmCache, TrtllmLease
from charter_compiler.config.hints.retention import retention_of
from charter_compiler.diagnostics.errors import ContextLengthError
from charter_compiler.plan.hint_ranges import PromptHints
from charter_compiler.plan.hints import HintAction


@dataclass(frozen=True, slots=True)
class HintedRequest:
    """A prompt, its answer, and what the compiler said of it; ``hints`` is ``None`` for a call that no plan knows.
    ``item``: whose call it is."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    hints: PromptHints | None
    item: int = 0


@dataclass(frozen=True, slots=True)
class HitCount:
    """Over all requests. ``refused`` do not fit the cache even alone, and are not counted."""

    prompt_tokens: int
    hit_tokens: int
    refused: int

    @property
    def hit_rate(self) -> float:
        return self.hit_tokens / self.prompt_tokens if self.prompt_tokens else 0.0


def count_hits(
    requests: Sequence[HintedRequest],
    tokens_per_block: int,
    capacity_blocks: int,
    actions: Collection[HintAction] = tuple(HintAction),
    *,
    concurrency: int = 1,
    partial_reuse: bool = True,
) -> HitCount:
    """Replay the requests in their order on a cache that honours ``actions``; with none of them it is the engine's own
    least-recently-used order. ``concurrency`` requests are open at once; the oldest ends when the next starts."""
    cache = TrtllmCache(capacity_blocks, tokens_per_block, partial_reuse=partial_reuse)
    open_: deque[tuple[TrtllmLease, HintedRequest]] = deque()
    prompt = hits = refused = 0

    def end_oldest() -> None:
        lease, request = open_.popleft()
        cache.prefilled(lease)
        cache.append(lease, request.answer[:-1])
        cache.finish(lease)

    for one in requests:
        if len(open_) == concurrency:
            end_oldest()
        wanted = None if one.hints is None else retention_of(one.hints, tokens_per_block, actions=actions)
        request = Request(one.prompt, max_tokens=max(1, len(one.answer)), retention=wanted)
        try:
            while (lease := cache.start(request)) is None:
                end_oldest()
        except ContextLengthError:
            refused += 1
            continue
        cache.prefilled(lease)
        open_.append((lease, one))
        prompt += len(one.prompt)
        hits += lease.cached_tokens
    return HitCount(prompt, hits, refused)


def worth_of(
    requests: Sequence[HintedRequest],
    tokens_per_block: int,
    capacity_blocks: int,
    actions: Collection[HintAction],
    *,
    concurrency: int = 1,
) -> dict[HintAction, int]:
    """For each action the prompt tokens that are taken from the cache because the target honours it too, besides all
    others. Below zero: the others alone do better. What is never asked for is worth nothing."""
    asked = {part.action for one in requests if one.hints is not None for part in one.hints.ranges}
    everything = count_hits(requests, tokens_per_block, capacity_blocks, concurrency=concurrency).hit_tokens
    worth = {}
    for action in actions:
        others = [one for one in HintAction if one is not action]
        worth[action] = 0
        if action in asked:
            without = count_hits(requests, tokens_per_block, capacity_blocks, others, concurrency=concurrency)
            worth[action] = everything - without.hit_tokens
    return worth
