"""The scheduler over a runner that computes nothing: batches, order, ends, reuse and times, exactly."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from engine_harness import Ticks, drain, finish, request, tokens
from hypothesis import given, settings

from charter_compiler.diagnostics.errors import ConfigError, ContextLengthError, RequestRejectedError
from charter_compiler.serve.engine.interface import EngineConfig, FinishReason, StepCounts

SMALL = {
    "tokens_per_block": 4,
    "capacity_blocks": 16,
    "max_context": 64,
    "max_running": 4,
    "max_sequences": 8,
    "prefill_chunk": 8,
}
WORDS = {i: range(100 * i, 100 * i + 50) for i in range(200)}


def test_prefill_is_chunked_and_decoding_requests_do_not_wait() -> None:
    ticks = Ticks(WORDS, **SMALL)
    ticks.core.add(request(1, [1, 2, 3], 6))
    ticks.core.add(request(2, range(20), 2))
    drain(ticks.core)
    counts = [batch.counts for batch in ticks.batches]
    # 3 + 5 tokens of the prompts; then each time a decoding token and 7 more of the long prompt, which has 20.
    assert counts[:3] == [StepCounts(8, 0), StepCounts(7, 1), StepCounts(7, 1)]
    assert [(c.prefill_tokens, c.decode_tokens) for c in counts[3:]] == [(1, 1), (0, 2), (0, 1)]
    assert sum(map(len, ticks.batches)) == (3 + 5) + (20 + 1)


def test_logits_are_wanted_where_a_token_is_due() -> None:
    ticks = Ticks(WORDS, **SMALL)
    ticks.core.add(request(1, range(10), 2))
    drain(ticks.core)
    assert [batch.wants_logits for batch in ticks.batches] == [[False] * 8, [False, True], [True]]
    assert [batch.positions for batch in ticks.batches] == [list(range(8)), [8, 9], [10]]
    assert ticks.batches[2].tokens == [100]


def test_times_are_those_of_the_clock_after_each_decode() -> None:
    ticks = Ticks(WORDS, **SMALL)
    ticks.now = 50
    ticks.core.add(request(1, range(10), 3), arrival_ns=40)
    perf = drain(ticks.core)[1][-1].perf
    assert perf is not None
    assert (perf.arrival_time_ns, perf.first_scheduled_time_ns) == (40, 50)
    assert (perf.first_token_time_ns, perf.last_token_time_ns) == (52, 54)


def test_prompt_blocks_are_reused_while_their_request_still_runs() -> None:
    ticks = Ticks(WORDS, **SMALL)
    ticks.core.add(request(1, range(8), 8))
    ticks.core.step()
    ticks.core.add(request(2, [*range(8), 99], 1))
    perf = drain(ticks.core)[2][-1].perf
    assert perf is not None
    assert (perf.num_cached_tokens, perf.kv_cache_reused_blocks) == (8, 2)
    assert (perf.kv_cache_alloc_new_blocks, perf.kv_cache_alloc_total_blocks) == (1, 3)


def test_requests_that_start_together_share_nothing_cold() -> None:
    ticks = Ticks(WORDS, **{**SMALL, "prefill_chunk": 32})
    for i in range(3):
        ticks.core.add(request(i, range(9), 2))
    done = drain(ticks.core)
    assert [done[i][-1].perf.num_cached_tokens for i in range(3)] == [0, 0, 0]  # type: ignore[union-attr]
    assert ticks.core.stats().cached_blocks == 2, "one copy stays"


def test_a_request_starts_when_the_iteration_has_room_for_it() -> None:
    """Two full iterations compute the first prompt; the second request starts after them and finds it stored."""
    ticks = Ticks(WORDS, **SMALL)
    for i in range(2):
        ticks.core.add(request(i, range(16), 1))
    ticks.core.step()
    assert (ticks.core.stats().running, ticks.core.stats().waiting) == (1, 1)
    perf = drain(ticks.core)[1][-1].perf
    assert perf is not None
    assert (perf.first_scheduled_time_ns, perf.num_cached_tokens) == (2, 12)


def test_the_last_prompt_token_is_always_computed() -> None:
    ticks = Ticks(WORDS, **SMALL)
    for i in range(2):
        ticks.core.add(request(i, range(8), 1))
        perf = drain(ticks.core)[i][-1].perf
    assert perf is not None
    assert perf.num_cached_tokens == 4


def test_generated_blocks_are_reused_by_the_next_turn() -> None:
    ticks = Ticks(WORDS, **SMALL)
    ticks.core.add(request(1, range(6), 7))
    reply = tokens(drain(ticks.core)[1])
    ticks.core.add(request(2, [*range(6), *reply, 7, 7], 1))
    perf = drain(ticks.core)[2][-1].perf
    assert perf is not None
    assert perf.num_cached_tokens == 12, "6 + 7 tokens, of which the last has no KV"


def test_reuse_can_be_off() -> None:
    ticks = Ticks(WORDS, **SMALL, enable_block_reuse=False)
    for i in range(2):
        ticks.core.add(request(i, range(9), 1))
        perf = drain(ticks.core)[i][-1].perf
    assert perf is not None
    assert perf.num_cached_tokens == 0
    assert ticks.core.stats().cached_blocks == 0


@pytest.mark.parametrize(
    ("extra", "output", "reason"),
    [
        ({}, [5, 6, 7, 8], FinishReason.LENGTH),
        ({"end_id": 7}, [5, 6], FinishReason.END),
        ({"end_id": 5}, [], FinishReason.END),
        ({"stop": ((6, 7),)}, [5, 6, 7], FinishReason.STOP),
        ({"stop": ((9,), (5,))}, [5], FinishReason.STOP),
        ({"stop": ((3, 5),)}, [5, 6, 7, 8], FinishReason.LENGTH),  # 3 is the prompt's
    ],
)
def test_ends(extra: dict[str, object], output: list[int], reason: FinishReason) -> None:
    ticks = Ticks({1: [5, 6, 7, 8]}, **SMALL)
    ticks.core.add(request(1, [1, 2, 3], 4, **extra))  # type: ignore[arg-type]
    outputs = drain(ticks.core)[1]
    assert (tokens(outputs), finish(outputs)) == (output, reason)
    assert outputs[-1].perf is not None
    assert outputs[-1].perf.num_output_tokens == len(output)
    assert ticks.core.stats().output_tokens == len(output)


def test_a_request_that_does_not_fit_now_waits_and_none_overtakes_it() -> None:
    ticks = Ticks(WORDS, **SMALL)
    ticks.core.add(request(1, range(4), 40))  # 11 of 16 blocks
    ticks.core.add(request(2, range(50, 70), 20))  # 10
    ticks.core.add(request(3, [1], 1))
    for _ in range(20):
        ticks.core.step()
    assert (ticks.core.stats().running, ticks.core.stats().waiting) == (1, 2)
    done = drain(ticks.core)
    assert len(tokens(done[2])) == 20
    assert done[3][-1].perf.first_scheduled_time_ns >= done[2][-1].perf.first_scheduled_time_ns  # type: ignore[union-attr]


def test_what_can_never_fit_is_refused_at_once() -> None:
    ticks = Ticks(WORDS, **SMALL)
    with pytest.raises(ContextLengthError, match="context of 64"):
        ticks.core.add(request(1, range(60), 5))
    roomy = Ticks(WORDS, **{**SMALL, "max_context": 500})
    with pytest.raises(ContextLengthError, match="KV cache of 64"):
        roomy.core.add(request(1, range(60), 5))
    assert ticks.core.idle
    assert roomy.core.idle


@pytest.mark.parametrize(
    ("prompt", "extra", "message"),
    [
        ([], {}, "no tokens"),
        ([1], {"max_tokens": 0}, "max_tokens"),
        ([1], {"temperature": -1.0}, "temperature"),
        ([1], {"temperature": float("nan")}, "temperature"),
        ([1], {"top_p": 1.5}, "top_p"),
        ([1], {"top_k": -2}, "top_k"),
        ([1], {"seed": -1}, "seed"),
        ([1], {"repetition_penalty": 0.0}, "repetition_penalty"),
        ([1], {"stop": ((),)}, "stop sequence"),
    ],
)
def test_wrong_requests_are_refused(prompt: list[int], extra: dict[str, object], message: str) -> None:
    with pytest.raises(RequestRejectedError, match=message):
        Ticks(WORDS, **SMALL).core.add(request(1, prompt, **extra))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "sizes", [{"max_sequences": 257}, {"max_sequences": 3, "max_running": 4}, {"prefill_chunk": 16}, {"max_context": 0}]
)
def test_sizes_that_contradict_each_other_are_refused(sizes: dict[str, int]) -> None:
    with pytest.raises(ConfigError):
        EngineConfig(**sizes)


def test_cancelled_requests_free_what_they_hold() -> None:
    ticks = Ticks(WORDS, **SMALL)
    ticks.core.add(request(1, range(12), 40))
    ticks.core.add(request(2, range(20, 40), 40))
    ticks.core.step()
    cancelled = [ticks.core.cancel(1), ticks.core.cancel(2)]
    assert [output.finish for output in cancelled if output] == [FinishReason.CANCELLED] * 2
    assert ticks.core.idle
    assert ticks.core.stats().used_blocks == 0
    assert ticks.core.stats().cached_blocks == 0, "no prefill was done"
    assert ticks.core.cancel(1) is None


def test_a_failing_model_ends_the_running_requests_and_leaves_the_core_sound() -> None:
    ticks = Ticks({1: [5], 2: [], 3: [8, 9]}, **{**SMALL, "max_running": 2})
    for i in (1, 2, 3):
        ticks.core.add(request(i, [i], 2 if i == 3 else 1))
    with pytest.raises(ValueError, match="request 2"):
        ticks.core.step()
    ended = ticks.core.fail("broken")
    ticks.core.check()
    assert [(o.request_id, o.finish, o.error) for o in ended] == [
        (1, FinishReason.LENGTH, None),
        (2, FinishReason.ERROR, "broken"),
    ]
    assert tokens(drain(ticks.core)[3]) == [8, 9]


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 25), st.integers(1, 15), st.integers(0, 40)), max_size=25),
    st.sampled_from([1, 2, 4]),
    st.sampled_from([5, 8, 64]),
)
def test_any_mix_with_cancellation_ends_every_request_once_and_leaks_nothing(
    mix: list[tuple[int, int, int, int]], running: int, chunk: int
) -> None:
    """``mix``: which of four texts, prompt length, output length, and the step at which it is cancelled (40: never)."""
    sizes = {**SMALL, "max_running": running, "max_sequences": max(running, 3), "prefill_chunk": chunk}
    ticks = Ticks(WORDS, **sizes)
    for i, (text, length, limit, _) in enumerate(mix):
        ticks.core.add(request(i, [text] * (length // 2) + list(range(length - length // 2)), limit))
    ends = []
    for step in range(2000):
        for i, (*_, cancel_at) in enumerate(mix):
            if cancel_at == step < 40 and (output := ticks.core.cancel(i)):
                ends.append(output)
        if ticks.core.idle:
            break
        ends += [output for output in ticks.core.step() if output.finish]
        ticks.core.check()
    assert sorted(output.request_id for output in ends) == list(range(len(mix)))
    stats = ticks.core.stats()
    assert (stats.used_blocks, stats.running, stats.waiting) == (0, 0, 0)
    whole = [output.perf for output in ends if output.finish is FinishReason.LENGTH]
    due = sum(p.num_input_tokens - p.num_cached_tokens + p.num_output_tokens - 1 for p in whole if p)
    if len(whole) == len(mix):
        assert stats.decoded_tokens == sum(map(len, ticks.batches)) == due
