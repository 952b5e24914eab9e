"""Drafts: the output is what it would be without them, and what they save and cost is counted."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from engine_harness import Ticks, drain, finish, request, tokens
from hypothesis import given, settings

from charter_compiler.serve.engine.interface import FinishReason, PerfMetrics

ANSWER = [5, 6, 7, 8, 9, 10, 11, 12]
SMALL = {
    "tokens_per_block": 4,
    "capacity_blocks": 16,
    "max_context": 64,
    "max_running": 4,
    "max_sequences": 12,
    "prefill_chunk": 8,
}


def answer(drafts: list[int], max_tokens: int = 6, **extra: object) -> tuple[list[int], PerfMetrics, int]:
    """Output, figures, and how many tokens were computed."""
    ticks = Ticks({1: ANSWER}, **SMALL)
    ticks.core.add(request(1, [1, 2, 3], max_tokens, drafts=drafts, **extra))  # type: ignore[arg-type]
    outputs = drain(ticks.core)[1]
    perf = outputs[-1].perf
    assert perf is not None
    return tokens(outputs), perf, sum(map(len, ticks.batches))


@pytest.mark.parametrize(
    ("drafts", "accepted", "rejected", "steps"),
    [
        ([], 0, 0, 6),
        ([5, 6, 7], 3, 0, 3),
        ([5, 6, 99, 8], 2, 2, 4),
        ([99], 0, 1, 6),
        ([5, 6, 7, 8, 9, 10, 11], 5, 0, 1),
    ],
)
def test_right_drafts_save_steps(drafts: list[int], accepted: int, rejected: int, steps: int) -> None:
    ticks = Ticks({1: ANSWER}, **SMALL)
    ticks.core.add(request(1, [1, 2, 3], 6, drafts=drafts))
    outputs = drain(ticks.core)[1]
    perf = outputs[-1].perf
    assert perf is not None
    assert tokens(outputs) == ANSWER[:6]
    assert (perf.num_draft_tokens, perf.num_accepted_draft_tokens) == (min(len(drafts), 5), accepted)
    assert perf.num_rejected_draft_tokens == rejected
    assert len(ticks.batches) == steps


def test_drafts_wait_where_a_step_has_no_room() -> None:
    """Eight tokens a step: the prompt fills the first, seven drafts follow in the second."""
    ticks = Ticks({1: ANSWER}, **SMALL)
    ticks.core.add(request(1, list(range(20, 28)), 8, drafts=ANSWER))
    outputs = drain(ticks.core)[1]
    assert tokens(outputs) == ANSWER
    # The first token agrees with the first draft unasked; of the rest all but the last may be computed.
    assert [len(batch) for batch in ticks.batches] == [8, 7]


def test_an_end_within_the_drafts_ends() -> None:
    output, perf, _ = answer(ANSWER[:5], stop=((6, 7),))
    assert output == [5, 6, 7]
    assert perf.num_accepted_draft_tokens == 3
    ticks = Ticks({1: ANSWER}, **SMALL)
    ticks.core.add(request(1, [1, 2, 3], 6, drafts=ANSWER, end_id=7))
    outputs = drain(ticks.core)[1]
    assert (tokens(outputs), finish(outputs)) == ([5, 6], FinishReason.END)


@settings(max_examples=60)
@given(
    st.lists(st.sampled_from([0, 0, 0, 1]), max_size=12),
    st.integers(1, 8),
    st.sampled_from([None, 7, 9]),
    st.integers(1, 30),
)
def test_any_drafts_leave_the_output_as_it_is(wrong: list[int], max_tokens: int, end: int | None, prompt: int) -> None:
    """``wrong`` marks the drafts that are; ``prompt`` is its length. Tokens computed are accounted for, each one."""
    drafts = [40 + i if bad else ANSWER[i % 8] for i, bad in enumerate(wrong)]
    results = []
    for given_drafts in ([], drafts):
        ticks = Ticks({1: ANSWER}, **SMALL)
        ticks.core.add(request(1, [100 + n for n in range(prompt)], max_tokens, drafts=given_drafts, end_id=end))
        outputs = drain(ticks.core)[1]
        perf = outputs[-1].perf
        assert perf is not None
        results.append((tokens(outputs), finish(outputs)))
        computed = sum(map(len, ticks.batches))
        # The last token has no KV, unless it is a draft that was computed before it was chosen.
        due = prompt + len(tokens(outputs)) - 1 + perf.num_rejected_draft_tokens
        due += finish(outputs) is FinishReason.END
        assert due <= computed <= due + bool(given_drafts)
    assert results[0] == results[1]
