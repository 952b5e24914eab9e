"""Hints in the words of their receivers. What the receivers themselves say is in tests/peer and tests/serve."""

from __future__ import annotations

import json

import pytest
from config_cases import facts, known

from charter_compiler.cache.retention import DEFAULT_PRIORITY, Retention, RetentionRange
from charter_compiler.config.hints.capabilities import HintKind, accepted_types, capabilities, taken_actions
from charter_compiler.config.hints.envelope import ACTION_TYPES, PIN_LEASE_MS, envelope
from charter_compiler.config.hints.openai_fields import dynamo_fields, sglang_fields, trtllm_serve_fields, vllm_fields
from charter_compiler.config.hints.received import read_envelope
from charter_compiler.config.hints.retention import LEASE, retention_config, retention_of, retention_tensors
from charter_compiler.config.hints.worth import HintedRequest, count_hits, worth_of
from charter_compiler.config.hosted import anthropic_breakpoints, gemini_cache, openai_fields
from charter_compiler.config.settings import Overrides
from charter_compiler.config.target import EngineName
from charter_compiler.plan.execution_plan import PlannedPrefix
from charter_compiler.plan.hint_ranges import HintRange, PromptHints
from charter_compiler.plan.hints import CallHints, Hint, HintAction, PrefixFuture

CONSTANT = PrefixFuture(11, 70, (), None, False, 1, 1, "b", 40, (), True)
OF_ITEM = PrefixFuture(11, 70, ("document",), None, False, 1, 2, "b", 40, ("search the web",), False)


def prompt_hints(*ranges: HintRange, tokens: int = 200, **changes: object) -> PromptHints:
    options = {
        "call": "a",
        "futures": (CONSTANT, OF_ITEM),
        "hints": (),
        "prefetch": (77,),
        "expected_output_tokens": 40,
        "output_reused": False,
        "step": 1,
        "steps": 3,
    }
    return PromptHints(CallHints(**{**options, **changes}), ranges, tokens)  # type: ignore[arg-type]


PIN = HintRange(0, 70, HintAction.PIN, 100, "", CONSTANT)
KEEP = HintRange(70, 150, HintAction.RETAIN, 80, "", OF_ITEM)
REST = HintRange(150, 200, HintAction.RELEASE, 0, "", None)
ALL = prompt_hints(PIN, KEEP, REST)


def test_a_block_in_which_two_ranges_meet_belongs_to_the_later() -> None:
    found = retention_of(ALL, 32)
    assert [(one.start, one.end, one.priority) for one in found.ranges] == [(0, 64, 100), (64, 128, 80), (128, 200, 0)]
    assert retention_of(prompt_hints(HintRange(0, 20, HintAction.PIN, 100, "", CONSTANT)), 32).ranges == ()


def test_tensors_are_parallel_and_in_order() -> None:
    assert retention_tensors(retention_of(ALL, 32)) == {
        "retention_token_range_starts": [0, 64, 128],
        "retention_token_range_ends": [64, 128, 200],
        "retention_token_range_priorities": [100, 80, 0],
        "retention_decode_priority": [0],
    }
    going_on = retention_of(prompt_hints(PIN, output_reused=True), 32)
    assert retention_tensors(going_on)["retention_decode_priority"] == [DEFAULT_PRIORITY]


def test_durations_come_from_the_output_that_lies_between() -> None:
    only = prompt_hints(HintRange(0, 150, HintAction.RETAIN, 80, "", OF_ITEM), tokens=150)
    tensors = retention_tensors(retention_of(only, 32, ms_per_output_token=5.0))
    assert tensors["retention_token_range_durations_ms"] == [LEASE * 5 * 40]
    mixed = retention_of(ALL, 32, ms_per_output_token=5.0)
    assert [one.duration_ms for one in mixed.ranges] == [None, LEASE * 5 * 40, None]
    assert -1 in retention_tensors(mixed)["retention_token_range_durations_ms"], "some are for ever"
    assert retention_config(mixed)["token_range_retention_configs"][1] == {
        "token_start": 64,
        "token_end": 128,
        "priority": 80,
        "duration_ms": 2000.0,
    }
    decoded = retention_tensors(Retention((RetentionRange(0, 32, 50),), 40, 9.6))
    assert decoded["retention_decode_duration_ms"] == [10]


def test_what_is_demoted_may_go_to_host_memory() -> None:
    found = retention_of(prompt_hints(HintRange(0, 200, HintAction.DEMOTE, 80, "", OF_ITEM)), 32)
    assert found.ranges[0].priority == DEFAULT_PRIORITY


def test_a_person_decides_over_the_priority() -> None:
    assert retention_of(ALL, 32, overrides=Overrides({"priority.11": 3})).ranges[0].priority == 3


def test_an_envelope_has_an_action_a_range_and_the_signals() -> None:
    found = envelope(ALL, "item-1", blocks=(32, [f"h{n}" for n in range(6)]))
    assert found is not None
    assert found == envelope(ALL, "item-1", blocks=(32, [f"h{n}" for n in range(6)])), "the same ids each time"
    assert found["protocol_version"] == "0.1"
    assert json.loads(json.dumps(found)) == found
    pin, keep, rest, prefetch, expect = found["actions"]
    assert [one["action_type"] for one in found["actions"]] == [
        *("charter.pin", "charter.retain", "charter.release", "charter.prefetch", "charter.expect")
    ]
    assert pin["payload"]["lease_ms"] == PIN_LEASE_MS
    assert pin["payload"]["target"] == {
        "session_id": "item-1",
        "token_range": [0, 70],
        "prefix_id": "11",
        "block_hashes": ["h0", "h1"],
    }
    assert keep["payload"]["future"] == {
        "remaining_calls": 1,
        "steps_to_next": 2,
        "output_tokens_before": 40,
        "after_tools": ["search the web"],
        "other_sessions": False,
    }
    assert keep["payload"]["target"]["block_hashes"] == ["h3"], "only whole blocks"
    assert "priority" not in rest["payload"]
    assert prefetch["payload"]["target"]["prefix_id"] == "77"
    assert (expect["payload"]["output_tokens"], expect["payload"]["step"]) == (40, 1)
    assert len({one["action_id"] for one in found["actions"]}) == 5


def test_an_envelope_is_read_as_it_was_written() -> None:
    sent = envelope(ALL, "item-1")
    assert sent is not None
    pin, keep, rest, prefetch, expect = read_envelope(json.dumps(sent)).actions
    assert (pin.action, pin.start, pin.end, pin.duration_ms, pin.prefix_id) == ("pin", 0, 70, PIN_LEASE_MS, "11")
    assert (keep.action, keep.priority, keep.prefix_id) == ("retain", 80, None), "its end depends on a value"
    assert (rest.action, prefetch.action, prefetch.prefix_id) == ("release", "prefetch", "77")
    assert expect.action is None
    assert not any(one.fault for one in (pin, keep, rest, prefetch, expect))


def test_only_what_was_announced_is_sent() -> None:
    assert accepted_types(["charter.pin", "release", "kv.fetch"]) == ("charter.pin", "charter.release")
    found = envelope(ALL, "item-1", accepted=accepted_types(["release"]))
    assert found is not None
    assert [one["action_type"] for one in found["actions"]] == ["charter.release"]
    assert envelope(ALL, "item-1", accepted=accepted_types([])) is None


def test_fields_of_openai_compatible_servers() -> None:
    hints = ALL.hints
    assert dynamo_fields(hints, "s").body == {"nvext": {"agent_hints": {"priority": 1, "osl": 40}}}
    assert dynamo_fields(hints, "s").headers == {"X-Dynamo-Session-ID": "s"}
    assert vllm_fields(hints, "s").body == {"priority": 1, "session_id": "s"}, (
        "one call is still to come: lower is earlier"
    )
    assert trtllm_serve_fields(hints, "s").body == {"priority": 1}
    first = known().plan.hints[0]
    assert sglang_fields(first, "s").body == {"priority": 100}


@pytest.mark.parametrize("engine", list(EngineName))
def test_each_engine_says_something_of_each_kind(engine: EngineName) -> None:
    found = capabilities(engine)
    assert [one.kind for one in found] == list(HintKind)
    assert all(one.carrier or one.note for one in found)
    everything = capabilities(engine, [name.removeprefix("charter.") for name in ACTION_TYPES])
    assert {one.kind for one in everything if one.carrier} >= set(HintKind) - {HintKind.SESSION, HintKind.PRIORITY}


def test_which_actions_are_taken() -> None:
    assert set(taken_actions(EngineName.ENGINE)) == set(HintAction) - {HintAction.PREFETCH}
    assert taken_actions(EngineName.VLLM) == ()
    assert taken_actions(EngineName.VLLM, ["charter.retain"]) == (HintAction.RETAIN,)


LONG = PlannedPrefix("rules " * 2000, 11, 2000, 1984, 90, ("a",), ())
SHORT = PlannedPrefix("rules", 11, 2, 0, 90, ("a",), ())


def test_hosted_caches_get_marks_where_they_take_effect() -> None:
    hints = prompt_hints(hints=(Hint(HintAction.PIN, 100, 0, ""), Hint(HintAction.RETAIN, 80, 1, ""))).hints
    marked = anthropic_breakpoints(hints, {11: LONG})
    assert marked["breakpoints"] == [
        {"prefix": "11", "after_characters": 12000, "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    ]
    assert anthropic_breakpoints(hints, {11: SHORT}) == {
        "breakpoints": [],
        "too_short": [{"prefix": "11", "tokens": 2, "least": 1024}],
    }
    assert openai_fields(hints, {11: LONG}) == {"prompt_cache_key": "charter-b", "prefix_tokens": 2000}
    assert gemini_cache(hints, {11: LONG})["cached_content"]["ttl"] == "3600s"
    assert gemini_cache(hints, {11: SHORT}) == openai_fields(hints, {}) == {}


def test_a_release_makes_room_for_what_is_needed() -> None:
    """Room for two prompts. The dead one would outlive the one that is needed, were it not released."""

    def request(start: int, action: HintAction, priority: int) -> HintedRequest:
        prompt = tuple(range(start, start + 65))
        future = None if action is HintAction.RELEASE else OF_ITEM
        return HintedRequest(prompt, (1,), prompt_hints(HintRange(0, 65, action, priority, "", future), tokens=65))

    needed, dead = request(0, HintAction.RETAIN, 90), request(1000, HintAction.RELEASE, 0)
    order = [needed, dead, request(2000, HintAction.RELEASE, 0), needed]
    assert count_hits(order, 32, 6, ()).hit_tokens == 0
    assert count_hits(order, 32, 6).hit_tokens == 64
    worth = worth_of(order, 32, 6, (HintAction.RETAIN, HintAction.RELEASE, HintAction.PIN))
    assert worth[HintAction.PIN] == 0
    assert count_hits(order, 32, 2).refused == 4, "they do not fit even alone"
    assert facts("llama-3-8b").kv.bytes_per_token() == 131072
