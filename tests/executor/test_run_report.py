"""``charter run --report``: the run's own calls, predicted and measured, on a page and as JSON."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from run_doubles import BLOCK, ScriptedTarget, facts, write_agent

from charter_compiler.api.measured_run import measured_run
from charter_compiler.api.run_request import RunRequest
from charter_compiler.cli.main import main
from charter_compiler.executor.targets import OpenTarget
from charter_compiler.serve.engine.interface import EngineConfig
from charter_compiler.tokens.tokenizer import default_tokenizer

RULES = "These are the rules, which hold for each text that follows here. " * 4
AGENT = f"""
RULES = {RULES!r}

def process(text, llm):
    first = llm.generate(RULES + "Shorten: " + text, max_tokens=8)
    return llm.generate(RULES + "In other words: " + first + text, max_tokens=8)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_agent(tmp_path, AGENT)
    Path("in.jsonl").write_text("".join(json.dumps({"text": f"text {n} " * 20}) + "\n" for n in range(3)))

    @asynccontextmanager
    async def opened(*_: object) -> AsyncIterator[OpenTarget]:
        engine = EngineConfig(tokens_per_block=BLOCK, capacity_blocks=200)
        yield OpenTarget("s", ScriptedTarget(), facts(), default_tokenizer(), engine)

    monkeypatch.setattr("charter_compiler.executor.fleet.opening.open_target", opened)
    return tmp_path


def run(*arguments: str) -> int:
    entry = ["agent.py:process", "--inputs", "in.jsonl", "-o", "out.jsonl"]
    return main(["run", *entry, "--target", "triton://localhost:1/m", "--no-memo", *arguments])


def test_the_report_holds_what_was_recorded(folder: Path) -> None:
    assert run("--report", "report.html", "--price-per-hour", "3.6") == 0
    report = json.loads(Path("report.json").read_text(encoding="utf-8"))
    metrics = json.loads(Path("out.jsonl.metrics.json").read_text(encoding="utf-8"))
    sites = report["call_sites"]
    assert [site["site"].rpartition("#")[2] for site in sites] == ["warm-up", "1", "2"]
    assert sum(site["cached_tokens"] for site in sites) == metrics["cached_tokens"]
    assert sum(site["prompt_tokens"] for site in sites) == metrics["prompt_tokens"]
    assert all(site["predicted"] is not None for site in sites)
    assert len(report["timelines"][0]["timings"]) == metrics["calls"] == 6
    assert len(report["prompts"]) == 2
    assert report["savings"][-1]["values"] == [pytest.approx(metrics["wall_s"] / 1000)]
    page = Path("report.html").read_text(encoding="utf-8")
    assert "Predicted and measured" in page
    assert '<h2 id="timeline">' in page


def test_without_a_prediction_the_report_says_nothing_of_tokens(folder: Path) -> None:
    assert run("--report", "report.html", "--no-predict") == 0
    report = json.loads(Path("report.json").read_text(encoding="utf-8"))
    assert report["prompts"] == report["tokens_by_site"] == report["savings"] == []
    assert {site["predicted"] for site in report["call_sites"]} == {None}


def test_a_run_shows_itself_in_a_notebook(folder: Path) -> None:
    request = RunRequest("agent.py:process", Path("in.jsonl"), Path("out.jsonl"), target="triton://localhost:1/m")
    html = measured_run(request)._repr_html_()
    assert html.startswith('<iframe sandbox=""')
    assert "Run: process" in html


def test_a_report_that_is_no_page_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--report", "report.pdf") == 2
    assert "report.pdf: the report is a page (end its name in .html)" in capsys.readouterr().err
    assert not Path("out.jsonl").exists()
