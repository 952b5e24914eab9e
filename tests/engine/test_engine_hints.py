"""KV hint envelopes at the engine: what each action does, and what is said of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from engine_harness import Ticks, drain, request

from charter_compiler.config.hints.received import ReceivedAction, read_envelope
from charter_compiler.diagnostics.errors import RequestRejectedError
from charter_compiler.serve.engine.hints import MAX_LEASE_MS, HintOutcome, Outcome

SMALL = {
    "tokens_per_block": 4,
    "capacity_blocks": 16,
    "max_context": 64,
    "max_running": 4,
    "max_sequences": 8,
    "prefill_chunk": 8,
}
WORDS = {i: range(1000 * i, 1000 * i + 50) for i in range(2000)}
PROMPT = list(range(13))
SECOND = 10**9


def action(kind: str, target: dict[str, Any] | None = None, version: str = "1.0", **payload: Any) -> dict[str, Any]:
    target = {"token_range": [0, 13]} if target is None else target
    payload["target"] = {"session_id": "item-1", **target}
    return {"action_id": kind, "action_type": f"charter.{kind}", "action_version": version, "payload": payload}


def received(*actions: dict[str, Any], protocol: str = "0.1") -> tuple[ReceivedAction, ...]:
    text = json.dumps({"protocol_version": protocol, "message_id": "m", "actions": actions})
    return read_envelope(text).actions


def serve(ticks: Ticks, request_id: int, prompt: list[int], *actions: dict[str, Any], **extra: Any) -> Any:
    """Cached tokens and what became of the hints."""
    ticks.core.add(request(request_id, prompt, 1, hints=received(*actions), **extra))
    last = drain(ticks.core)[request_id][-1]
    assert last.perf is not None
    return last.perf.num_cached_tokens, {one.action_id: one for one in last.hints}


def flood(ticks: Ticks, first_id: int) -> None:
    for i in range(12):
        serve(ticks, first_id + i, [10_000 + 100 * (first_id + i) + n for n in range(13)])


@pytest.mark.parametrize(
    ("hint", "outcome", "kept"),
    [
        (action("retain", priority=90), Outcome.ACCEPTED, 12),
        (action("retain", priority=90, duration_ms=500), Outcome.ACCEPTED, 0),
        (action("retain", priority=120), Outcome.CLIPPED, 12),
        (action("retain", {"token_range": [0, 8]}, priority=90), Outcome.ACCEPTED, 8),
        (action("retain", {"token_range": [0, 90]}, priority=90), Outcome.CLIPPED, 12),
        (action("pin", lease_ms=60_000), Outcome.ACCEPTED, 12),
        (action("pin", lease_ms=500), Outcome.ACCEPTED, 0),
        (action("pin", {"token_range": [4, 8]}, lease_ms=2 * MAX_LEASE_MS), Outcome.CLIPPED, 8),
        (action("demote", priority=80), Outcome.CLIPPED, 0),
        (action("release"), Outcome.ACCEPTED, 0),
        (action("retain"), Outcome.REJECTED, 0),
        (action("pin", lease_ms="long"), Outcome.REJECTED, 0),
        (action("retain", {"token_range": [3, 1]}, priority=90), Outcome.REJECTED, 0),
        (action("retain", {"token_range": [0, 3]}, priority=90), Outcome.REJECTED, 0),
        (action("retain", version="2.0", priority=90), Outcome.IGNORED, 0),
        (action("fetch"), Outcome.IGNORED, 0),
        (action("expect", output_tokens=3), Outcome.IGNORED, 0),
    ],
)
def test_an_action_decides_what_outlives_a_flood_and_is_reported(
    hint: dict[str, Any], outcome: Outcome, kept: int
) -> None:
    ticks = Ticks(WORDS, **SMALL)
    _, said = serve(ticks, 1, PROMPT, hint)
    report: HintOutcome = said[hint["action_id"]]
    assert report.outcome is outcome, report.detail
    assert report.action_type == hint["action_type"]
    ticks.now += SECOND
    flood(ticks, 100)
    assert serve(ticks, 2, PROMPT)[0] == kept


def test_what_is_released_goes_before_what_was_never_used() -> None:
    ticks = Ticks(WORDS, **SMALL)
    serve(ticks, 1, PROMPT, action("release"))
    serve(ticks, 2, list(range(100, 113)))
    assert serve(ticks, 3, PROMPT)[0] < 12


def test_leases_are_bounded_renewed_and_give_way_to_a_request_that_needs_the_room() -> None:
    ticks = Ticks(WORDS, **SMALL)
    long = list(range(30))
    _, said = serve(ticks, 1, long, action("pin", {"token_range": [0, 30]}, lease_ms=1000))
    assert said["pin"].outcome is Outcome.ACCEPTED
    assert ticks.core.stats().pinned_blocks == ticks.core.stats().used_blocks == 7
    _, said = serve(ticks, 2, [*range(200, 213)], action("pin", lease_ms=1000))
    assert said["pin"].outcome is Outcome.CLIPPED, "half of the blocks may be pinned"
    assert ticks.core.stats().pinned_blocks == 8
    _, said = serve(ticks, 3, [*range(300, 313)], action("pin", lease_ms=1000))
    assert said["pin"].outcome is Outcome.REJECTED
    _, said = serve(ticks, 4, long, action("pin", {"token_range": [0, 30]}, lease_ms=5000))
    assert "renewed" in said["pin"].detail
    ticks.now += 2 * SECOND
    serve(ticks, 5, [1])
    assert ticks.core.stats().pinned_blocks == 7, "the other lease is over"
    cached, _ = serve(ticks, 6, [*range(500, 561)])
    assert cached == 0
    assert ticks.core.stats().pinned_blocks == 0
    ticks.core.clear()
    assert ticks.core.stats().cached_blocks == 0


def test_releasing_ends_a_lease() -> None:
    ticks = Ticks(WORDS, **SMALL)
    serve(ticks, 1, PROMPT, action("pin", lease_ms=60_000))
    serve(ticks, 2, PROMPT, action("release"))
    assert ticks.core.stats().pinned_blocks == 0


def test_a_prefetch_computes_a_prefix_that_is_known_by_name() -> None:
    ticks = Ticks(WORDS, **SMALL)
    named = action("retain", {"token_range": [0, 8], "prefix_id": "77"}, priority=35)
    serve(ticks, 1, PROMPT, named)
    flood(ticks, 100)
    wanted = action("prefetch", {"prefix_id": "77"})
    _, said = serve(ticks, 2, [7, 7], wanted)
    assert said["prefetch"].outcome is Outcome.ACCEPTED
    before = ticks.core.stats()
    assert serve(ticks, 3, PROMPT)[0] == 8
    assert before.prompt_tokens - before.decoded_tokens == before.cached_tokens, "it is counted as any other"
    _, said = serve(ticks, 4, [7, 8], wanted)
    assert said["prefetch"].detail == "it is there"
    _, said = serve(ticks, 5, [7, 9], action("prefetch", {"prefix_id": "78"}))
    assert said["prefetch"].outcome is Outcome.REJECTED
    _, said = serve(ticks, 6, [7, 9], wanted, salt="b")
    assert said["prefetch"].outcome is Outcome.REJECTED, "a name is known to those with the same salt alone"
    _, said = serve(ticks, 7, [7, 9], action("prefetch", {"token_ids": list(range(600, 608))}))
    assert said["prefetch"].outcome is Outcome.ACCEPTED
    assert serve(ticks, 8, [*range(600, 608), 1])[0] == 8


@pytest.mark.parametrize(
    ("token_ids", "detail"),
    [([1] * 8, "it holds no"), ([100] * 8, "token 100 is not in the vocabulary of 100"), ([1] * 64, "do not fit")],
)
def test_a_prefetch_that_the_model_cannot_compute_is_rejected(token_ids: list[int], detail: str) -> None:
    """It would fail the requests that are computed beside it."""
    sizes = {**SMALL, "capacity_blocks": 32}
    if "holds no" in detail:
        sizes["enable_block_reuse"] = False
    ticks = Ticks(WORDS, vocab_size=100, **sizes)
    _, said = serve(ticks, 1, [1, 2], action("prefetch", {"token_ids": token_ids}))
    assert said["prefetch"].outcome is Outcome.REJECTED
    assert detail in said["prefetch"].detail
    assert ticks.core.stats().requests == 1


def test_a_prefetch_that_has_begun_stands_aside_for_a_request_and_gives_way_to_its_blocks() -> None:
    sizes = {**SMALL, "capacity_blocks": 100, "max_context": 400}
    for needed, kept in ((3, 300), (300, 0)):
        ticks = Ticks(WORDS, **sizes)
        wanted = received(action("prefetch", {"token_ids": list(range(600, 900))}))
        ticks.core.add(request(1, [1], 1, hints=wanted))
        for _ in range(3):
            ticks.core.step()
        assert ticks.core.stats().running == 0
        ticks.core.add(request(2, list(range(needed)), 1))
        before = len(ticks.batches)
        outputs: list[Any] = []
        while not outputs:
            outputs = ticks.core.step()
        assert outputs[0].request_id == 2
        assert len(ticks.batches) - before == -(-needed // 8), "not a step more than alone"
        drain(ticks.core)
        assert serve(ticks, 3, [*range(600, 900), 1])[0] == kept


def test_a_reproducible_engine_prefetches_what_it_can_reuse() -> None:
    sizes = {"capacity_blocks": 64, "max_context": 1000}
    ticks = Ticks(WORDS, reproducible=True, **sizes)
    wanted = action("prefetch", {"token_ids": list(range(600, 900))})
    _, said = serve(ticks, 1, [1, 2], wanted)
    assert said["prefetch"].detail.startswith("8 blocks"), "of 128 tokens and 128 more"
    assert serve(ticks, 2, [*range(600, 900)])[0] == 256
    _, said = serve(ticks, 3, [1, 3], wanted)
    assert said["prefetch"].detail == "it is there"


def test_a_prefetch_waits_for_requests_that_wait() -> None:
    ticks = Ticks(WORDS, **SMALL)
    wanted = received(action("prefetch", {"token_ids": list(range(600, 608))}))
    for i in range(1, 7):
        ticks.core.add(request(i, [*range(600, 608), i], 2, hints=wanted if i == 1 else ()))
    outputs = drain(ticks.core)
    assert set(outputs) == set(range(1, 7)), "nobody hears of it"
    assert ticks.core.stats().requests == 6, "what it would have computed was there by then"


def test_another_protocol_is_ignored_and_what_is_no_envelope_refused() -> None:
    (one,) = received(action("retain", priority=1), protocol="9")
    assert (one.action, one.note) == (None, "protocol version 9 is not 0.1")
    for text, message in (("{", "is not JSON"), ("[]", "no list of actions"), ('{"actions": [1]}', "no list")):
        with pytest.raises(RequestRejectedError, match=message):
            read_envelope(text)
