"""Runs on several endpoints: groups meet, nothing is lost when one goes, and it gets its share when it comes back."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from run_doubles import ScriptedTarget, facts, write_agent

from charter_compiler.api.measured_run import measured_run
from charter_compiler.api.run_request import PredictWhen, RunObserver, RunRequest
from charter_compiler.diagnostics.errors import (
    AuthenticationError,
    TargetError,
    TargetUnavailableError,
    UnknownModelError,
    UsageError,
)
from charter_compiler.executor.entry import load_entry
from charter_compiler.executor.fleet import lane, opening
from charter_compiler.executor.fleet.addresses import parse_targets
from charter_compiler.executor.fleet.fleet import Endpoint, Fleet
from charter_compiler.executor.fleet.lane import Lane
from charter_compiler.executor.inputs import InputRow
from charter_compiler.executor.journal import Journal
from charter_compiler.executor.journal_file import JournalFile
from charter_compiler.executor.metrics import Tally, build_metrics
from charter_compiler.executor.prompts import PromptTokens
from charter_compiler.executor.results import RowWriter
from charter_compiler.executor.run.context import RunContext, RunFiles, RunOutcome
from charter_compiler.executor.run.options import RunOptions
from charter_compiler.executor.run.orchestrator import run_agent
from charter_compiler.executor.scheduler.interface import ScheduledCall
from charter_compiler.executor.scheduler.mode import Mode
from charter_compiler.executor.scheduler.prefix import PrefixScheduler
from charter_compiler.executor.types import GenerationRequest
from charter_compiler.plan.placement import Placed, Placement
from charter_compiler.tokens.tokenizer import default_tokenizer

AGENT = """
def ask(document, question, llm):
    first = llm.generate(f"{document} First: {question}", max_tokens=4)
    return llm.generate(f"{document} Then: {question} {first}", max_tokens=4)
"""


class Members:
    """A ``Membership`` of scripted targets; one that is lost comes back when ``back`` says so."""

    def __init__(self, targets: dict[str, ScriptedTarget], back: Callable[[], bool] = lambda: False) -> None:
        self._targets = targets
        self._back = back
        self.gone: list[str] = []

    @property
    def first(self) -> Sequence[Endpoint]:
        return [Endpoint(name, target, facts()) for name, target in self._targets.items()]

    def lost(self, name: str, why: TargetError) -> None:
        self.gone.append(name)

    async def watch(self, joined: Callable[[Endpoint], None], left: Callable[[str], bool]) -> None:
        while not (self.gone and self._back()):
            await asyncio.sleep(0.001)
        joined(Endpoint(self.gone[0], self._targets[self.gone[0]], facts()))
        await asyncio.Event().wait()


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., RunOutcome]:
    """Runs ``AGENT`` over 8 documents with 3 questions each; the rest is a run's options."""
    entry = load_entry(f"{write_agent(tmp_path, AGENT)}:ask")
    rows = [{"document": f"Document {n % 8}. " * 12, "question": f"what is number {n}?"} for n in range(24)]

    def work(members: Members, **options: object) -> RunOutcome:
        async def main() -> RunOutcome:
            context = RunContext(RunOptions(**options), facts(), default_tokenizer(), group_by=("document",))  # type: ignore[arg-type]
            items = iter([InputRow(n, n + 1, row) for n, row in enumerate(rows)])
            journal = Journal.create(JournalFile(tmp_path / "out.jsonl.journal"), {})
            with journal, RowWriter(tmp_path / "out.jsonl") as writer:
                return await run_agent(entry, items, members, RunFiles(writer, journal), context)

        return asyncio.run(main())

    return work


def documents(target: ScriptedTarget) -> Counter[str]:
    """How many calls there were about each document."""
    return Counter(str(request.prompt).partition(".")[0] for request in target.sent)


def answered(folder: Path) -> list[tuple[int, str]]:
    lines = [json.loads(line) for line in (folder / "out.jsonl.journal").read_text(encoding="utf-8").splitlines()]
    return [tuple(line["call"][:2]) for line in lines if "call" in line]


def test_items_of_one_document_meet_at_one_endpoint_with_all_their_calls(run: Callable[..., RunOutcome]) -> None:
    targets = {name: ScriptedTarget() for name in "ab"}
    outcome = run(Members(targets), concurrency=2)
    assert outcome.stopped is None
    assert documents(targets["a"]) | documents(targets["b"]) == Counter(
        dict.fromkeys(map("Document {}".format, range(8)), 6)
    )
    assert not documents(targets["a"]).keys() & documents(targets["b"]).keys()
    tally = outcome.tally.endpoints
    assert {name: each.calls for name, each in tally.items()} == {n: len(t.sent) for n, t in targets.items()}
    assert sum(each.items for each in tally.values()) == 24
    assert sum(each.totals.prompt or 0 for each in tally.values()) == outcome.tally.totals.prompt


def test_the_last_item_starts_when_the_one_before_it_has_made_room(tmp_path: Path) -> None:
    """It waits until what the other holds is free, and no further call comes to wake it."""
    rows = [{"document": f"Document {n}. " * 40, "question": f"number {n}?"} for n in range(5)]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    report = measured_run(
        RunRequest(
            f"{write_agent(tmp_path, AGENT)}:ask", tmp_path / "in.jsonl", tmp_path / "out.jsonl",
            "sim://trtllm?blocks=30&block_size=16", options=RunOptions(concurrency=2), predict=PredictWhen.NEVER,
        )
    )  # fmt: skip
    assert report.metrics.items == 5


def test_calls_in_turn_go_to_all_alike(run: Callable[..., RunOutcome]) -> None:
    targets = {name: ScriptedTarget() for name in "ab"}
    run(Members(targets), mode=Mode.BASELINE, concurrency=2)
    assert [len(target.sent) for target in targets.values()] == [24, 24]
    assert documents(targets["a"]).keys() & documents(targets["b"]).keys()


def test_by_load_an_items_calls_stay_together(run: Callable[..., RunOutcome]) -> None:
    targets = {name: ScriptedTarget() for name in "ab"}
    run(Members(targets), placement=Placement.LOAD, concurrency=2)
    questions = [{str(r.prompt).partition("number ")[2].partition("?")[0] for r in t.sent} for t in targets.values()]
    assert not questions[0] & questions[1]


def test_a_lost_endpoints_items_move_and_nothing_is_lost_or_answered_twice(
    run: Callable[..., RunOutcome], tmp_path: Path
) -> None:
    died: list[GenerationRequest] = []

    def dies(request: GenerationRequest) -> str | Exception:
        if len(died) or len(targets["a"].sent) > 5:
            died.append(request)
            return TargetUnavailableError("killed")
        return "yes"

    targets = {"a": ScriptedTarget(dies), "b": ScriptedTarget()}
    members = Members(targets)
    outcome = run(members, concurrency=2)
    assert (outcome.stopped, outcome.tally.items, outcome.tally.failed) == (None, 24, 0)
    assert members.gone == ["a"]
    assert len(died) <= 2, "each call that was under way found out, and no other was sent there"
    done = answered(tmp_path)
    assert len(done) == len(set(done)) == 48
    assert len(targets["a"].sent) - len(died) + len(targets["b"].sent) == 48


def test_an_endpoint_that_comes_back_is_given_its_documents_again(run: Callable[..., RunOutcome]) -> None:
    undisturbed = {name: ScriptedTarget() for name in "ab"}
    run(Members(undisturbed), concurrency=1)
    failing = [True]

    def once(request: GenerationRequest) -> str | Exception:
        if failing:
            failing.pop()
            return TargetUnavailableError("restarted")
        return "yes"

    targets = {"a": ScriptedTarget(once), "b": ScriptedTarget()}
    outcome = run(Members(targets, back=lambda: len(targets["b"].sent) >= 2), concurrency=1)
    assert (outcome.stopped, outcome.tally.items, outcome.tally.failed) == (None, 24, 0)
    assert documents(targets["a"]).keys() & documents(undisturbed["a"]).keys()
    assert len(targets["a"].sent) > 6


@pytest.mark.parametrize("error", [UnknownModelError("unloaded"), AuthenticationError("401")])
def test_an_endpoint_of_no_use_is_lost_alone_and_counts_as_idle(
    run: Callable[..., RunOutcome], error: TargetError
) -> None:
    targets = {"a": ScriptedTarget(lambda request: error), "b": ScriptedTarget()}
    members = Members(targets)
    outcome = run(members, concurrency=1)
    assert (outcome.stopped, outcome.tally.items, outcome.tally.failed) == (None, 24, 0)
    assert members.gone == ["a"]
    metrics = build_metrics(outcome.tally, mode="optimized", target="a,b", wall_s=1.0, predicted_hit_rate=None)
    assert [(each.name, each.items, each.calls) for each in metrics.endpoints] == [("a", 0, 0), ("b", 24, 48)]
    assert metrics.imbalance == 1.0
    assert run(Members({name: ScriptedTarget(lambda request: error) for name in "ab"})).stopped is error


def test_the_last_endpoint_is_waited_for_and_then_the_run_ends(
    run: Callable[..., RunOutcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane, "OUTAGE_PROBE", 0.01)
    targets = {name: ScriptedTarget(lambda request: TargetUnavailableError("gone")) for name in "ab"}
    outcome = run(Members(targets), concurrency=1)
    assert isinstance(outcome.stopped, TargetUnavailableError)


@pytest.mark.parametrize("waited_for", [True, False])
async def test_an_item_that_moves_is_still_waited_for(waited_for: bool) -> None:
    """Held back until the one that waits for its answer is over, neither would ever be."""

    def make_lane(endpoint: Endpoint) -> Lane:
        scheduler = PrefixScheduler(concurrency=2, capacity_blocks=4)
        prompts = PromptTokens(None, None)
        return Lane(
            endpoint.name, endpoint.target, scheduler, prompts,
            clock=lambda: 0.0, on_change=lambda: None, on_fatal=lambda error: None,
        )  # fmt: skip

    fleet = Fleet(make_lane)
    lanes = [fleet.join(Endpoint(name, ScriptedTarget(), facts())) for name in "ab"]
    fleet.add([Placed(item, (str(item),), 1.0) for item in range(2)])
    for item in range(2):
        fleet.start_item(item)
    moved, waits = sorted(range(2), key=lambda item: lanes.index(fleet.lane_of(item)))
    there = lanes[1].scheduler
    there.submit(ScheduledCall(0, waits, blocks=("x", "y", "z")))
    assert [call.item for call in there.ready()] == [waits]
    there.on_done(0)
    if waited_for:
        fleet.hurry(moved)
    assert fleet.lost(lanes[0], TargetUnavailableError("gone"))
    assert fleet.lane_of(moved) is lanes[1]
    there.submit(ScheduledCall(1, moved, blocks=("u", "v", "w")))
    assert [call.item for call in there.ready()] == ([moved] if waited_for else [])


class Rewrites(RunObserver):
    """Puts other endpoints into the file when so many calls have been answered."""

    def __init__(self, file: Path, *steps: tuple[int, str]) -> None:
        self._file, self._steps = file, list(steps)

    def progress(self, tally: Tally) -> None:
        if self._steps and tally.calls >= self._steps[0][0]:
            self._file.write_text(self._steps.pop(0)[1], encoding="utf-8")


def test_endpoints_join_and_leave_through_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "PROBE", 0.005)
    one, two = "sim://trtllm?blocks=64", "sim://trtllm?blocks=65"
    file = tmp_path / "endpoints.yaml"
    file.write_text(f"endpoints:\n  - {one}\n", encoding="utf-8")
    rows = [{"document": f"Document {n % 20}. " * 8, "question": f"number {n}?"} for n in range(60)]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    observer = Rewrites(file, (6, f"{one}\n{two}\n"), (40, "nonsense://x\n"), (60, f"# only this\n{two}\n"))
    report = measured_run(
        RunRequest(
            f"{write_agent(tmp_path, AGENT)}:ask", tmp_path / "in.jsonl", tmp_path / "out.jsonl", str(file),
            options=RunOptions(concurrency=1), predict=PredictWhen.NEVER,
        ),
        observer,
    )  # fmt: skip
    assert (report.metrics.items, report.metrics.failed) == (60, 0)
    assert {each.name for each in report.metrics.endpoints} == {one, two}
    assert all(each.items for each in report.metrics.endpoints)
    assert f"endpoint {two} joined in mid-run" in report.notes
    assert any("stay as they are" in note and "nonsense://x" in note for note in report.notes)
    assert f"endpoint {one} left: the file names it no more" in report.notes


def test_a_run_on_several_predicts_each_cache_by_itself(tmp_path: Path) -> None:
    rows = [{"document": f"Document {n % 6}. " * 40, "question": f"number {n}?"} for n in range(24)]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    target = "sim://trtllm?blocks=30&block_size=16"
    report = measured_run(
        RunRequest(
            f"{write_agent(tmp_path, AGENT)}:ask", tmp_path / "in.jsonl", tmp_path / "out.jsonl",
            f"{target},{target}, {target}", options=RunOptions(concurrency=2),
        )
    )  # fmt: skip
    metrics, prediction = report.metrics, report.prediction
    assert prediction is not None
    assert metrics.hit_rate == pytest.approx(prediction.hit_rate, abs=0.02)
    assert metrics.attainable_hit_rate == pytest.approx(prediction.attainable_hit_rate, abs=0.02)
    assert metrics.imbalance is not None
    assert metrics.imbalance < 0.15
    by_name = {each.name: each for each in prediction.endpoints}
    assert by_name.keys() == {target, f"{target}#2", f"{target}#3"}
    for each in metrics.endpoints:
        assert each.predicted_hit_rate == by_name[each.name].hit_rate
        assert each.items == by_name[each.name].items
    written = json.loads((tmp_path / "out.jsonl.metrics.json").read_text(encoding="utf-8"))
    assert [each["name"] for each in written["endpoints"]] == sorted(by_name)
    assert written["imbalance"] == metrics.imbalance


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("nowhere", "no target 'nowhere', and no file"),
        (" , ", "no target in"),
        ("triton://a:1/m,triton://a:1/m", "named twice"),
        ("triton://a:1/m,ftp://b", "no target 'ftp://b'"),
    ],
)
def test_lists_that_name_no_endpoints(spec: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        parse_targets(spec)


@pytest.mark.parametrize("text", ["", "endpoints: []\n", "endpoints: 3\n", "- {url: sim}\n", "- sim: [\n"])
def test_files_that_name_no_endpoints(tmp_path: Path, text: str) -> None:
    (tmp_path / "endpoints.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=r"endpoints\.yaml"):
        parse_targets(str(tmp_path / "endpoints.yaml"))


def test_the_forms_of_a_list(tmp_path: Path) -> None:
    names = ("triton://a:8001/ensemble", "openai://b:8000/v1?model=m", "sim", "sim#2")
    lines = "triton://a:8001/ensemble\n# a comment\n\nopenai://b:8000/v1?model=m\nsim\nsim\n"
    listed = "".join(f"  - {name.partition('#')[0]}\n" for name in names)
    for form, text in (("lines", lines), ("list", listed), ("under a key", f"# a comment\nendpoints:\n{listed}")):
        (tmp_path / form).write_text(text, encoding="utf-8")
        assert tuple(each.name for each in parse_targets(str(tmp_path / form)).endpoints) == names
    assert tuple(each.name for each in parse_targets("sim, sim").endpoints) == ("sim", "sim#2")
    assert not parse_targets("sim").several
