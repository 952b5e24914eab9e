"""The benchmark of the findings' precision: its score, its verdicts, and that it runs."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from charter_compiler.analysis.checks.codes import CODES

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "benchmarks" / "frontend" / "diagnostics"


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("diagnostics_benchmark", FOLDER.with_suffix(".py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_score(benchmark: ModuleType) -> None:
    rows = [
        {"repo": "a/b", "code": "CH101", "verdict": True},
        {"repo": "a/b", "code": "CH101", "verdict": False},
        {"repo": "c/d", "code": "CH301", "verdict": True},
        {"repo": "c/d", "code": "CH301", "verdict": None},
    ]
    text = benchmark.score(rows)
    assert "| CH101 | 1 | 2 | 0.50 |" in text
    assert "| c/d | 1 | 1 | 1.00 |" in text
    assert text.endswith("true: 2 of 3, precision 0.667; without a verdict: 1")


def test_a_run_keeps_the_verdicts(benchmark: ModuleType, tmp_path: Path) -> None:
    rules = "Keep to the rules of the house, and say which rule you used. " * 12
    source = f"RULES = {rules!r}\n\n\ndef ask(llm, question):\n    return llm.generate(f'{{question}} {{RULES}}')\n"
    (tmp_path / "agent.py").write_text(source, encoding="utf-8")
    first, second = tmp_path / "1.jsonl", tmp_path / "2.jsonl"
    arguments = ["run", f"a/b={tmp_path}@c0ffee", "--verdicts"]
    assert benchmark.main([*arguments, str(second), "-o", str(first)]) == 0
    (row,) = [json.loads(line) for line in first.read_text(encoding="utf-8").splitlines()]
    assert (row["repo"], row["commit"], row["code"], row["line"]) == ("a/b", "c0ffee", "CH101", 5)
    assert row["verdict"] is None
    assert "def ask" in row["source"]
    first.write_text(json.dumps({**row, "verdict": True, "reason": "so it is"}) + "\n", encoding="utf-8")
    assert benchmark.main([*arguments, str(first), "-o", str(second)]) == 0
    (row,) = [json.loads(line) for line in second.read_text(encoding="utf-8").splitlines()]
    assert (row["verdict"], row["reason"]) == (True, "so it is")


def test_every_verdict_has_its_reason_and_nine_of_ten_are_true(benchmark: ModuleType) -> None:
    rows = benchmark.load(FOLDER / "verdicts.jsonl")
    listed = (FOLDER / "README.md").read_text(encoding="utf-8")
    for row in rows:
        assert f"| {row['repo']} |" in listed
        assert row["code"] in CODES
        assert isinstance(row["verdict"], bool)
        assert row["reason"]
    assert len({benchmark.key(row) for row in rows}) == len(rows)
    assert sum(row["verdict"] for row in rows) >= 0.9 * len(rows)
