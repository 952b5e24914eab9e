"""The benchmark scripts: what they compute, and that they run on the real server."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


def load(folder: str, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / folder / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_predicted_and_measured_rates_is_what_the_results_say() -> None:
    table = load("prediction", "table")
    rows = table.read(table.RESULTS)
    page = table.PAGE.read_text(encoding="utf-8")
    assert page == table.page(rows), "run: python benchmarks/prediction/table.py > docs/predicted-and-measured.md"
    outside = [row for row in rows if abs(table.difference(row)) > table.allowed(row)]
    assert page.count("**(outside)**") == len(outside)


def in_folder(monkeypatch: pytest.MonkeyPatch, folder: str, name: str) -> ModuleType:
    """A script that imports its neighbours, as Python sees it when it is started."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks" / folder))
    return load(folder, name)


def test_the_page_of_benchmarks_is_what_the_raw_data_say(monkeypatch: pytest.MonkeyPatch) -> None:
    page = in_folder(monkeypatch, "page", "page")
    text = page.PAGE.read_text(encoding="utf-8")
    assert text == page.page(), "run: make benchmarks-page"
    missing = [name for name in page.raw_files() if f"(benchmarks/{name})" not in text]
    assert missing == []


def test_the_rows_of_a_gpu_as_tables() -> None:
    summary = load("gpu", "summary")
    rows: list[dict[str, object]] = [{"part": "conditions"}, {"part": "agents", "error": "ValueError: no"}]
    rows += [
        {"part": "ttft", "kind": kind, "prefix_tokens": 64, "warm_up": first, "ttft_s": time, "cached_tokens": cached}
        for kind, first, time, cached in (
            ("cold", True, 9.0, 0), ("warm", True, 9.0, 64), ("cold", False, 0.2, 0), ("warm", False, 0.1, 64),
        )
    ]  # fmt: skip
    assert summary.ttft_lines(rows) == [(64, "2.00", "200.0", "100.0", "64", 1)]
    for arm, wall, rate in (("as_written", 4.0, 0.1), ("charter_layout", 2.0, 0.6)):
        stages = {"call": {"ttft_s": 9.0}, "extract": {"ttft_s": 0.05}}
        row = {"part": "agents", "case": "long_documents", "arm": arm, "round": 0, "wall_s": wall, "hit_rate": rate}
        rows.append(row | {"stages": stages, "restarts": 0, "first_cached": int(arm == "as_written")})
    _, laid_out = summary.agent_lines(rows)
    assert laid_out == ("long documents", "charter layout", "2.00 (2.00 to 2.00)", "60.0%", "", "2.00", "50.0", 1, 0)
    shown = summary.text(rows)
    assert "FAILED agents: ValueError: no" in shown
    assert "NOT COLD long_documents as_written 0: 1" in shown


def test_the_time_for_a_gpu_runs_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    raw_rows = in_folder(monkeypatch, "gpu", "raw_rows")
    clock = iter([0.0, 5.0, 6.0])
    budget = raw_rows.Budget(10.0, now=lambda: next(clock))
    assert budget.allows(4.0)
    assert not budget.allows(4.0)
    rows = raw_rows.Rows(tmp_path / "rows.jsonl")
    rows.guarded("a part", lambda: {}["missing"])
    assert json.loads((tmp_path / "rows.jsonl").read_text()) == {"part": "a part", "error": "KeyError: 'missing'"}


def test_the_compiler_is_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    measure = in_folder(monkeypatch, "compiler", "measure")
    output = tmp_path / "out.jsonl"
    assert measure.main(["--rounds", "1", "--short", "-o", str(output)]) == 0
    conditions, *rows = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    assert conditions["seed"] == measure.SEED
    assert [row for row in rows if "error" in row] == []
    (parsed,) = [row for row in rows if (row["benchmark"], row["case"]) == ("front end", "project40")]
    assert (parsed["files"], parsed["calls"], parsed["failed_files"]) == (41, 40, 0)
    assert {row["calls"] for row in rows if row["benchmark"] == "scheduler"} == {150}


@pytest.fixture(scope="module")
def flips() -> ModuleType:
    return load("determinism", "flips")


@pytest.mark.parametrize(
    ("cold", "warm", "place"),
    [([1, 2, 3], [1, 2, 3], None), ([1, 2, 3], [1, 9, 3], 1), ([1, 2], [1, 2, 3], 2), ([], [4], 0)],
)
def test_the_first_difference(flips: ModuleType, cold: list[int], warm: list[int], place: int | None) -> None:
    pair = flips.Pair(0, 100, flips.Answer(0, cold), flips.Answer(3, warm))
    assert pair.first_difference == place


def test_the_summary_counts_pairs(flips: ModuleType) -> None:
    same = flips.Pair(0, 100, flips.Answer(0, [1]), flips.Answer(3, [1]))
    other = flips.Pair(1, 100, flips.Answer(0, [1, 2]), flips.Answer(3, [1, 3]))
    expected = "differ: 1 of 4 (25%); first differing output token, from 0: [1]"
    assert flips.summary([same, other, same, same]).endswith(expected)
    assert flips.summary([same]).endswith("differ: 0 of 1 (0%)")
    assert flips.summary([]) == "no documents"


@pytest.mark.server
def test_flips_are_measured_cold_and_warm(
    flips: ModuleType, model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    document = "Clocks, maps and bridges are told apart by what they measure. " * 4
    inputs.write_text(f"{json.dumps({'document': document})}\n" * 2, encoding="utf-8")
    assert flips.main(["--inputs", str(inputs), "-o", str(output), "--max-tokens", "3", "--documents", "2"]) == 0
    conditions, *pairs = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    assert conditions["commit"]
    assert conditions["environment"]["xllamacpp"]
    assert [pair["index"] for pair in pairs] == [0, 1]
    for pair in pairs:
        assert pair["cold"]["reused_blocks"] == 0
        assert pair["warm"]["reused_blocks"] == (pair["prompt_tokens"] - 1) // conditions["engine"]["tokens_per_block"]
        assert len(pair["cold"]["output_ids"]) == len(pair["warm"]["output_ids"]) == 3
    assert " of 2 (" in capsys.readouterr().out


async def test_a_replica_behind_http_counts_what_a_plain_client_sends(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = in_folder(monkeypatch, "peers", "worker")
    client = load("peers", "client")
    agent = ROOT / "benchmarks" / "endpoints" / "document_desk.py"
    document = "Clocks, maps and bridges are told apart by what they measure. " * 4
    rows = [{"run": "one", "document": document, "question": question} for question in ("Which?", "Why?")]
    async with worker.serving_worker("sim://trtllm?blocks=64&block_size=16&context=512") as replica:
        outcome = await asyncio.to_thread(client.send_all, replica.url, agent, rows, 1, 16, None)
        counts = await replica.counts()
        lost = await asyncio.to_thread(client.send_all, f"{replica.url}/nowhere", agent, rows, 1, 16, None)
    assert (outcome.items, outcome.failed, outcome.answered, dict(outcome.refused)) == (2, 0, 6, {})
    assert (counts.calls, counts.prompt_tokens) == (6, outcome.prompt_tokens)
    assert 0 < counts.cached_tokens == outcome.attainable_tokens, "one at a time, with room for everything"
    assert (lost.failed, lost.answered, dict(lost.refused)) == (2, 0, {"404": 2})


def test_an_arm_that_does_not_start_is_on_the_page_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    sections = in_folder(monkeypatch, "page", "routing_sections")
    router = {"version": "0", "defaults": {"policy": "cache_aware"}}
    arm = {"router": "sglang-router", "arm": "random", "arguments": ["--policy", "random"]}
    run = {"measured": 0.25, "attainable": 0.5, "imbalance": 0.1, "failed": 1, "answered": 3, "refused": {"503": 2}}
    lost = {"router": "sglang-router", "arm": "manual", "error": "it did not start"}
    text = sections.routing([{"sglang_router": router}, {"round": 0, **arm, **run}, {"round": 0, **lost}])
    assert "| sglang-router | manual | it did not start | 1 |" in text
    assert "| sglang-router | random | `--policy random` | 1 | 25.0% | 50.0% | 10.0% | 1 | 3 | 2 |" in text
