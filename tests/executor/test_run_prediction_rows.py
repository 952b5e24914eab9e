"""Long runs are predicted over their first rows, and say so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from charter_compiler.api import run_prediction
from charter_compiler.api.measured_run import measured_run
from charter_compiler.api.run_request import RunRequest


def test_the_first_rows_stand_for_a_long_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = tmp_path / "agent.py"
    agent.write_text("def process(text, llm):\n    return llm.generate(text, max_tokens=2)\n", encoding="utf-8")
    inputs = tmp_path / "in.jsonl"
    inputs.write_text("".join(json.dumps({"text": f"Row {n}"}) + "\n" for n in range(5)), encoding="utf-8")
    request = RunRequest(f"{agent}:process", inputs, tmp_path / "out.jsonl", target="sim")
    whole = measured_run(request)
    assert whole.prediction is not None
    assert whole.prediction.items == 5
    assert not [note for note in whole.notes if "the first" in note]
    monkeypatch.setattr(run_prediction, "PREDICTED_ROWS", 3)
    part = measured_run(request)
    assert part.prediction is not None
    assert part.prediction.items == 3
    assert part.metrics.items == 5
    assert [note for note in part.notes if note == "the prediction is over the first 3 rows"]
