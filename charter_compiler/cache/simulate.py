"""A trace through a cache: what would have been found, at one capacity or at all."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from charter_compiler.cache.belady import BeladyCache
from charter_compiler.cache.interface import CacheTotals, EngineProfile, Request
from charter_compiler.cache.llamacpp import LlamaCppCache
from charter_compiler.cache.policy_cache import Policy, PolicyCache
from charter_compiler.cache.retention import DEFAULT_PRIORITY, Retention, RetentionRange
from charter_compiler.cache.sglang import SglangCache
from charter_compiler.cache.stack_distance import LruCurve, lru_curve
from charter_compiler.cache.trace import Trace
from charter_compiler.cache.trtllm_profile import TrtllmCache
from charter_compiler.cache.vllm import VllmCache
from charter_compiler.diagnostics.errors import ContextLengthError


class Engine(StrEnum):
    """Whose rules hold."""

    TRTLLM = "trtllm"
    VLLM = "vllm"
    SGLANG = "sglang"
    LLAMACPP = "llamacpp"
    UNBOUNDED = "unbounded"


PROFILES: dict[Engine, Callable[[int, int, int], EngineProfile[Any]]] = {
    Engine.TRTLLM: lambda capacity, size, host: TrtllmCache(capacity, size, host_blocks=host),
    Engine.VLLM: lambda capacity, size, _: VllmCache(capacity, size),
    Engine.SGLANG: lambda capacity, size, _: SglangCache(capacity, size),
    Engine.LLAMACPP: lambda capacity, size, host: LlamaCppCache(capacity, size, ram_blocks=host),
}
"""Each is made with a capacity in blocks, a block size in tokens, and blocks of host memory."""

WITH_HOST_MEMORY = (Engine.TRTLLM, Engine.LLAMACPP)


UNLIMITED = 1 << 62
"""A capacity in blocks that no trace fills."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What is simulated. ``capacity_blocks`` None is unbounded; ``policy`` None leaves eviction to the engine.
    ``concurrency`` requests run at once: the next starts when the oldest ends. ``warmup`` requests at the start are not
    counted. ``host_blocks`` is a second memory for what is evicted, which only ``WITH_HOST_MEMORY`` use."""

    engine: Engine
    capacity_blocks: int | None
    policy: Policy | None = None
    warmup: int = 0
    concurrency: int = 1
    host_blocks: int = 0


@dataclass(frozen=True, slots=True)
class SimulationResult:
    """Counted after the warm-up, but ``peak_blocks``, the most blocks occupied at once, over everything. ``rejected``
    requests do not fit the cache even alone: the engine refuses them, and they count no hits."""

    requests: int
    prompt_tokens: int
    hit_tokens: int
    evicted_blocks: int
    peak_blocks: int
    rejected: int = 0

    @property
    def hit_rate(self) -> float:
        return self.hit_tokens / self.prompt_tokens if self.prompt_tokens else 0.0

    def to_json(self) -> dict[str, int | float]:
        """The design's object."""
        return {
            "requests": self.requests,
            "prompt_tokens": self.prompt_tokens,
            "hit_tokens": self.hit_tokens,
            "hit_rate": self.hit_rate,
            "evicted_blocks": self.evicted_blocks,
            "peak_blocks": self.peak_blocks,
        }


def simulate(trace: Trace, setup: Setup) -> SimulationResult:
    """Replay the trace at one capacity."""
    capacity, policy = setup.capacity_blocks, setup.policy
    if capacity is None or (setup.engine is Engine.UNBOUNDED and policy is None):
        capacity, policy = UNLIMITED, policy or Policy.LRU
    if policy is None:
        return _replay_engine(trace, setup, PROFILES[setup.engine](capacity, trace.block_size, setup.host_blocks))
    if policy is Policy.LRU and setup.concurrency == 1:
        return at_capacity(policy_curve(trace, setup), capacity)
    trace = _blocks_of(trace, setup.engine)
    if policy is Policy.BELADY and setup.concurrency == 1:
        return _replay_belady(trace, setup, BeladyCache(capacity, trace.distinct_blocks))
    return _replay_policy(trace, setup, PolicyCache(capacity, policy, trace.distinct_blocks))


def sweep(trace: Trace, setup: Setup, capacities: Sequence[int]) -> list[SimulationResult]:
    """The same at several capacities; with the policy ``lru``, one request after another, all in one pass."""
    if setup.policy is Policy.LRU and setup.concurrency == 1:
        curve = policy_curve(trace, setup)
        return [at_capacity(curve, capacity) for capacity in capacities]
    return [simulate(trace, replace(setup, capacity_blocks=capacity)) for capacity in capacities]


def policy_curve(trace: Trace, setup: Setup) -> LruCurve:
    """Least recently used at every capacity, counted as the engine counts."""
    whole = setup.engine is Engine.UNBOUNDED
    return lru_curve(_blocks_of(trace, setup.engine), setup.warmup, last_token_computed=not whole)


def at_capacity(curve: LruCurve, capacity: int) -> SimulationResult:
    """One point of the curve."""
    index = curve.at(capacity)
    return SimulationResult(
        curve.requests,
        curve.prompt_tokens,
        int(curve.hit_tokens[index]),
        int(curve.evicted[index]),
        int(curve.peak[index]),
    )


def _blocks_of(trace: Trace, engine: Engine) -> Trace:
    """``unbounded`` finds a partial last block too, as traces name it; for engines it only takes room."""
    return trace if engine is Engine.UNBOUNDED else trace.partial_apart()


def _found_tokens(trace: Trace, engine: Engine, blocks: int, length: int) -> int:
    """What so many cached blocks at the start of a prompt are worth."""
    if engine is Engine.UNBOUNDED:
        return min(blocks * trace.block_size, length)
    return min(blocks, max(0, length - 1) // trace.block_size) * trace.block_size


@dataclass(slots=True)
class _Count:
    """Sums over the requests after the warm-up."""

    warmup: int
    totals: CacheTotals
    hit_tokens: int = 0
    evicted_before: int = 0
    rejected: int = 0

    def request(self, index: int, hit_tokens: int) -> None:
        if index >= self.warmup:
            self.hit_tokens += hit_tokens

    def begin(self, index: int) -> None:
        if index == self.warmup:
            self.evicted_before = self.totals.evicted

    def result(self, trace: Trace) -> SimulationResult:
        return SimulationResult(
            max(0, trace.requests - self.warmup),
            int(trace.lengths[self.warmup :].sum()),
            self.hit_tokens,
            self.totals.evicted - self.evicted_before if self.warmup < trace.requests else 0,
            self.totals.peak,
            self.rejected,
        )


def _replay_belady(trace: Trace, setup: Setup, cache: BeladyCache) -> SimulationResult:
    count = _Count(setup.warmup, cache.totals)
    nodes, offsets, lengths = trace.nodes.tolist(), trace.offsets.tolist(), trace.lengths.tolist()
    next_uses = trace.next_uses(full_only=setup.engine is not Engine.UNBOUNDED).tolist()
    for index in range(trace.requests):
        count.begin(index)
        start, stop = offsets[index], offsets[index + 1]
        hits = cache.request(nodes[start:stop], next_uses[start:stop])
        count.request(index, _found_tokens(trace, setup.engine, hits, lengths[index]))
    return count.result(trace)


def _replay_policy(trace: Trace, setup: Setup, cache: PolicyCache) -> SimulationResult:
    count = _Count(setup.warmup, cache.totals)
    nodes, offsets, lengths = trace.nodes.tolist(), trace.offsets.tolist(), trace.lengths.tolist()
    full_only = setup.engine is not Engine.UNBOUNDED
    next_uses = trace.next_uses(full_only=full_only).tolist() if cache.policy is Policy.BELADY else None
    priorities = trace.priorities.tolist()
    running: deque[Any] = deque()
    for index, wave in _arrivals(trace, setup.concurrency):
        count.begin(index)
        start, stop = offsets[index], offsets[index + 1]
        if wave:
            for lease in running:
                cache.prefilled(lease)
        if len(running) == setup.concurrency:
            cache.finish(running.popleft())
        uses = next_uses[start:stop] if next_uses is not None else ()
        while (lease := cache.start(nodes[start:stop], priorities[index], uses)) is None:
            cache.finish(running.popleft())
        running.append(lease)
        count.request(index, _found_tokens(trace, setup.engine, lease.hits, lengths[index]))
    return count.result(trace)


def _replay_engine(trace: Trace, setup: Setup, profile: EngineProfile[Any]) -> SimulationResult:
    count = _Count(setup.warmup, profile.totals)
    nodes, offsets, lengths = trace.nodes.tolist(), trace.offsets.tolist(), trace.lengths.tolist()
    fulls, priorities, times = trace.full_blocks().tolist(), trace.priorities.tolist(), trace.timestamps.tolist()
    retentions: dict[int, Retention | None] = {DEFAULT_PRIORITY: None}
    running: deque[Any] = deque()
    for index, wave in _arrivals(trace, setup.concurrency):
        count.begin(index)
        length, now = lengths[index], times[index]
        if wave:
            for lease in running:
                profile.prefilled(lease)
        if len(running) == setup.concurrency:
            profile.finish(running.popleft(), now)
        if not length:
            continue
        start = offsets[index]
        priority = priorities[index]
        if priority not in retentions:
            retentions[priority] = Retention((RetentionRange(0, None, priority),))
        request = Request(
            range(length), retention=retentions[priority], now_ms=now, names=nodes[start : start + fulls[index]]
        )
        try:
            while (lease := profile.start(request)) is None:
                profile.finish(running.popleft(), now)
        except ContextLengthError:
            count.rejected += 1
            continue
        running.append(lease)
        count.request(index, lease.cached_tokens)
    return count.result(trace)


def _arrivals(trace: Trace, concurrency: int) -> Iterator[tuple[int, bool]]:
    """Each request, and whether those before it have been prefilled by then: they have unless they came at the same
    time, which only matters where several run at once."""
    times = trace.timestamps.tolist()
    for index in range(trace.requests):
        yield index, concurrency > 1 and index > 0 and times[index] != times[index - 1]
