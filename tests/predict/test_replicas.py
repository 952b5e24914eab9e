"""The plan of replicas: which rows go where, what is simulated of them, and which count is chosen."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charter_compiler.api.calibration import calibration_path
from charter_compiler.api.replica_planning import PreparedRun, ReplicaRequest, choose, plan_replicas, prepare
from charter_compiler.cli.main import main
from charter_compiler.diagnostics.errors import AgentError, InputsError, UsageError
from charter_compiler.predict.cost_model import Calibration, Check
from charter_compiler.predict.replicas import STRETCHES, ReplicaCount, counts_to_simulate, plan_counts, simulate_stretch
from charter_compiler.predict.row_index import index_rows
from charter_compiler.predict.sharding import BUCKETS, cut, share_out
from charter_compiler.serve.engine.costs import Costs
from charter_compiler.tokens.models import DEFAULT_MODEL

AGENT = """
def answer(company, question, llm):
    first = llm.generate(company + " A question: " + question, max_tokens=4)
    return llm.generate(company + " Say it in short: " + first, max_tokens=4)
"""


def write_rows(folder: Path, companies: int, items: int) -> Path:
    path = folder / "rows.jsonl"
    texts = [f"Company {n} makes machines, sells them, and mends them. " * 4 for n in range(companies)]
    rows = [{"company": texts[n % companies], "question": f"number {n:04}?"} for n in range(items)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def request_(tmp_path: Path) -> ReplicaRequest:
    (tmp_path / "agent.py").write_text(AGENT, encoding="utf-8")
    return ReplicaRequest(
        f"{tmp_path / 'agent.py'}:answer", write_rows(tmp_path, 6, 60), 4, target="sim://trtllm?block_size=16", window=5
    )


def counts(run: PreparedRun, most: int, window: int) -> list[ReplicaCount]:
    return plan_counts(run.pieces, run.weights, most, window, run.simulation, run.tracer.trace)


def test_rows_are_found_again_and_grouped_by_values(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1, "b": 2}\n\n{"a": 1, "b": 3}\n{"b": 4, "a": "é"}', encoding="utf-8")
    index = index_rows(path, ["a"])
    assert (len(index), list(index.lines)) == (3, [1, 3, 4])
    assert index.groups[0] == index.groups[1] != index.groups[2]
    assert [(row.index, row.line, row.values) for row in index.rows([2, 1])] == [
        (2, 4, {"b": 4, "a": "é"}),
        (1, 3, {"a": 1, "b": 3}),
    ]
    assert not index_rows(path).groups.any()
    assert len(index_rows(path, limit=2)) == 2
    path.write_text("{}\n{\n", encoding="utf-8")
    assert len(index_rows(path)) == 2, "nothing asked for their values"
    with pytest.raises(InputsError, match=r"rows\.jsonl:2: not JSON"):
        index_rows(path, ["a"])


@pytest.mark.parametrize(("companies", "items"), [(7, 500), (1, 100), (BUCKETS + 900, BUCKETS + 1000)])
def test_pieces_hold_every_row_once_with_its_group_together(tmp_path: Path, companies: int, items: int) -> None:
    index = index_rows(write_rows(tmp_path, companies, items), ["company"])
    weights = np.linspace(1, 3, items)
    pieces = cut(index.groups, weights, most_replicas=4)
    assert sorted(pieces.order) == list(range(items))
    assert pieces.bounds[0] == 0
    assert pieces.bounds[-1] == items
    assert np.allclose(pieces.weights, [weights[pieces.stream([n])].sum() for n in range(len(pieces.weights))])
    assert pieces.weights.max() <= weights.sum() / 80 + weights.max()
    groups = index.groups[pieces.order]
    assert (groups[1:] != groups[:-1]).sum() + 1 == companies, "a group's rows stand together"
    within = pieces.order[1:][groups[1:] == groups[:-1]] - pieces.order[:-1][groups[1:] == groups[:-1]]
    assert (within > 0).all(), "in the order of the inputs"
    shares = share_out(pieces, 4)
    assert sorted(piece for share in shares for piece in share) == list(range(len(pieces.weights)))
    loads = [pieces.weights[share].sum() for share in shares]
    assert max(loads) <= 1.1 * np.mean(loads) + pieces.weights.max()


def test_a_group_is_parted_only_where_it_must_be(tmp_path: Path) -> None:
    index = index_rows(write_rows(tmp_path, 40, 400), ["company"])
    pieces = cut(index.groups, np.ones(400), most_replicas=4)
    homes: Counter[int] = Counter()
    for share in share_out(pieces, 4):
        homes.update({int(group) for group in index.groups[pieces.stream(share)]})
    assert len(homes) == 40
    assert sum(count > 1 for count in homes.values()) <= 4


def test_short_streams_are_simulated_whole(request_: ReplicaRequest) -> None:
    run = prepare(request_)
    assert run.fields == ("company",)
    for count in counts(run, 2, window=60):
        whole = [
            simulate_stretch(run.tracer.trace(run.pieces.stream(share)), run.weights, run.simulation)
            for share in share_out(run.pieces, count.replicas)
        ]
        prompt = sum(each.prompt_tokens[-1] for each in whole)
        assert count.hit_rate == pytest.approx(sum(each.cached_tokens[-1] for each in whole) / prompt, abs=0.01)
        assert count.seconds == pytest.approx(max(each.seconds[-1] for each in whole), rel=0.01)
        assert count.error == 0


def test_stretches_stand_for_the_rest(request_: ReplicaRequest) -> None:
    run = prepare(replace(request_, options=replace(request_.options, concurrency=1)))
    assert (1 + STRETCHES) * 5 < 60
    sampled, whole = counts(run, 1, window=5)[0], counts(run, 1, window=60)[0]
    assert sampled.hit_rate == pytest.approx(whole.hit_rate, abs=0.03)
    assert whole.seconds is not None
    assert sampled.seconds == pytest.approx(whole.seconds, rel=0.1)
    assert 0 < sampled.error < 0.5, "two or three items of each stretch count"


def test_more_replicas_are_faster_and_each_count_has_its_row(request_: ReplicaRequest) -> None:
    plan = plan_replicas(replace(request_, deadline_s=1e6, price_per_hour=2.0))
    assert [count.replicas for count in plan.counts] == [1, 2, 3, 4]
    assert [count.simulated for count in plan.counts] == [True, True, False, True]
    first, last = plan.counts[0], plan.counts[-1]
    assert first.seconds is not None
    assert last.seconds is not None
    assert first.seconds / 5 < last.seconds < first.seconds / 2
    assert first.price(2.0) == pytest.approx(2.0 * first.seconds / 3600)
    assert plan.chosen is not None
    assert plan.items == 60
    assert any("cost model" in note for note in plan.notes)


def count_of(replicas: int, seconds: float | None) -> ReplicaCount:
    return ReplicaCount(replicas, 0.5, 0.0, seconds, None, 0.0, True, 0)


@pytest.mark.parametrize(
    ("deadline", "price", "chosen"),
    [(1000, 1.0, 4), (1000, None, 1), (500, None, 2), (260, 1.0, 4), (100, 1.0, None), (None, 1.0, None)],
)
def test_the_cheapest_that_meets_the_deadline_is_chosen(
    deadline: float | None, price: float | None, chosen: int | None
) -> None:
    """Four replicas take less than a quarter of the time of one."""
    found = choose([count_of(1, 1000), count_of(2, 500), count_of(4, 240)], deadline, price)
    assert (None if found is None else found.replicas) == chosen


def test_powers_of_two_and_the_most_are_simulated() -> None:
    assert [counts_to_simulate(most) for most in (1, 6, 64)] == [[1], [1, 2, 4, 6], [1, 2, 4, 8, 16, 32, 64]]


def test_seconds_need_a_calibration(request_: ReplicaRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHARTER_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("charter_compiler.api.compile_target.find_here", lambda: None)
    local = replace(request_, target="local", replicas=1)
    plan = plan_replicas(local)
    assert plan.counts[0].seconds is None
    assert plan.notes[0].startswith("no seconds and no price: the target was not calibrated")
    with pytest.raises(UsageError, match="seconds are not known of a target that was not calibrated"):
        plan_replicas(replace(local, deadline_s=60))
    kept = Calibration("local", DEFAULT_MODEL.name, Costs(), Check(1, 1.0, 1.0), (), (), "2026-11-25")
    path = calibration_path("local", DEFAULT_MODEL.name)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(kept.to_json()), encoding="utf-8")
    assert plan_replicas(local).counts[0].seconds is not None
    assert plan_replicas(replace(local, costs=path)).counts[0].seconds is not None
    with pytest.raises(InputsError, match="not a calibration"):
        plan_replicas(replace(local, costs=local.inputs))


def test_an_agent_with_effects_or_one_that_fails_is_not_planned(request_: ReplicaRequest, tmp_path: Path) -> None:
    agent = tmp_path / "agent.py"
    agent.write_text("import socket\n" + AGENT, encoding="utf-8")
    with pytest.raises(UsageError, match="imports socket"):
        plan_replicas(request_)
    agent.write_text(AGENT.replace("return llm", "assert first == 'yes'\n    return llm"), encoding="utf-8")
    with pytest.raises(AgentError, match="the agent failed on outputs that are not the model's"):
        plan_replicas(request_)


def test_the_command(request_: ReplicaRequest, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["plan", request_.entry, "--inputs", str(request_.inputs), "--target", "sim", "--limit", "12"]
    command += ["--replicas", "2", "--price", "1.5"]
    assert main([*command, "--deadline", "1h", "--format", "json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (found["items"], found["grouped_by"], found["chosen"]) == (12, ["company"], 1)
    assert [count["replicas"] for count in found["counts"]] == [1, 2]
    assert found["counts"][0]["price"] == pytest.approx(1.5 * found["counts"][0]["seconds"] / 3600)
    assert main(command) == 0
    assert "12 items, grouped by company" in capsys.readouterr().out
    assert main([*command, "--deadline", "0.0001h"]) == 2
    assert "no number of replicas up to 2 meets the deadline; the fastest takes" in capsys.readouterr().err
