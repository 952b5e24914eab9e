"""How cases are judged, and the files that say so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from charter_compiler.deploy import benchmark_report, benchmarks, commands, suite
from charter_compiler.deploy.benchmark_report import medians, to_html
from charter_compiler.deploy.benchmarks import BenchmarkResult, Row
from charter_compiler.deploy.connect import Server
from charter_compiler.deploy.prepopulation import Prepopulated
from charter_compiler.deploy.results import CaseResult, Check, Status, SuiteResult, to_json, to_junit
from charter_compiler.deploy.settings import AgentCase, CaseThresholds, Connection, Settings
from charter_compiler.deploy.workload import COMPANIES, marked_rows, prose
from charter_compiler.diagnostics.errors import TargetUnavailableError
from charter_compiler.executor.metrics import Percentiles
from charter_compiler.executor.types import GenerationResult, TargetFacts

ROOT = Path(__file__).parents[2]
GPU = Server(Connection(), "ensemble", "2.63", TargetFacts("triton://h:1/ensemble", "ensemble"), 32, None)
EMBEDDED = replace(GPU, facts=replace(GPU.facts, embedded=True))
THRESHOLDS = CaseThresholds(min_hit_rate=0.8, max_ttft_p95_s=0.1, min_ttft_speedup=2.0)


def warmed(cached: int | None, ttft: float | None = 0.05) -> Prepopulated:
    result = GenerationResult("x", 0.2, ttft, 700, cached, 1)
    return Prepopulated(7, 640, 0, 0.4, (result, result))


def verdicts(found: Prepopulated, server: Server) -> list[bool | None]:
    return [check.passed for check in suite.judge_prepopulation(found, THRESHOLDS, server)[0]]


def test_rates_and_times_are_judged_against_the_thresholds() -> None:
    assert verdicts(warmed(608), GPU) == [True, True, True, True, True]
    assert verdicts(warmed(320), GPU) == [True, True, False, True, True]
    assert verdicts(warmed(608, ttft=0.3), GPU) == [True, True, True, False, False]


def test_what_a_server_does_not_report_fails_and_is_not_guessed() -> None:
    assert verdicts(warmed(None, ttft=None), GPU) == [True, False, False, False, False]


@pytest.mark.parametrize(("missed", "verdict"), [(2, True), (8, False)])
def test_a_server_that_counts_blocks_alone_is_judged_by_them(missed: int, verdict: bool) -> None:
    details = {"kv_cache_reused_block": 12, "kv_cache_missed_block": missed}
    result = GenerationResult("x", 0.2, 0.05, None, None, 1, details=details)
    checks, figures = suite.judge_prepopulation(Prepopulated(7, None, 0, 0.4, (result,)), THRESHOLDS, GPU)
    assert [check.passed for check in checks] == [True, True, verdict, True, True]
    assert checks[2].name == "block hit rate of the warmed prefix"
    assert figures["unit"] == "blocks"


@pytest.mark.parametrize(("cold", "reused", "verdict"), [(1, 12, True), (2, 12, False), (1, 1, False)])
def test_a_common_first_token_is_neither_a_warm_cold_call_nor_a_hit(cold: int, reused: int, verdict: bool) -> None:
    """The llmapi profile reuses parts of blocks: prompts begin with the same token, of which it reports a block."""
    details = {"kv_cache_reused_block": reused, "kv_cache_missed_block": 14 - reused}
    result = GenerationResult("x", 0.2, 0.05, None, None, 1, details=details)
    checks, _ = suite.judge_prepopulation(Prepopulated(7, None, cold, 0.4, (result,)), THRESHOLDS, GPU)
    assert [check.passed for check in checks[:2]] == [cold == 1, reused == 12]
    assert all(check.passed for check in checks) is verdict
    by_tokens = replace(warmed(reused * 50), cold_reused=(cold - 1) * 32 + 1)
    assert all(verdicts(by_tokens, GPU)) is verdict


def test_what_is_missing_for_the_attainable_share_is_said() -> None:
    class Metrics:
        attainable_hit_rate, prompt_tokens, hit_rate, failed = 0.5, None, None, 0
        ttft_s = latency_s = Percentiles.of([])

        def __getattr__(self, name: str) -> None:
            return None

    for tokens, said in ((None, "the server reports no prompt tokens"), (700, "needs a tokenizer")):
        metrics = Metrics()
        metrics.prompt_tokens = tokens  # type: ignore[assignment]
        report: Any = SimpleNamespace(metrics=metrics, recording=None, first_error=None)
        checks, _ = suite.judge_run(report, CaseThresholds(min_share_of_attainable=0.8), GPU)
        assert [(check.passed, check.note) for check in checks[1:]] == [(None, said)]


def test_each_mode_of_the_cache_benchmark_is_once_the_first_after_a_warm_up_that_is_not_counted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ran: list[tuple[str, int, bool]] = []

    def run(server: Server, example: object, case: AgentCase, how: object, folder: Path) -> Any:
        ran.append((folder.name, case.items, folder.parent.name == "warm-up"))
        metrics = SimpleNamespace(ttft_s=Percentiles.of([]), latency_s=Percentiles.of([]), wall_s=1.0, items=1)
        for name in ("calls", "prompt_tokens", "cached_tokens", "hit_rate", "attainable_hit_rate"):
            setattr(metrics, name, None)
        metrics.predicted_hit_rate = metrics.output_tokens = None
        return SimpleNamespace(first_error=None, metrics=metrics, recording=tmp_path)

    monkeypatch.setattr(benchmarks, "run_example", run)
    monkeypatch.setattr(benchmarks, "recorded_block_rate", lambda recording: None)
    result = benchmarks.run_benchmark(Settings(), GPU, ("cache",), 3, tmp_path)
    assert len(result.rows) == 9
    assert [items for _, items, warm in ran if warm] == [1, 1, 1]
    assert [warm for *_, warm in ran] == [True] * 3 + [False] * 9
    assert [ran[at][0] for at in (3, 6, 9)] == ["no-reuse", "engine-cache", "Charter"]


def test_a_server_that_is_starting_is_waited_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[str] = []

    def starting(settings: Settings) -> Server:
        asked.append(settings.connection.url)
        if len(asked) < 3:
            raise TargetUnavailableError("not yet")
        return GPU

    monkeypatch.setattr(commands, "connect", starting)
    monkeypatch.setattr(commands, "POLL", 0.0)
    monkeypatch.setattr(commands, "run_benchmark", lambda *_: BenchmarkResult("t", "s", "now", 1, (), {}, ()))
    monkeypatch.setattr(benchmark_report, "tables", lambda result: [])
    monkeypatch.setattr(benchmark_report, "to_html", lambda result: "")
    arguments = ["--config", str(ROOT / "configs" / "lambda_labs.yaml"), "--benchmark", "prefix", "-o", str(tmp_path)]
    assert commands.run_benchmarks([*arguments, "--wait", "60"]) == 0
    assert len(asked) == 4, "twice while it started, then ready, then for the run"
    asked.clear()
    assert commands.run_benchmarks(arguments) == 1, "at once"


def test_the_settings_are_found_from_any_folder(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "run_lambda_tests.py"), "--url", "127.0.0.1:1", "--only", "health"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    assert "ERROR health" in done.stdout, done.stderr


def test_times_of_the_embedded_server_are_shown_and_not_judged() -> None:
    assert verdicts(warmed(608, ttft=3.0), EMBEDDED) == [True, True, True, None, None]


CASES = (
    CaseResult("health", 0.5, (Check("ready", True, "true", True),), {"blocks": 32, "unknown": None}),
    CaseResult(
        "slow", 1.25, (Check("a", 0.1234567, "at most 0.1", False, "<&>"), Check("b", 1, "1", None)), {"a": 0.1}
    ),
    CaseResult("broken", 0.25, problem="nothing <answers> there"),
    CaseResult("left", 0.0, problem="the server is not healthy", skipped=True),
)
RESULT = SuiteResult("triton://h:1/ensemble", "TensorRT-LLM", "2026-11-25T12:00:00+00:00", CASES, (("cores", "2"),))


def test_a_suite_passes_only_if_every_case_was_carried_out_and_passed() -> None:
    assert [case.status for case in CASES] == [Status.PASSED, Status.FAILED, Status.ERROR, Status.SKIPPED]
    assert not RESULT.passed
    assert replace(RESULT, cases=CASES[:1]).passed
    assert not replace(RESULT, cases=(CASES[0], CASES[3])).passed


def test_junit_and_json_say_the_same() -> None:
    element = ET.fromstring(to_junit(RESULT)).find("testsuite")
    assert element is not None
    assert {name: element.attrib[name] for name in ("tests", "failures", "errors", "skipped", "time")} == {
        "tests": "4", "failures": "1", "errors": "1", "skipped": "1", "time": "2.000"
    }  # fmt: skip
    cases = {case.attrib["name"]: case for case in element.findall("testcase")}
    failure = cases["slow"].find("failure")
    assert failure is not None
    assert failure.attrib["message"] == "a: 0.1235, required at most 0.1: FAILED (<&>)"
    assert cases["broken"].find("error") is not None
    assert cases["left"].find("skipped") is not None
    written = json.loads(to_json(RESULT))
    assert [case["status"] for case in written["cases"]] == ["passed", "failed", "error", "skipped"]
    assert written["cases"][1]["checks"][0]["measured"] == 0.1234567
    assert written["environment"] == {"cores": "2"}


def test_without_a_server_the_cases_are_skipped_and_the_exit_code_says_so(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    settings = tmp_path / "c.yaml"
    settings.write_text("connection: {url: '127.0.0.1:1', http_url: null, metrics_url: null}")
    assert commands.run_tests(["--config", str(settings)]) == 1
    said = capsys.readouterr().out
    assert "ERROR health" in said
    assert "lambda_tunnel.sh status" in said
    assert said.count("SKIPPED") == 3
    assert commands.run_benchmarks(["--config", str(settings)]) == 1
    assert commands.run_tests(["--config", str(tmp_path / "none")]) == 1
    assert "there is no such file" in capsys.readouterr().err


def test_medians_are_of_the_iterations_and_unknown_stays_unknown() -> None:
    rows = [
        {"benchmark": "prefix", "iteration": n, "words": words, "warm_ttft_s": n * 1.0, "hit_rate": rate}
        for n, rate in ((1, 0.5), (2, None), (9, 0.7))
        for words in (40, 80)
    ]
    assert medians(rows, "words") == (
        {"words": 40, "warm_ttft_s": 2.0, "hit_rate": None},
        {"words": 80, "warm_ttft_s": 2.0, "hit_rate": None},
    )


def test_the_page_escapes_what_comes_from_the_server() -> None:
    row: Row = {
        "benchmark": "prefix",
        "iteration": 1,
        "words": 40,
        "cold_ttft_s": 1.0,
        "warm_ttft_s": 0.5,
        "hit_rate": 0.9,
        "block_hit_rate": None,
    }
    result = BenchmarkResult("t", "<script>x</script>", "now", 1, (row,), {"nv_<b>": 1.0}, ())
    page = to_html(result)
    assert "<script>" not in page
    assert "nv_&lt;b&gt;" in page
    assert "500 ms" in page


def test_texts_of_a_run_are_its_own_and_as_long_as_asked_for() -> None:
    one, other = prose(40, own=True), prose(40, own=True)
    assert len(one.split()) == len(other.split()) == 40
    assert one.split()[0] != other.split()[0]
    assert one.split()[1:] == other.split()[1:]
    rows = marked_rows(COMPANIES, AgentCase(items=3), "m")
    assert [row["company"][:7] for row in rows] == ["(m-0) A", "(m-1) M", "(m-2) A"]
