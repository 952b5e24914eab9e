"""Retention, salts, partial reuse, events and the reproducible mode, over a runner that computes nothing."""

from __future__ import annotations

import pytest
from engine_harness import Ticks, drain, request, tokens

from charter_compiler.cache.block_keys import chain, root_key
from charter_compiler.cache.events import BlockEvent, EventKind
from charter_compiler.cache.retention import Retention, RetentionRange
from charter_compiler.diagnostics.errors import ConfigError, RequestRejectedError
from charter_compiler.serve.engine.interface import GRID, EngineConfig

SMALL = {
    "tokens_per_block": 4,
    "capacity_blocks": 16,
    "max_context": 64,
    "max_running": 4,
    "max_sequences": 8,
    "prefill_chunk": 8,
}
SECOND = 10**9
WORDS = {i: range(1000 * i, 1000 * i + 50) for i in range(2000)}


def cached(ticks: Ticks, request_id: int, prompt: list[int], **extra: object) -> int:
    """Serve one request alone; its cached tokens."""
    ticks.core.add(request(request_id, prompt, 1, **extra))  # type: ignore[arg-type]
    perf = drain(ticks.core)[request_id][-1].perf
    assert perf is not None
    return perf.num_cached_tokens


def keep(priority: int, duration_ms: float | None = None) -> Retention:
    return Retention((RetentionRange(0, None, priority, duration_ms),), priority, duration_ms)


def flood(ticks: Ticks, first_id: int) -> None:
    """More foreign blocks than the cache has."""
    for i in range(12):
        cached(ticks, first_id + i, [10_000 + 100 * (first_id + i) + n for n in range(13)])


def test_a_prefix_of_priority_100_survives_a_flood_and_one_of_priority_0_does_not() -> None:
    for priority, kept in ((100, 12), (0, 0), (35, 0)):
        ticks = Ticks(WORDS, **SMALL)
        cached(ticks, 1, list(range(13)), retention=keep(priority))
        flood(ticks, 100)
        assert cached(ticks, 2, list(range(13))) == kept, priority


def test_the_end_of_its_duration_ends_that() -> None:
    for seconds, kept in ((9, 12), (11, 0)):
        ticks = Ticks(WORDS, **SMALL)
        cached(ticks, 1, list(range(13)), retention=keep(100, 10_000))
        ticks.now += seconds * SECOND
        flood(ticks, 100)
        assert cached(ticks, 2, list(range(13))) == kept, seconds


def test_generated_blocks_have_the_decode_priority() -> None:
    for priority, kept in ((100, 12), (35, 0)):
        ticks = Ticks(WORDS, **SMALL)
        prompt = list(range(5))
        retention = Retention((RetentionRange(0, None, 100),), priority)
        ticks.core.add(request(1, prompt, 9, retention=retention))
        reply = tokens(drain(ticks.core)[1])
        flood(ticks, 100)
        # The prompt's second block is half generated; the block behind it wholly.
        assert cached(ticks, 2, [*prompt, *reply]) == max(kept, 8), priority


def test_requests_of_different_salts_share_nothing() -> None:
    ticks = Ticks(WORDS, **SMALL)
    prompt = list(range(13))
    found = [cached(ticks, i, prompt, salt=salt) for i, salt in enumerate([None, "a", "b", "a", None, "b"])]
    assert found == [0, 0, 0, 12, 12, 12]


def test_partial_reuse_takes_the_first_tokens_of_a_block() -> None:
    ticks = Ticks(WORDS, **SMALL, enable_partial_reuse=True)
    first = list(range(11))
    assert cached(ticks, 1, first) == 0
    assert cached(ticks, 2, [*first[:6], 99, 98, 97]) == 6
    assert cached(ticks, 3, [*first, 50, 51]) == 11, "the partial last block was kept, and is taken over"
    assert cached(ticks, 4, [*first, 60]) == 11, "it is copied from the full block that it has become"


def test_events_tell_what_can_be_reused_by_the_names_of_block_keys() -> None:
    events: list[BlockEvent] = []
    ticks = Ticks(WORDS, events.append, **SMALL)
    prompt = list(range(13))
    cached(ticks, 1, prompt, salt="a", retention=keep(0))
    names = chain(prompt, 4, root_key("a"))
    assert [(e.kind, e.block) for e in events] == [(EventKind.STORED, name) for name in names]
    assert [e.parent for e in events] == [root_key("a"), *names[:2]]
    assert events[0].tokens == (0, 1, 2, 3)
    flood(ticks, 100)
    gone = [e.block for e in events if e.kind is EventKind.REMOVED]
    assert gone[:3] == names[::-1], "of the lowest priority, and the end first"


def test_a_reproducible_prefill_is_cut_on_the_grid_and_one_request_runs_at_once() -> None:
    sizes = {"capacity_blocks": 64, "max_context": 1000, "prefill_chunk": 300}
    ticks = Ticks({1: range(9), 2: range(9)}, reproducible=True, **sizes)
    prompt = list(range(300))
    for i in (1, 2):
        ticks.core.add(request(i, prompt, 3))
    perf = drain(ticks.core)[2][-1].perf
    assert perf is not None
    assert perf.num_cached_tokens == 2 * GRID
    assert [len(batch) for batch in ticks.batches] == [GRID, GRID, 44, 1, 1, 44, 1, 1]
    assert ticks.core.stats().cached_blocks == 2 * GRID // 32, "no generated block, and none beside the grid"


def test_a_reproducible_engine_refuses_what_it_cannot_do() -> None:
    with pytest.raises(ConfigError, match="prefill_chunk is 64"):
        EngineConfig(reproducible=True, prefill_chunk=64)
    with pytest.raises(RequestRejectedError, match="draft"):
        Ticks(WORDS, reproducible=True).core.add(request(1, [1, 2], 4, drafts=[3]))
