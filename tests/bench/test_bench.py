"""`charter bench`: sessions on the simulated engine, what follows of their rows, and a short run on real servers."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from charter_compiler.bench.arms import BASELINES, EXACT, LAYOUT, NO_CACHE, PREFILL, UNWARMED, chosen_arms
from charter_compiler.bench.cases import Case, Table, all_tables
from charter_compiler.bench.engines import Simulated
from charter_compiler.bench.rows import RUN, SEARCH, SESSION, Row, read_rows
from charter_compiler.bench.session import in_turn, run_table
from charter_compiler.bench.show import arm_lines, failure_lines, finding_lines
from charter_compiler.bench.summary import fastest, summarize
from charter_compiler.bench.workloads import example_agents, make_rows
from charter_compiler.cli.main import main
from charter_compiler.diagnostics.errors import UsageError
from charter_compiler.executor.targets import TargetOptions
from charter_compiler.serve.engine.interface import EngineConfig
from charter_compiler.tokens.tokenizer import default_tokenizer

ROOT = Path(__file__).parents[2]


class Unswitched(Simulated):
    """The simulated engine, its cache on where it ought to be off: for what a session does, not for its figures."""

    timed = True

    def cold(self, config: EngineConfig) -> AbstractContextManager[tuple[str, TargetOptions]]:
        return super().cold(replace(config, enable_block_reuse=True))


def chain(**changes: Any) -> Table:
    """Three dependent calls on each of two short documents."""
    case = Case("short", example_agents()["document_processor"], 2, max_tokens=4, text_tokens=64)
    return Table("chain", "", (replace(case, **changes),), (*BASELINES, UNWARMED))


def session(folder: Path, table: Table, rounds: int = 1, earlier: list[Row] | None = None) -> list[Row]:
    return list(run_table(table, rounds, Unswitched(), folder, earlier or []))


def test_a_session_runs_every_arm_in_turn_and_goes_on_with_its_file(tmp_path: Path) -> None:
    rows = session(tmp_path, chain())
    facts, *made = rows
    assert (facts["kind"], facts["seed"], facts["table"]) == (SESSION, 0, "chain")
    assert facts["environment"]["Python"]
    assert facts["tokenizer"] == default_tokenizer().fingerprint
    assert [row for row in made if "error" in row] == []
    searched = [row for row in made if row["kind"] == SEARCH]
    assert [row["in_flight"] for row in searched] == [1, 2]
    runs = [row for row in made if row["kind"] == RUN and row["arm"] != "tuned"]  # it may equal the agent as written
    order = ["no-cache", "prefill", "as-written", "exact", "unwarmed", "layout"]
    assert [row["arm"] for row in runs] == order
    prefill, layout = runs[1], runs[5]
    assert (prefill["metrics"]["calls"], prefill["metrics"]["output_tokens"]) == (6, 6)
    assert prefill["metrics"]["prompt_tokens"] == runs[0]["metrics"]["prompt_tokens"]
    assert layout["metrics"]["hit_rate"] > runs[2]["metrics"]["hit_rate"] > 0
    assert [stage["calls"] for stage in layout["stages"]] == [2, 2, 2]
    assert layout["setting"]["agent"] == "document_processor"

    more = session(tmp_path, chain(), earlier=rows)
    assert [row for row in more if row["kind"] == SEARCH] == []
    again = [row for row in more if row["kind"] == RUN and row["arm"] != "tuned"]
    assert [row["arm"] for row in again] == order[2:] + order[:2]
    assert {row["round"] for row in again} == {2}
    (case,) = summarize([*rows, *more])
    assert sorted(case.of("layout")) == [1, 2]
    assert len(list(finding_lines(case))) >= 6
    assert [cells[0] for cells in arm_lines(case)][-1] == "bound"


def test_rows_that_were_measured_otherwise_are_not_gone_on_with(tmp_path: Path) -> None:
    row = {"kind": SEARCH, "table": "chain", "case": "short", "engine": "vllm", "in_flight": 1}
    with pytest.raises(UsageError, match="'short' with another engine"):
        session(tmp_path, chain(), earlier=[row])


def test_rows_of_another_machine_are_not_gone_on_with(tmp_path: Path) -> None:
    row = {"kind": SESSION, "environment": {"processor": "abacus", "cores": "1"}}
    with pytest.raises(UsageError, match="processor abacus"):
        session(tmp_path, chain(), earlier=[row])


def test_a_run_that_fails_is_a_row(tmp_path: Path) -> None:
    rows = session(tmp_path, chain(blocks=2))
    runs = [row for row in rows if row["kind"] == RUN]
    assert {row["arm"] for row in runs} >= {"no-cache", "prefill", "exact", "unwarmed"}
    assert all("error" in row for row in runs)
    assert next(row for row in runs if row["arm"] == "prefill")["error"] == "the run of no-cache failed"
    (case,) = summarize(rows)
    assert case.arms == ()
    assert len(list(failure_lines(case))) == len(rows) - 1


def row_of(arm: str, wall: float, rate: float = 0.0, number: int = 1) -> Row:
    metrics = {
        "wall_s": wall, "items": 2, "hit_rate": rate, "attainable_hit_rate": 0.8,
        "ttft_s": {"p50": wall / 4, "p95": wall / 3}, "latency_s": {"p50": wall / 2},
    }  # fmt: skip
    of = {"kind": RUN, "table": "t", "case": "c", "round": number, "arm": arm, "in_flight": 2, "timed": True}
    return of | {"metrics": metrics, "stages": [{"ttft_p50_s": 1.0}, {"ttft_p50_s": wall / 10}], "peak_used_blocks": 10}


def test_the_bound_and_what_was_gained_of_it() -> None:
    rows = [row_of("no-cache", 100), row_of("prefill", 90), row_of("as-written", 78), row_of("layout", 33, 0.76)]
    (case,) = summarize([*rows, row_of("layout", 30, 0.8, number=2)])
    assert case.bound is not None
    assert case.bound.values == pytest.approx((100 - 90 * 0.8,))
    assert case.gain_share is not None
    assert case.gain_share.values == pytest.approx(((78 - 33) / (78 - 28),))
    reached = case.reached("layout")
    assert reached is not None
    assert reached.values == pytest.approx((0.95, 1.0))
    assert reached.off == pytest.approx(0.025 / 0.975)
    assert "90.0% of the gain that the bound allows, in the 1 of 2 rounds that have a bound" in list(
        finding_lines(case)
    )
    assert case.of("tuned") == {}, "there was no search"


def test_the_fastest_concurrency_is_the_one_that_was_searched() -> None:
    rows = [row_of("as-written", wall) | {"in_flight": size} for wall, size in ((9.0, 1), (7.0, 3), (8.0, 2))]
    assert fastest(rows) == 3
    assert fastest([rows[0] | {"error": "x"}]) is None


def test_a_tuned_run_that_failed_is_not_taken_for_the_agent_as_written() -> None:
    searched = [row_of("as-written", wall) | {"kind": SEARCH, "in_flight": size} for wall, size in ((50, 1), (100, 2))]
    runs = [row_of("as-written", 100), row_of("tuned", 50) | {"error": "x"}, row_of("layout", 40)]
    (case,) = summarize([*searched, *runs])
    assert case.of("tuned") == {}
    assert not [line for line in finding_lines(case) if "strongest plain" in line]
    (case,) = summarize([searched[1], *runs])
    assert case.of("tuned") == case.of("as-written"), "all at once was the fastest"


def test_each_round_begins_with_another_arm() -> None:
    orders = [[arm.name for arm in in_turn((NO_CACHE, PREFILL, EXACT, LAYOUT), number)] for number in (1, 2, 3, 4)]
    assert orders[1] == ["exact", "layout", "no-cache", "prefill"]
    assert orders[2] == ["layout", "no-cache", "prefill", "exact"]
    assert orders[3] == orders[0]
    with pytest.raises(UsageError, match="follows a run of 'exact'"):
        chosen_arms(["unwarmed", "layout"])


def test_texts_have_the_length_that_is_asked_for() -> None:
    tokenizer, agents = default_tokenizer(), example_agents()
    rows = make_rows(agents["document_processor"], 3, 1500, tokenizer)
    assert len({row["document"] for row in rows}) == 3
    assert all(abs(len(tokenizer.encode(row["document"])) - 1500) <= 2 for row in rows)
    shared = make_rows(agents["document_qa"], 3, 300, tokenizer)
    assert len({row["document"] for row in shared}) == 1
    assert len({row["question"] for row in shared}) == 3
    with pytest.raises(UsageError, match="not enough text"):
        make_rows(agents["document_processor"], 60, 4000, tokenizer)


def test_the_agents_are_all_the_examples() -> None:
    agents = example_agents()
    files = {Path(agent.entry.rpartition(":")[0]).name for agent in agents.values()}
    assert files == {path.name for path in (ROOT / "examples" / "agents").glob("*.py")}
    assert all(Path(agent.inputs).is_file() for agent in agents.values())
    assert {case.agent.name for table in all_tables().values() for case in table.cases} <= set(agents)


def test_what_cannot_be_run_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    agent = tmp_path / "agent.py"
    agent.write_text("import socket\n\ndef ask(text, llm):\n    return llm.generate(text)\n", encoding="utf-8")
    inputs = tmp_path / "in.jsonl"
    inputs.write_text('{"text": "a"}\n', encoding="utf-8")
    for arguments, message in (
        (["nothing"], "there is no table 'nothing'"),
        ([f"{agent}:ask"], "an agent needs inputs"),
        ([f"{agent}:ask", "--inputs", str(inputs)], "imports socket"),
        (["chain", "--cases", "none such"], "no case has such a label"),
    ):
        assert main(["bench", *arguments]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.server
def test_the_short_table_on_real_servers(tmp_path: Path, capsys: pytest.CaptureFixture[str], model_path: Path) -> None:
    output = tmp_path / "rows.jsonl"
    assert main(["bench", "--short", "--arms", "no-cache", "layout", "-o", str(output)]) == 0
    facts, no_cache, layout = read_rows(output)
    assert facts["engine"] == "embedded"
    assert no_cache["metrics"]["hit_rate"] == 0
    assert layout["metrics"]["hit_rate"] == layout["metrics"]["attainable_hit_rate"] > 0.3
    assert 0 < layout["peak_used_blocks"] <= layout["capacity_blocks"]
    assert json.loads(output.read_text(encoding="utf-8").splitlines()[1]) == no_cache
    assert "less time an item than without a cache" in capsys.readouterr().out
