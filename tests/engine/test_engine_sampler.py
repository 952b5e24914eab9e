"""The sampler against its definitions, on small vocabularies."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from engine_harness import request
from hypothesis import given

from charter_compiler.serve.engine.interface import EngineRequest
from charter_compiler.serve.engine.sampler import Sampler, best, log_probability, nucleus

LOGITS = np.array([1.0, 3.0, 2.0, -1.0, 0.5], dtype=np.float32)


def draw(req: EngineRequest, count: int, logits: np.ndarray = LOGITS) -> list[int]:
    sampler = Sampler(req, logits.size)
    return [sampler.choose(logits, []) for _ in range(count)]


@pytest.mark.parametrize("params", [{}, {"temperature": 0.0}, {"temperature": 1.5, "top_k": 1}])
def test_greedy_takes_the_highest(params: dict[str, float]) -> None:
    assert draw(request(1, [0], **params), 3) == [1, 1, 1]


def test_same_seed_same_tokens_whatever_ran_before() -> None:
    params = {"temperature": 1.0, "seed": 11}
    assert draw(request(1, [0], **params), 50) == draw(request(2, [0], **params), 50)
    assert draw(request(1, [0], **params), 50) != draw(request(1, [0], temperature=1.0, seed=12), 50)


def test_draws_follow_the_distribution_at_its_temperature() -> None:
    drawn = np.bincount(draw(request(1, [0], temperature=2.0, seed=3), 20_000), minlength=5) / 20_000
    expected = np.exp(LOGITS / 2) / np.exp(LOGITS / 2).sum()
    assert np.abs(drawn - expected).max() < 0.015


def test_top_k_and_top_p_cut() -> None:
    assert set(draw(request(1, [0], temperature=5.0, top_k=2, seed=1), 200)) == {1, 2}
    # Shares at temperature 1: token 1 0.61, token 2 0.22, token 0 0.08; 0.7 needs two.
    assert set(draw(request(1, [0], top_p=0.7, temperature=1.0, seed=1), 300)) == {1, 2}
    assert set(draw(request(1, [0], top_p=0.0, temperature=1.0, seed=1), 50)) == {1}


def test_penalties_count_prompt_and_output() -> None:
    # 1 is seen twice: 3.0 / 1.5 - 0.25 - 2 * 0.2 = 1.35 < 2.0 of token 2, until 2 is seen too.
    req = request(1, [1], repetition_penalty=1.5, presence_penalty=0.25, frequency_penalty=0.2)
    sampler = Sampler(req, LOGITS.size)
    assert sampler.choose(LOGITS, [1]) == 2
    # 2: 2.0 / 1.5 - 0.25 - 0.2 = 0.88 < 1.35.
    assert sampler.choose(LOGITS, [1, 2]) == 1
    assert LOGITS[1] == 3.0, "the logits are left as they are"


def test_repetition_penalty_lowers_negative_logits() -> None:
    logits = np.array([-1.0, -1.5, -9.0], dtype=np.float32)
    assert draw(request(1, [0], repetition_penalty=2.0), 1, logits) == [1]


def test_bad_sequences_are_never_completed() -> None:
    sampler = Sampler(request(1, [9], bad=((1,), (4, 2))), LOGITS.size)
    assert sampler.choose(LOGITS, []) == 2
    assert sampler.choose(LOGITS, [4]) == 0, "after 4, 2 would complete a bad sequence"
    assert sampler.choose(LOGITS, [4, 0]) == 2


def test_the_end_does_not_come_before_min_tokens() -> None:
    sampler = Sampler(request(1, [0], end_id=1, min_tokens=2), LOGITS.size)
    assert [sampler.choose(LOGITS, output) for output in ([], [2], [2, 2])] == [2, 2, 1]


def test_log_probability_is_that_of_the_plain_logits() -> None:
    shares = np.exp(LOGITS.astype(float)) / np.exp(LOGITS.astype(float)).sum()
    for token in range(LOGITS.size):
        assert log_probability(LOGITS, token) == pytest.approx(np.log(shares[token]))


scores = st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=30).map(np.array)


@given(scores, st.integers(1, 40))
def test_best_is_a_stable_sort_cut_short(values: np.ndarray, count: int) -> None:
    assert best(values, count).tolist() == np.argsort(-values, kind="stable")[:count].tolist()


@given(scores, st.floats(0, 1))
def test_nucleus_is_the_shortest_head_of_the_sorted_shares(values: np.ndarray, top_p: float) -> None:
    weights = np.exp(values)
    kept, kept_weights = nucleus(np.arange(values.size), weights, top_p)
    order = np.argsort(-weights, kind="stable")
    assert kept.tolist() == order[: kept.size].tolist()
    assert kept_weights.tolist() == weights[kept].tolist()
    assert kept.size == 1 or weights[order[: kept.size - 1]].sum() < top_p * weights.sum() + 1e-9
    assert weights[kept].sum() >= top_p * weights.sum() - 1e-9


def test_nucleus_of_a_large_flat_vocabulary_is_exact() -> None:
    kept, _ = nucleus(np.arange(5000), np.ones(5000), 0.5)
    assert kept.size == 2500
