"""Whole runs on the simulated target, predicted: long ones over their first rows, and items that share their calls."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from charter_compiler.api import run_prediction
from charter_compiler.api.measured_run import measured_run
from charter_compiler.api.run_request import PredictWhen, RunRequest


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


COMPARE = """
def process(a, b, llm):
    first = llm.generate("Summarise this document in a few words, please. " + a, max_tokens=16)
    second = llm.generate("Summarise this document in a few words, please. " + b, max_tokens=16)
    return llm.generate(f"Which is better? 1: {first} 2: {second}", max_tokens=16)
"""


@pytest.mark.parametrize("predict", [PredictWhen.NEVER, PredictWhen.PURE])
def test_items_that_wait_for_each_others_answers_all_end_on_a_cache_that_holds_one(
    tmp_path: Path, predict: PredictWhen
) -> None:
    """The second document of an item is the next item's first one: that item's call is sent though it is held back."""
    agent = tmp_path / "agent.py"
    agent.write_text(COMPARE, encoding="utf-8")
    texts = [f"Document {n} speaks of {n} things. " * 30 for n in range(6)]
    rows = [json.dumps({"a": one, "b": other}) + "\n" for one, other in itertools.pairwise(texts)]
    inputs = tmp_path / "in.jsonl"
    inputs.write_text("".join(rows), encoding="utf-8")
    target = "sim://trtllm?blocks=48&block_size=16&context=512"
    report = measured_run(
        RunRequest(f"{agent}:process", inputs, tmp_path / "out.jsonl", target=target, predict=predict)
    )
    assert (report.metrics.items, report.metrics.failed) == (5, 0)
    assert report.metrics.calls == 11, "six summaries, each once, and five comparisons"
    if report.prediction is not None:
        assert report.prediction.calls == 11
