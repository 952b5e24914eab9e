"""What a run of any length keeps in memory: quantiles, names of blocks, answers."""

from __future__ import annotations

import random

import numpy as np
import pytest

from charter_compiler.cache import compact_set
from charter_compiler.cache.block_keys import chain, root_key
from charter_compiler.cache.compact_set import CompactSet
from charter_compiler.executor import answers, quantiles
from charter_compiler.executor.answers import RunAnswers
from charter_compiler.executor.quantiles import Quantiles
from charter_compiler.executor.types import GenerationRequest, GenerationResult


def test_quantiles_are_exact_first_and_close_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantiles, "EXACT", 1000)
    values = [random.Random(1).lognormvariate(0, 2) for _ in range(5000)]
    found = Quantiles()
    assert found.at(0.5) is None
    for count, value in enumerate(values, start=1):
        found.add(value)
        if count in (1, 7, 1000, 1001, 5000):
            for share in (0.0, 0.5, 0.95, 1.0):
                expected = np.quantile(values[:count], share, method="linear" if count <= 1000 else "nearest")
                tolerance = 1e-12 if count <= 1000 else 0.0051
                assert found.at(share) == pytest.approx(expected, rel=tolerance), (count, share)
    assert len(found) == 5000


def test_a_value_of_zero_is_counted() -> None:
    found = Quantiles()
    for _ in range(quantiles.EXACT + 10):
        found.add(0.0)
    assert found.at(0.5) == pytest.approx(0.0, abs=1e-8)


def test_a_compact_set_holds_chains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compact_set, "MERGED_AT", 8)
    chosen, expected, found = random.Random(2), set[int](), CompactSet()
    for _ in range(200):
        names = chain([chosen.randrange(3) for _ in range(chosen.randrange(6))], 1, root_key(None))
        known = next((index for index, name in enumerate(names) if name not in expected), len(names))
        assert found.take(names) == known
        expected.update(names)
        assert len(found) == len(expected)
    assert all(name in found for name in expected)
    assert found.take([]) == 0


async def test_old_answers_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "KEPT", 2)
    kept, sent = RunAnswers(), []

    async def ask(prompt: str) -> None:
        async def send() -> GenerationResult:
            sent.append(prompt)
            return GenerationResult(prompt, 0.0, None, 1, 0, 1)

        result, merged = await kept.get(GenerationRequest(prompt=prompt), send)
        assert result.text == prompt
        assert merged == (sent[-1:] != [prompt] or sent.count(prompt) > 1)

    for prompt in ("a", "b", "a", "c", "a"):
        await ask(prompt)
    assert sent == ["a", "b", "c"], "a was asked again, and so outlived b"
    sent.clear()
    await ask("b")
    assert sent == ["b"]
