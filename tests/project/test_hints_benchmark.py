"""The benchmark of hints: what it compares holds on a few documents, and its recorded results are whole."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks" / "hints"
INPUTS = FOLDER.parents[1] / "examples" / "data" / "documents.jsonl"


@pytest.fixture(scope="module")
def worth() -> ModuleType:
    spec = importlib.util.spec_from_file_location("worth", FOLDER / "worth.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["worth"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_hints_lie_between_the_engines_own_order_and_the_best_possible(worth: ModuleType) -> None:
    for row in worth.measure("debate", INPUTS, 6, 4):
        assert row["with_hints"] == row["requests"] == 24
        assert row["no_hints"] <= row["hints"] <= row["belady"] <= row["unbounded"]


def test_the_recorded_results_are_four_shapes_at_three_capacities(worth: ModuleType) -> None:
    conditions, *rows = [json.loads(line) for line in (FOLDER / "worth.jsonl").read_text(encoding="utf-8").splitlines()]
    assert conditions["commit"]
    assert [row["shape"] for row in rows] == [shape for shape in worth.SHAPES for _ in worth.SHARES]
    for row in rows:
        assert row["lru"] <= row["hints"] <= row["belady"] <= row["unbounded"]
