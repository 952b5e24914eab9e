"""Runs of the shipped agents on the real embedded server."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from charter_compiler.api.layout_gate import GateOptions, check_layout, require
from charter_compiler.api.measured_run import WARM_SERVER, measured_run
from charter_compiler.api.run_report import RunReport
from charter_compiler.api.run_request import RunObserver, RunRequest
from charter_compiler.api.side_by_side import SideBySide, run_side_by_side
from charter_compiler.diagnostics.errors import LayoutRefusedError, PlanError, TargetUnavailableError
from charter_compiler.executor.metrics import Tally
from charter_compiler.executor.run.options import RunOptions
from charter_compiler.executor.targets import TargetOptions
from charter_compiler.predict.planning import analyse, calls_of_entry, plan_entry
from charter_compiler.serve.discovery import find_here
from charter_compiler.serve.engine.interface import EngineConfig
from charter_compiler.serve.server import ServerHandle
from charter_compiler.tokens.tokenizer import default_tokenizer

pytestmark = [pytest.mark.server, pytest.mark.timeout(600)]

EXAMPLES = Path(__file__).parents[2] / "examples"
ENGINE = EngineConfig(max_context=2048)


def make_request(folder: Path, agent: str, rows: list[dict[str, Any]]) -> RunRequest:
    inputs = folder / "in.jsonl"
    inputs.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return RunRequest(
        entry=f"{EXAMPLES / 'agents'}/{agent}",
        inputs=inputs,
        output=folder / "out.jsonl",
        target_options=TargetOptions(fresh_server=True, engine=ENGINE),
        options=RunOptions(concurrency=4, max_tokens=4),
    )


def first_rows(name: str, count: int) -> list[dict[str, Any]]:
    with (EXAMPLES / "data" / name).open(encoding="utf-8") as file:
        return [json.loads(next(file)) for _ in range(count)]


def one_call(folder: Path, rows: list[dict[str, Any]]) -> RunRequest:
    """An agent of a single short call, where what is tested is not the prompt."""
    agent = folder / "agent.py"
    agent.write_text("def process(text, llm):\n    return llm.generate(text, max_tokens=4)\n", encoding="utf-8")
    return replace(make_request(folder, "none", rows), entry=f"{agent}:process")


def check_prediction(report: RunReport) -> None:
    assert report.metrics.hit_rate is not None
    assert report.prediction is not None
    assert report.prediction.hit_rate == pytest.approx(report.metrics.hit_rate, abs=0.02)
    assert report.metrics.attainable_hit_rate is not None
    assert report.metrics.hit_rate <= report.metrics.attainable_hit_rate


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> SideBySide:
    folder = tmp_path_factory.mktemp("documents")
    rows = [{"document": row["document"][:300], "id": n} for n, row in enumerate(first_rows("documents.jsonl", 2))]
    request = make_request(folder, "document_processor.py:DocumentProcessor.process", rows)
    return run_side_by_side(request, folder)


def test_rows_and_metrics_have_the_form_of_the_design(documents: SideBySide) -> None:
    for report in (documents.baseline, documents.optimized):
        rows = [json.loads(line) for line in report.rows.read_text(encoding="utf-8").splitlines()]
        assert [row["index"] for row in rows] == [0, 1]
        assert [row["input"]["id"] for row in rows] == [0, 1]
        assert all(row["error"] is None and set(row["output"]) >= {"entities", "classification"} for row in rows)
        metrics = json.loads(report.metrics_file.read_text(encoding="utf-8"))
        assert (metrics["items"], metrics["failed"], metrics["calls"], metrics["layout"]) == (2, 0, 6, False)
        assert metrics["hit_rate"] == pytest.approx(metrics["cached_tokens"] / metrics["prompt_tokens"])
        assert metrics["latency_s"]["p95"] >= metrics["ttft_s"]["p50"] > 0
    assert documents.baseline.metrics.warmup_tokens == 0
    assert documents.optimized.metrics.warmup_tokens


def test_predicted_and_measured_hit_rate_agree_where_outputs_feed_prompts(documents: SideBySide) -> None:
    check_prediction(documents.baseline)
    check_prediction(documents.optimized)


def test_both_modes_sent_the_same_prompts(documents: SideBySide) -> None:
    assert documents.comparison.compared
    assert documents.comparison.different_prompts == ()


def test_exact_passes_change_neither_prompts_nor_the_outputs_of_a_reproducible_engine(tmp_path: Path) -> None:
    request = make_request(tmp_path, "delta_processor.py:DeltaProcessor.process", first_rows("companies.jsonl", 2))
    options = TargetOptions(fresh_server=True, engine=replace(ENGINE, reproducible=True))
    runs = run_side_by_side(replace(request, target_options=options), tmp_path)
    check_prediction(runs.baseline)
    check_prediction(runs.optimized)
    assert runs.comparison.compared == 2
    assert runs.comparison.different_prompts == ()
    assert runs.comparison.different_outputs == ()
    assert runs.comparison.not_compared == 0


def test_stages_with_handbooks_are_run_in_step_where_the_cache_holds_one(tmp_path: Path) -> None:
    request = make_request(tmp_path, "question_desk.py:QuestionDesk.handle", first_rows("report_questions.jsonl", 3))
    small = replace(ENGINE, capacity_blocks=20)
    report = measured_run(replace(request, target_options=TargetOptions(fresh_server=True, engine=small)))
    assert report.plan is not None
    assert not report.plan.warms, "a handbook that is warmed is gone before its stage begins"
    assert report.metrics.warmup_tokens == 0
    check_prediction(report)
    assert report.metrics.hit_rate is not None
    assert report.metrics.hit_rate > 0.4


class _Killer(RunObserver):
    """Kills the server once the first item has finished."""

    def __init__(self) -> None:
        self.pid = 0

    def progress(self, tally: Tally) -> None:
        if tally.items == 1 and self.pid:
            os.kill(self.pid, signal.SIGKILL)
            self.pid = 0


def test_a_server_that_dies_in_mid_run_is_one_line_and_finished_rows_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from charter_compiler.executor import targets

    killer = _Killer()
    start = targets.start_server

    def start_and_note(options: Any) -> Any:
        server = start(options)
        killer.pid = server.pid
        return server

    monkeypatch.setattr(targets, "start_server", start_and_note)
    request = one_call(tmp_path, [{"text": text} for text in ("Hello", "Good day", "Farewell")])
    request = replace(request, options=replace(request.options, concurrency=1))
    report = measured_run(request, killer)
    assert isinstance(report.stopped, TargetUnavailableError)
    assert "ended in mid-run" in str(report.stopped)
    assert "\n" not in str(report.stopped)
    rows = [json.loads(line) for line in report.rows.read_text(encoding="utf-8").splitlines()]
    assert [(row["index"], row["error"]) for row in rows] == [(0, None)]
    resumed = measured_run(replace(request, resume=True))
    assert resumed.stopped is None
    assert resumed.metrics.items == 3
    assert resumed.metrics.calls == 3, "the finished item was not repeated"


def test_a_prompt_longer_than_the_context_fails_its_item_alone(tmp_path: Path) -> None:
    report = measured_run(one_call(tmp_path, [{"text": "Hello"}, {"text": "word " * 3000}, {"text": "Good day"}]))
    assert report.metrics.failed == 1
    assert report.first_error is not None
    index, error = report.first_error
    assert (index, error.type, error.line) == (1, "ContextLengthError", 2)
    assert report.prediction is not None
    assert report.prediction.refused is not None
    written = [json.loads(line) for line in report.rows.read_text(encoding="utf-8").splitlines()]
    assert [row["error"] is None for row in written] == [True, False, True]


def test_a_server_that_was_started_by_hand_is_found_used_and_left_running(
    tmp_path: Path, embedded_server: ServerHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    from charter_compiler.executor import targets

    monkeypatch.setattr(find_here, "__defaults__", (embedded_server.grpc_url,))
    monkeypatch.setattr(targets, "start_server", lambda _options: pytest.fail("another server was started"))
    request = replace(one_call(tmp_path, [{"text": "The capital of France is"}]), target_options=TargetOptions())
    report = measured_run(request)
    assert report.metrics.failed == 0
    assert report.metrics.prompt_tokens == len(default_tokenizer().encode("The capital of France is"))
    assert report.notes == (WARM_SERVER,)
    assert embedded_server.wait(0) is None
    assert find_here() is not None

    block_size = 2 * embedded_server.options.engine.tokens_per_block
    tokenizer = default_tokenizer()
    foreign = plan_entry(
        request.entry,
        analyse(calls_of_entry(request.entry), tokenizer, block_size),
        target="local",
        model=embedded_server.options.model_name,
        tokenizer=tokenizer,
        block_size=block_size,
        capacity_blocks=None,
    )
    with pytest.raises(PlanError, match=f"the plan is for blocks of {block_size} tokens"):
        measured_run(replace(request, plan=foreign))


def test_a_laid_out_run_reuses_what_was_predicted_and_the_gate_compares_its_outputs(tmp_path: Path) -> None:
    """Measured within one point of predicted, on the real server; and the same two runs through the gate."""
    request = make_request(tmp_path, "delta_processor.py:DeltaProcessor.process", first_rows("companies.jsonl", 3))
    report = measured_run(replace(request, layout=True))
    assert report.metrics.layout
    assert report.prediction is not None
    assert report.metrics.hit_rate == pytest.approx(report.prediction.hit_rate, abs=0.01)
    assert report.metrics.hit_rate is not None
    assert report.metrics.hit_rate > 0.5
    assert not [note for note in report.notes if "sent as written" in note]
    checked = check_layout(request, GateOptions(1, "similarity", 0.0), tmp_path / "gate")
    assert 0 <= checked.score <= 1
    assert checked.passed
    with pytest.raises(LayoutRefusedError, match="changes the outputs too much"):
        require(replace(checked, threshold=1.01))
