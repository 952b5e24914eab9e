"""Metrics that compare outputs as written and laid out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from charter_compiler.api.layout_gate import GateResult, require
from charter_compiler.api.layout_metrics import accuracy, load_metric
from charter_compiler.diagnostics.errors import LayoutRefusedError, UsageError


@pytest.mark.parametrize(
    ("name", "written", "laid_out", "score"),
    [
        ("exact", {"a": "x"}, {"a": "x"}, 1),
        ("exact", "x", "X", 0),
        ("similarity", "The revenue grew.", "the revenue grew", 1),
        ("similarity", {"a": "one two", "b": "three four"}, {"a": "one two", "b": "five six"}, 0.5),
        ("similarity", "alpha", "beta", 0),
        ("accuracy:answer", "it is 24.9", "it is 24.9 m", 1),
        ("accuracy:answer", "it is 24.9", "it is 25.4", 0),
        ("accuracy:answer", "unknown", "it is 24.9", 2),
    ],
)
def test_built_in(name: str, written: Any, laid_out: Any, score: float) -> None:
    assert load_metric(name)(written, laid_out, {"answer": "24.9"}) == score


def test_answers_of_several_questions() -> None:
    row = {"questions": [{"answer": ["UK", "Ireland"]}, {"answer": 24.9}, {"answer": "none"}]}
    assert accuracy(["Ireland and the UK", "24.9 m", "I say so"], row, "questions.answer") == pytest.approx(2 / 3)
    assert accuracy("UK, Ireland: 24.9", row, "questions.answer") == pytest.approx(2 / 3)
    with pytest.raises(UsageError, match="no answers at 'answers'"):
        accuracy("x", row, "answers")


def test_a_function_of_the_users(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("def same_length(written, laid_out, row):\n    return len(written) == len(laid_out)\n", "utf-8")
    assert load_metric(f"{path}:same_length")("abc", "xyz", {}) == 1
    for name in (f"{path}:other", "nosuch", f"{tmp_path}/none.py:f"):
        with pytest.raises(UsageError, match="--metric takes exact, similarity"):
            load_metric(name)
    path.write_text("1 / 0\n", "utf-8")
    with pytest.raises(UsageError, match=r"mine.py: it raised ZeroDivisionError"):
        load_metric(f"{path}:same_length")


def test_the_gate_refuses_below_the_threshold() -> None:
    require(GateResult(0.9, (0.8, 1.0), "exact", 0.9, Path("d")))
    with pytest.raises(LayoutRefusedError, match=r"exact 0.500 over 2 rows, threshold 0.9"):
        require(GateResult(0.5, (0.0, 1.0), "exact", 0.9, Path("d")))
