"""vLLM's scheduler in virtual time: what requests find, wait for and lose."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charter_compiler.diagnostics.errors import ContextLengthError
from charter_compiler.serve.engine.interface import EngineConfig, EngineOutput, EngineRequest, SamplingParams
from charter_compiler.serve.engine.vllm_core import VllmCore

CONFIG = EngineConfig(
    tokens_per_block=4, capacity_blocks=9, max_context=64, max_running=4, max_sequences=4, prefill_chunk=8
)


def run(
    prompts: Sequence[Sequence[int]], outputs: Sequence[Sequence[int]], config: EngineConfig = CONFIG
) -> dict[int, EngineOutput]:
    """All requests at once; their last outputs."""
    steps: list[int] = []
    core = VllmCore(config, dict(enumerate(outputs)), lambda batch: steps.append(len(batch)), lambda: len(steps) + 1)
    for key, prompt in enumerate(prompts):
        core.add(EngineRequest(key, tuple(prompt), SamplingParams(max(1, len(outputs[key])))))
    ends = {}
    while not core.idle:
        for output in core.step():
            if output.finish is not None:
                ends[output.request_id] = output
        assert max(steps) <= config.prefill_chunk
        assert len(steps) < 1000, "it does not end"
    return ends


def cached(ends: dict[int, EngineOutput]) -> list[int]:
    return [ends[key].perf.num_cached_tokens for key in sorted(ends)]  # type: ignore[union-attr]


def test_requests_that_start_in_one_iteration_share_what_the_first_of_them_schedules() -> None:
    assert cached(run([range(4), [*range(4), 9]], [[1], [1]])) == [0, 4]


def test_of_a_prompt_in_chunks_only_the_scheduled_ones_are_found() -> None:
    long = EngineConfig(tokens_per_block=4, capacity_blocks=20, max_running=4, max_sequences=4, prefill_chunk=8)
    # The first iteration takes 8 tokens of the first prompt; the second request starts in the next, after the rest.
    assert cached(run([range(12), [*range(12), 7]], [[1], [1]], long)) == [0, 12]


def test_a_request_waits_until_its_whole_prompt_fits() -> None:
    # 8 usable blocks; the first holds 5, the second needs 4: it starts when the first has ended, and finds nothing.
    ends = run([range(20), range(100, 116)], [[1, 2], [1]])
    first, second = (ends[key].perf for key in (0, 1))
    assert first is not None
    assert second is not None
    assert second.first_scheduled_time_ns >= first.last_token_time_ns


def test_a_preempted_request_is_counted_once_and_ends_like_the_others() -> None:
    # Both fit with their prompts, not with their outputs: the second is preempted and starts again.
    ends = run([range(12), range(100, 112)], [list(range(12)), list(range(12))])
    assert [end.perf.num_output_tokens for end in ends.values() if end.perf] == [12, 12]
    assert cached(ends) == [0, 0], "what it finds again is not counted"


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.lists(st.integers(0, 2), min_size=1, max_size=20), st.lists(st.integers(0, 2), max_size=8)),
        min_size=1,
        max_size=8,
    )
)
def test_every_request_ends_with_its_output_and_finds_whole_blocks(
    requests: list[tuple[list[int], list[int]]],
) -> None:
    ends = run([prompt for prompt, _ in requests], [output for _, output in requests])
    assert sorted(ends) == list(range(len(requests)))
    for key, (prompt, output) in enumerate(requests):
        perf = ends[key].perf
        assert perf is not None
        assert perf.num_output_tokens == len(output)
        assert perf.num_cached_tokens % 4 == 0
        assert perf.num_cached_tokens < len(prompt)


def test_what_never_fits_is_refused() -> None:
    core = VllmCore(CONFIG, {}, lambda batch: None, lambda: 0)
    with pytest.raises(ContextLengthError, match="exceed the context of 64 tokens"):
        core.add(EngineRequest(1, tuple(range(60)), SamplingParams(10)))
    with pytest.raises(ContextLengthError, match="does not fit the KV cache of 32 tokens"):
        core.add(EngineRequest(1, tuple(range(30)), SamplingParams(10)))
