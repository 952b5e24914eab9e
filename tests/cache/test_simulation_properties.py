"""What must hold of every simulation, on random small traces whose prompts share beginnings."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from charter_compiler.cache.belady import BeladyCache
from charter_compiler.cache.interface import Request
from charter_compiler.cache.policy_cache import Policy, PolicyCache
from charter_compiler.cache.sglang import SglangCache
from charter_compiler.cache.simulate import UNLIMITED, Engine, Setup, SimulationResult, simulate, sweep
from charter_compiler.cache.stack_distance import lru_curve
from charter_compiler.cache.trace import Trace, parse_trace, trace_of_prompts
from charter_compiler.cache.trtllm_profile import TrtllmCache
from charter_compiler.cache.unbounded import UnboundedCache, UnboundedProfile
from charter_compiler.cache.vllm import VllmCache

SIZE = 4
paths = st.lists(st.integers(0, 2), min_size=0, max_size=7)
requests = st.lists(st.tuples(paths, st.integers(0, SIZE - 1)), min_size=1, max_size=30)
capacities = st.integers(1, 40)
BLOCK_ENGINES = [Engine.VLLM, Engine.TRTLLM, Engine.SGLANG]


def lines(rows: list[tuple[list[int], int]], names: list[int] | None = None) -> list[str]:
    """Ids are those of the path, so that the same id at another place is another block; some have a partial last."""
    result = []
    for time, (path, part) in enumerate(rows):
        ids = [id_ if names is None else names[id_] for id_ in path] + ([99] if part else [])
        result.append(
            json.dumps(
                {"timestamp": time // 3, "input_length": len(path) * SIZE + part, "output_length": 1, "hash_ids": ids}
            )
        )
    return result


def trace(rows: list[tuple[list[int], int]], names: list[int] | None = None) -> Trace:
    return parse_trace(lines(rows, names), SIZE)


def run(
    rows: list[tuple[list[int], int]], engine: Engine, capacity: int, policy: Policy | None, **more: Any
) -> SimulationResult:
    return simulate(trace(rows), Setup(engine, capacity, policy, **more))


def reference(rows: list[tuple[list[int], int]], capacity: int, warmup: int) -> tuple[int, int, int]:
    """LRU by the definition: a list, most recent first; (hit tokens, evicted, peak)."""
    stack: list[tuple[int, ...]] = []
    hit_tokens = evicted = peak = 0
    for index, (path, part) in enumerate(rows):
        ids = path + ([99] if part else [])
        nodes = [tuple(ids[: depth + 1]) for depth in range(len(ids))][:capacity]
        hits = 0
        while hits < len(nodes) and nodes[hits] in stack:
            hits += 1
        if index >= warmup:
            hit_tokens += min(hits * SIZE, len(path) * SIZE + part)
        stack = nodes + [node for node in stack if node not in nodes]
        peak = max(peak, min(len(stack), capacity))
        if index >= warmup:
            evicted += max(0, len(stack) - capacity)
        del stack[capacity:]
    return hit_tokens, evicted, peak


@given(requests, capacities, st.integers(0, 31))
def test_stack_distances_say_what_an_lru_cache_does(
    rows: list[tuple[list[int], int]], capacity: int, warmup: int
) -> None:
    result = run(rows, Engine.UNBOUNDED, capacity, Policy.LRU, warmup=warmup)
    assert (result.hit_tokens, result.evicted_blocks, result.peak_blocks) == reference(rows, capacity, warmup)


@given(requests, capacities, st.sampled_from(Engine))
def test_the_curve_and_the_cache_agree(rows: list[tuple[list[int], int]], capacity: int, engine: Engine) -> None:
    """The same by replay: one pass for all capacities, and a cache of one capacity."""
    made = trace(rows) if engine is Engine.UNBOUNDED else trace(rows).partial_apart()
    cache = PolicyCache(capacity, Policy.LRU, made.distinct_blocks)
    hits = 0
    for request in range(made.requests):
        path = made.nodes[made.offsets[request] : made.offsets[request + 1]].tolist()
        lease = cache.start(path)
        assert lease is not None
        cache.finish(lease)
        length = int(made.lengths[request])
        whole = min(lease.hits * SIZE, length)
        hits += whole if engine is Engine.UNBOUNDED else min(lease.hits, max(0, length - 1) // SIZE) * SIZE
    result = run(rows, engine, capacity, Policy.LRU)
    assert (result.hit_tokens, result.peak_blocks) == (hits, cache.totals.peak)
    assert result.evicted_blocks == cache.totals.evicted


@given(requests, capacities, st.sampled_from(Engine), st.sampled_from([None, *Policy]), st.sampled_from([1, 3]))
def test_never_above_the_attainable(
    rows: list[tuple[list[int], int]], capacity: int, engine: Engine, policy: Policy | None, concurrency: int
) -> None:
    result = run(rows, engine, capacity, policy, concurrency=concurrency)
    attainable = run(rows, Engine.UNBOUNDED, UNLIMITED, None)
    assert 0 <= result.hit_rate <= attainable.hit_rate <= 1
    assert result.requests == len(rows)
    assert result.peak_blocks <= capacity or engine is Engine.UNBOUNDED


@given(requests, capacities, st.sampled_from([Engine.VLLM, Engine.TRTLLM, Engine.SGLANG, Engine.LLAMACPP]))
def test_belady_is_never_below_lru(rows: list[tuple[list[int], int]], capacity: int, engine: Engine) -> None:
    best = run(rows, engine, capacity, Policy.BELADY)
    assert best.hit_tokens >= run(rows, engine, capacity, Policy.LRU).hit_tokens
    assert best.hit_tokens >= run(rows, engine, capacity, Policy.PRIORITY).hit_tokens


@settings(max_examples=40)
@given(st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=3), min_size=1, max_size=7), st.integers(1, 4))
def test_belady_is_the_optimum(prompts: list[list[int]], capacity: int) -> None:
    """Every way to evict tried out, on traces so small that this ends."""
    made = trace([(path, 1) for path in prompts]).partial_apart()
    request_paths = [
        list(made.nodes[made.offsets[r] : made.offsets[r + 1]].tolist())[:-1] for r in range(made.requests)
    ]
    states: dict[frozenset[int], int] = {frozenset(): 0}
    for path in request_paths:
        following: dict[frozenset[int], int] = {}
        for held, score in states.items():
            hits = next((index for index, node in enumerate(path) if node not in held), len(path))
            pool = sorted(held | set(path))
            for mask in range(1 << len(pool)):
                kept = frozenset(node for bit, node in enumerate(pool) if mask >> bit & 1)
                if len(kept) <= capacity:
                    following[kept] = max(following.get(kept, 0), score + hits)
        states = following
    best = max(states.values())
    result = simulate(made, Setup(Engine.VLLM, capacity, Policy.BELADY))
    assert result.hit_tokens == best * SIZE


@given(requests, st.sampled_from(Engine))
def test_a_larger_lru_cache_never_hits_less(rows: list[tuple[list[int], int]], engine: Engine) -> None:
    results = sweep(trace(rows), Setup(engine, None, Policy.LRU), range(1, 60))
    rates = [result.hit_tokens for result in results]
    assert rates == sorted(rates)


@given(
    requests,
    st.permutations([-(2**63), 1234567, 2**63 - 1]),
    capacities,
    st.sampled_from(Engine),
    st.sampled_from([None, *Policy]),
)
def test_renaming_changes_nothing(
    rows: list[tuple[list[int], int]], names: list[int], capacity: int, engine: Engine, policy: Policy | None
) -> None:
    setup = Setup(engine, capacity, policy)
    assert simulate(trace(rows), setup) == simulate(trace(rows, names), setup)


prompts = st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=20), min_size=1, max_size=25)


@given(prompts, st.sampled_from([VllmCache, SglangCache, lambda _, size: UnboundedProfile(size)]))
def test_without_a_limit_full_blocks_are_all_found(tokens: list[list[int]], make: Callable[[None, int], Any]) -> None:
    """From tokens, not from a trace: what the unbounded cache of full blocks finds."""
    cache, attainable = make(None, SIZE), UnboundedCache(SIZE)
    for prompt in tokens:
        lease = cache.start(Request(prompt))
        assert lease is not None
        cache.prefilled(lease)
        cache.finish(lease)
        assert lease.cached_tokens == attainable.request(prompt)


@given(prompts, st.integers(6, 20), st.integers(0, 8), st.booleans())
def test_trtllm_never_loses_or_doubles_a_block(tokens: list[list[int]], capacity: int, host: int, copy: bool) -> None:
    """Three requests at once, any order of ends: free blocks come back, and nothing found is longer than the prompt."""
    cache = TrtllmCache(capacity, SIZE, host_blocks=host, copy_on_partial_reuse=copy)
    running = []
    for number, prompt in enumerate(tokens):
        while len(running) == 3 or (lease := cache.start(Request(prompt, max_tokens=2))) is None:
            cache.finish(running.pop(number % len(running)))
        assert lease.cached_tokens < len(prompt)
        if number % 2:
            cache.prefilled(lease)
            assert cache.append(lease, [1])
        running.append(lease)
        assert 0 <= cache.free_blocks <= capacity
        assert cache.pool.used <= capacity
    for lease in running:
        cache.finish(lease)
    assert cache.free_blocks == capacity


@given(prompts)
def test_a_trace_of_prompts_is_what_the_tokens_say(tokens: list[list[int]]) -> None:
    made = trace_of_prompts(tokens, SIZE)
    curve = lru_curve(made, last_token_computed=True)
    attainable = UnboundedCache(SIZE)
    assert curve.hit_tokens[-1] == sum(attainable.request(prompt) for prompt in tokens)


@pytest.mark.parametrize("engine", BLOCK_ENGINES)
def test_requests_at_the_same_time_share_only_where_the_engine_shares(engine: Engine) -> None:
    rows = [json.dumps({"timestamp": 5, "input_length": 9, "hash_ids": [1, 2]})] * 2
    result = simulate(parse_trace(rows, SIZE), Setup(engine, 100, concurrency=2))
    assert result.hit_tokens == (8 if engine is Engine.VLLM else 0)
    assert simulate(parse_trace(rows, SIZE), Setup(engine, 100, concurrency=1)).hit_tokens == 8


def test_policies_hold_what_runs_and_share_nothing_cold() -> None:
    cache = PolicyCache(4, Policy.LRU, 10)
    first, second = cache.start([0, 1]), cache.start([0, 1])
    assert first is not None
    assert second is not None
    assert (first.hits, second.hits) == (0, 0)
    assert cache.start([5]) is None, "four blocks are held"
    cache.prefilled(first)
    cache.prefilled(second)
    assert cache.occupied == 2, "the copies are given up"
    third = cache.start([0, 1, 2])
    assert third is not None
    assert third.hits == 2
    for lease in (first, second, third):
        cache.finish(lease)
    assert cache.start([5, 6, 7]) is not None
    assert cache.totals.evicted == 2


def test_priorities_decide_before_age() -> None:
    rows = [
        json.dumps({"timestamp": time, "input_length": 5, "hash_ids": [id_, 100 + time], "priority": priority})
        for time, (id_, priority) in enumerate([(1, 90), (2, 10), (3, 35), (1, 35), (2, 35)])
    ]
    made = parse_trace(rows, SIZE)
    by_priority = simulate(made, Setup(Engine.SGLANG, 3, Policy.PRIORITY))
    assert by_priority.hit_tokens == 4, "the block of priority 90 outlived younger ones"
    assert simulate(made, Setup(Engine.SGLANG, 3, Policy.LRU)).hit_tokens == 0


def test_belady_keeps_nothing_that_is_wanted_later_than_all_else() -> None:
    cache = BeladyCache(1, 2)
    assert [cache.request([0], [2]), cache.request([1], [9]), cache.request([0], [9])] == [0, 0, 1]
    assert cache.totals.evicted == 0


def test_next_uses_of_partial_blocks_lie_beyond_the_end() -> None:
    made = trace([([0, 1], 0), ([0], 2), ([0, 1], 0)])
    assert made.next_uses().tolist() == [1, 2, 2, 3, 3, 3]
    assert np.array_equal(made.partial_apart().next_uses(full_only=True), [1, 2, 2, 3, 3, 3])
