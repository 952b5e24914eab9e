"""`charter demo` on the real embedded server, with one short document and short outputs."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from charter_compiler.cli import demo
from charter_compiler.cli.main import main

pytestmark = [pytest.mark.server, pytest.mark.timeout(600)]
METRICS = {
    "mode", "target", "layout", "items", "failed", "calls", "prompt_tokens", "cached_tokens", "hit_rate",
    "predicted_hit_rate", "attainable_hit_rate", "memoized_calls", "warmup_tokens", "output_tokens", "wall_s",
    "items_per_s", "latency_s", "ttft_s",
}  # fmt: skip
"""The keys that the design promises."""


CHARACTERS = 1000
"""Of the document: the first page shows whole ones, and this test the steps."""


def short_examples(folder: Path) -> Path:
    shipped = demo.examples_folder()
    shutil.copytree(shipped / "agents", folder / "agents")
    (folder / "data").mkdir()
    with (shipped / demo.INPUTS).open(encoding="utf-8") as file:
        row = json.loads(next(file))
    (folder / demo.INPUTS).write_text(json.dumps(row | {"document": row["document"][:CHARACTERS]}), encoding="utf-8")
    return folder


def test_the_demo_runs_to_its_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    examples = short_examples(tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "examples_folder", lambda: examples)
    assert main(["demo", "--documents", "1", "--max-tokens", "4", "-o", "out"]) == 0
    printed = capsys.readouterr().out
    assert "same prompts sent: " in printed
    same, compared = map(int, re.findall(r"same prompts sent: (\d+) of (\d+) calls", printed)[0])
    assert 1 <= same == compared <= 3
    assert (tmp_path / "out" / "report.html").read_text(encoding="utf-8").lstrip().lower().startswith("<!doctype html>")
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert [len(each["timings"]) for each in report["timelines"]] == [3, 3, 3]
    assert len(report["prompts"]) == 3
    assert report["savings"][0]["saved"] == report["runs"][0]["computed_tokens"] - report["runs"][2]["computed_tokens"]
    assert "+Document:" in printed.replace(" ", "")
    assert "with layout" in printed
    for name, mode in (("baseline", "baseline"), ("optimized", "optimized"), ("laid_out", "optimized")):
        file = tmp_path / "out" / f"{name}.jsonl.metrics.json"
        metrics: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        assert set(metrics) >= METRICS
        assert (metrics["mode"], metrics["items"], metrics["failed"], metrics["calls"]) == (mode, 1, 0, 3)
        assert metrics["layout"] is (name == "laid_out")
        assert metrics["hit_rate"] > (0.3 if metrics["layout"] else 0)
        assert metrics["predicted_hit_rate"] == pytest.approx(metrics["hit_rate"], abs=0.01)
