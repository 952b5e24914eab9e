from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from run_doubles import BLOCK, ScriptedTarget, facts, write_agent

from charter_compiler.diagnostics.errors import (
    OutputError,
    RequestRejectedError,
    TargetUnavailableError,
    UsageError,
)
from charter_compiler.executor.entry import load_entry
from charter_compiler.executor.fleet.membership import OneEndpoint
from charter_compiler.executor.inputs import InputRow
from charter_compiler.executor.journal import Journal, JournalState
from charter_compiler.executor.journal_file import JournalFile
from charter_compiler.executor.metrics import build_metrics
from charter_compiler.executor.recording import Recorder, compare_recordings, read_recording
from charter_compiler.executor.results import RowWriter
from charter_compiler.executor.run.context import RunContext, RunFiles, RunOutcome
from charter_compiler.executor.run.options import RunOptions
from charter_compiler.executor.run.orchestrator import run_agent
from charter_compiler.executor.scheduler.mode import Mode
from charter_compiler.executor.types import GenerationRequest
from charter_compiler.tokens.tokenizer import default_tokenizer

TWO_CALLS = """
class Agent:
    def __init__(self, llm):
        self.llm = llm

    def process(self, text):
        first = self.llm.generate("Read this text with great care and repeat it: " + text, max_tokens=8)
        second = self.llm.generate("Now say it once more, in other words: " + first, max_tokens=8)
        return {"first": first, "second": second}
"""

GATHER = """
import asyncio

async def process(text, client):
    return await asyncio.gather(*(client.agenerate(f"{text} {n}", max_tokens=4) for n in range(3)))
"""


class Runner:
    """Runs agents in a folder of their own and reads back what was written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.out = folder / "out.jsonl"
        self.journal = folder / "out.jsonl.journal"
        self.calls = folder / "out.jsonl.calls.jsonl"
        self.context = RunContext(RunOptions(), facts(), default_tokenizer())

    async def __call__(
        self, source: str, target: ScriptedTarget, texts: list[str], name: str = "Agent.process", resume: bool = False
    ) -> RunOutcome:
        entry = load_entry(f"{write_agent(self.folder, source)}:{name}")
        rows = iter([InputRow(n, n + 1, {"text": text, "id": n}) for n, text in enumerate(texts)])
        identity = {"entry": name}
        journal, state = (
            Journal.resume(JournalFile(self.journal), identity)
            if resume
            else (Journal.create(JournalFile(self.journal), identity), JournalState())
        )
        context = replace(self.context, resumed=state)
        with journal, RowWriter(self.out) as writer, Recorder(self.calls) as recorder:
            return await run_agent(
                entry, rows, OneEndpoint(target, context.facts), RunFiles(writer, journal, recorder), context
            )

    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    return Runner(tmp_path)


def echo(request: GenerationRequest) -> str:
    assert request.prompt is not None
    return request.prompt[-3:]


@pytest.mark.parametrize("mode", Mode)
async def test_rows_are_in_input_order_with_input_and_output(runner: Runner, mode: Mode) -> None:
    runner.context.options = RunOptions(mode=mode, concurrency=3)
    outcome = await runner(TWO_CALLS, ScriptedTarget(echo), ["one", "two", "six", "ten"])
    assert runner.rows() == [
        {"index": n, "input": {"text": t, "id": n}, "output": {"first": t, "second": t}, "error": None}
        for n, t in enumerate(["one", "two", "six", "ten"])
    ]
    assert (outcome.tally.items, outcome.tally.failed, outcome.tally.calls) == (4, 0, 8)
    assert outcome.stopped is None


async def test_metrics_have_the_keys_of_the_design_and_add_up(runner: Runner) -> None:
    runner.context.warm_ups = [GenerationRequest(prompt="Read this text with great care and repeat it: " * 4)]
    outcome = await runner(TWO_CALLS, ScriptedTarget(echo), ["one", "two"])
    metrics = build_metrics(
        outcome.tally, mode="optimized", target="scripted", wall_s=2.0, predicted_hit_rate=0.5
    ).to_json()
    assert list(metrics) == [
        "mode", "target", "layout", "items", "failed", "calls", "prompt_tokens", "cached_tokens", "hit_rate",
        "predicted_hit_rate", "attainable_hit_rate", "memoized_calls", "warmup_tokens", "output_tokens", "wall_s",
        "items_per_s", "latency_s", "ttft_s",
    ]  # fmt: skip
    recorded = list(read_recording(runner.calls))
    assert [call["item"] for call in recorded].count(None) == 1
    assert metrics["calls"] == 4
    assert metrics["prompt_tokens"] == sum(call["prompt_tokens"] for call in recorded)
    assert metrics["cached_tokens"] == sum(call["cached_tokens"] for call in recorded)
    assert metrics["warmup_tokens"] == next(c["prompt_tokens"] for c in recorded if c["item"] is None)
    assert metrics["hit_rate"] == pytest.approx(metrics["cached_tokens"] / metrics["prompt_tokens"])  # type: ignore[operator]
    assert metrics["attainable_hit_rate"] == metrics["hit_rate"], "the scripted target's cache is unbounded too"
    assert metrics["items_per_s"] == 1.0


async def test_what_the_target_does_not_report_is_null(runner: Runner) -> None:
    outcome = await runner(TWO_CALLS, ScriptedTarget(echo, reports_cached=False), ["one"])
    metrics = build_metrics(outcome.tally, mode="optimized", target="t", wall_s=1.0, predicted_hit_rate=None)
    assert metrics.cached_tokens is None
    assert metrics.hit_rate is None
    assert metrics.prompt_tokens is not None


async def test_max_tokens_caps_every_call(runner: Runner) -> None:
    runner.context.options = RunOptions(max_tokens=5)
    target = ScriptedTarget(echo)
    await runner(TWO_CALLS, target, ["one"])
    assert [request.max_tokens for request in target.sent] == [5, 5]


async def test_a_poisoned_item_fails_alone_and_names_its_call(runner: Runner) -> None:
    def answer(request: GenerationRequest) -> str | Exception:
        return RequestRejectedError("too long") if "other words: bad" in str(request.prompt) else echo(request)

    outcome = await runner(TWO_CALLS, ScriptedTarget(answer), ["one", "bad", "two"])
    assert [row["error"] for row in runner.rows()] == [
        None,
        {
            "type": "RequestRejectedError",
            "message": "too long",
            "call": f"{runner.folder / 'agent.py'}:8",
            "line": 8,
        },
        None,
    ]
    assert runner.rows()[1]["output"] is None
    assert outcome.tally.failed == 1
    assert outcome.first_error is not None
    assert outcome.first_error[0] == 1


async def test_an_agents_own_error_names_its_line(runner: Runner) -> None:
    source = "def process(text, llm):\n    x = llm.generate(text)\n    raise KeyError(x)\n"
    await runner(source, ScriptedTarget(), ["one"], "process")
    assert runner.rows()[0]["error"] == {"type": "KeyError", "message": "'yes'", "call": None, "line": 3}


async def test_an_error_that_the_agent_wraps_still_names_the_call(runner: Runner) -> None:
    source = (
        "def process(text, llm):\n    try:\n        llm.generate(text)\n"
        "    except Exception as error:\n        raise ValueError('wrapped') from error\n"
    )
    await runner(source, ScriptedTarget(lambda request: RequestRejectedError("no")), ["one"], "process")
    error = runner.rows()[0]["error"]
    assert (error["type"], error["line"]) == ("ValueError", 3)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return {1, 2}", "the agent returned a set, which JSON cannot express"),
        ("return float('nan')", "Out of range float values are not JSON compliant"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("return llm.generate(['a'])", "the prompt is a list, not a str; for a list of messages call chat()"),
        ("return llm.chat('a')", "chat() takes messages"),
        ("return llm.generate(text, max_tokens=0)", "max_tokens must be at least 1, not 0"),
    ],
)
async def test_what_an_agent_does_wrong_is_its_rows_error(runner: Runner, body: str, message: str) -> None:
    await runner(f"def process(text, llm):\n    {body}\n", ScriptedTarget(), ["one"], "process")
    assert message in runner.rows()[0]["error"]["message"]


async def test_a_dataclass_becomes_an_object(runner: Runner) -> None:
    source = (
        "from dataclasses import dataclass\n@dataclass\nclass Answer:\n    text: str\n"
        "def process(text, llm):\n    return [Answer(llm.generate(text))]\n"
    )
    await runner(source, ScriptedTarget(), ["one"], "process")
    assert runner.rows()[0]["output"] == [{"text": "yes"}]


async def test_async_agents_run_in_the_loop(runner: Runner) -> None:
    target = ScriptedTarget(echo)
    await runner(GATHER, target, ["one", "two"], "process")
    assert [row["output"] for row in runner.rows()] == [["e 0", "e 1", "e 2"], ["o 0", "o 1", "o 2"]]
    assert target.most_running > 1
    assert {call["ordinal"] for call in read_recording(runner.calls)} == {0, 1, 2}


async def test_an_async_agent_that_calls_the_blocking_method_is_told(runner: Runner) -> None:
    await runner("async def process(text, llm):\n    llm.generate(text)\n", ScriptedTarget(), ["one"], "process")
    assert "agenerate()" in runner.rows()[0]["error"]["message"]


@pytest.mark.parametrize("mode", Mode)
async def test_no_more_items_than_asked_for_are_in_flight(runner: Runner, mode: Mode) -> None:
    runner.context.options = RunOptions(mode=mode, concurrency=2)
    target = ScriptedTarget(echo)
    await runner(TWO_CALLS, target, [f"t{n:02}" for n in range(8)])
    assert target.most_running <= 2


async def test_cold_prefixes_are_computed_once_in_optimized_mode(runner: Runner) -> None:
    target = ScriptedTarget(lambda request: "x")
    hold = target.hold = asyncio.Event()
    source = "def process(text, llm):\n    return llm.generate('word ' * 40 + text)\n"
    running = asyncio.ensure_future(runner(source, target, ["a", "b", "c"], "process"))
    while not target.sent:
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.05)
    assert len(target.sent) == 1
    hold.set()
    await running
    assert len(target.sent) == 3


async def test_warm_ups_end_before_the_first_item_and_only_in_optimized_mode(runner: Runner) -> None:
    runner.context.warm_ups = [GenerationRequest(prompt="warm " * 40, max_tokens=1)]
    target = ScriptedTarget(echo)
    await runner(TWO_CALLS, target, ["one"])
    assert target.sent[0].prompt == "warm " * 40
    runner.context.options = RunOptions(mode=Mode.BASELINE)
    target = ScriptedTarget(echo)
    await runner(TWO_CALLS, target, ["one"])
    assert len(target.sent) == 2


async def test_both_modes_send_the_same_prompts(runner: Runner, tmp_path: Path) -> None:
    recordings = []
    for mode in Mode:
        runner.context.options = RunOptions(mode=mode, concurrency=2)
        await runner(TWO_CALLS, ScriptedTarget(echo), ["one", "two", "six"])
        recordings.append(runner.calls.rename(tmp_path / f"{mode}.calls.jsonl"))
    comparison = compare_recordings(*recordings)
    assert comparison.compared == 6
    assert comparison.different_prompts == comparison.different_outputs == ()


async def test_differing_outputs_are_told_from_differing_prompts(runner: Runner, tmp_path: Path) -> None:
    recordings = []
    for answer in (echo, lambda request: "ONE" if "care" in str(request.prompt) else echo(request)):
        await runner(TWO_CALLS, ScriptedTarget(answer), ["one"])
        recordings.append(runner.calls.rename(tmp_path / f"{len(recordings)}.calls.jsonl"))
    comparison = compare_recordings(*recordings)
    assert comparison.different_outputs == ((0, 0),)
    assert comparison.different_prompts == ()
    assert (comparison.compared, comparison.not_compared) == (1, 1)
    await runner(TWO_CALLS.replace("great", "greater"), ScriptedTarget(echo), ["one"])
    assert compare_recordings(recordings[0], runner.calls).different_prompts == ((0, 0),)


async def test_a_server_that_is_gone_ends_the_run_and_keeps_what_finished(runner: Runner) -> None:
    runner.context.options = RunOptions(concurrency=1)
    gone = TargetUnavailableError("connection refused", place="scripted")

    def answer(request: GenerationRequest) -> str | Exception:
        return gone if "six" in str(request.prompt) else echo(request)

    outcome = await runner(TWO_CALLS, ScriptedTarget(answer), ["one", "two", "six", "ten"])
    assert outcome.stopped is gone
    assert [row["index"] for row in runner.rows()] == [0, 1]


async def test_a_run_that_resumes_repeats_nothing_that_finished(runner: Runner) -> None:
    runner.context.options = RunOptions(concurrency=1)

    def answer(request: GenerationRequest) -> str | Exception:
        return TargetUnavailableError("gone") if "six" in str(request.prompt) else echo(request)

    first = await runner(TWO_CALLS, ScriptedTarget(answer), ["one", "two", "six", "ten"])
    journal = runner.journal.read_text(encoding="utf-8").splitlines()
    kept = max(json.loads(line).get("elapsed_s", 0.0) for line in journal)
    target = ScriptedTarget(echo)
    outcome = await runner(TWO_CALLS, target, ["one", "two", "six", "ten"], resume=True)
    assert [row["output"]["second"] for row in runner.rows()] == ["one", "two", "six", "ten"]
    assert len(target.sent) == 4
    assert (outcome.tally.items, outcome.tally.calls) == (4, 8)
    assert outcome.wall_s > kept > 0
    assert first.tally.attainable_hit_rate is not None
    assert outcome.tally.attainable_hit_rate is None


async def test_a_resumed_run_that_dies_keeps_the_rows_that_were_there(runner: Runner) -> None:
    runner.context.options = RunOptions(concurrency=1)

    def answer(request: GenerationRequest) -> str | Exception:
        return echo(request) if "six" in str(request.prompt) else ValueError("poisoned")

    await runner(TWO_CALLS, ScriptedTarget(answer), ["one", "two", "six"])
    gone = ScriptedTarget(lambda request: TargetUnavailableError("gone"))
    outcome = await runner(TWO_CALLS, gone, ["one", "two", "six"], resume=True)
    assert outcome.stopped is not None
    assert [row["index"] for row in runner.rows()] == [2]
    runner.context.warm_ups = [GenerationRequest(prompt="warm " * 40, max_tokens=1)]
    assert (await runner(TWO_CALLS, gone, ["one", "two", "six"], resume=True)).stopped is not None
    assert [row["index"] for row in runner.rows()] == [2], "also if the warm-ups fail"


async def test_every_warm_up_of_a_run_that_is_resumed_twice_is_counted_once(runner: Runner) -> None:
    runner.context.options = RunOptions(concurrency=1)
    runner.context.warm_ups = [GenerationRequest(prompt="warm " * 40, max_tokens=1)]
    counted = []
    for resume in (False, True, True):
        target = ScriptedTarget(lambda request: RequestRejectedError("no") if "Read" in str(request.prompt) else "w")
        outcome = await runner(TWO_CALLS, target, ["one"], resume=resume)
        counted.append(len(outcome.tally.warm_ups))
    assert counted == [1, 2, 3]


async def test_rows_that_cannot_be_taken_over_stop_the_run(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    await runner(TWO_CALLS, ScriptedTarget(echo), ["one"])
    full = OutputError("cannot write: No space left on device")

    def broken(self: RowWriter, row: object) -> None:
        raise full

    monkeypatch.setattr(RowWriter, "add", broken)
    target = ScriptedTarget(echo)
    runner.context.warm_ups = [GenerationRequest(prompt="warm " * 40, max_tokens=1)]
    outcome = await runner(TWO_CALLS, target, ["one", "two"], resume=True)
    assert outcome.stopped is full
    assert target.sent == []


async def test_half_a_surrogate_pair_is_written_as_its_escape(runner: Runner) -> None:
    half = "\ud83d"
    source = "def process(text, client):\n    return text"
    outcome = await runner(source, ScriptedTarget(echo), [f"ä{half}"], "process")
    assert outcome.tally.failed == 0
    (row,) = runner.rows()
    assert row["output"] == row["input"]["text"] == f"ä{half}"
    await runner(source, ScriptedTarget(echo), [f"ä{half}", half], "process", resume=True)
    assert [row["output"] for row in runner.rows()] == [f"ä{half}", half]
    assert "ä\\ud83d" in runner.out.read_text(encoding="utf-8")


async def test_a_defect_of_ours_ends_the_run_loudly(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Journal, finished: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Journal, "item", broken)
    with pytest.raises(ZeroDivisionError):
        await runner(TWO_CALLS, ScriptedTarget(echo), ["one", "two"])


async def test_an_item_that_the_journal_did_not_take_is_not_waited_for(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cancelled(self: Journal, finished: object) -> asyncio.Future[None]:
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        written.cancel()
        return written

    monkeypatch.setattr(Journal, "item", cancelled)
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(runner(TWO_CALLS, ScriptedTarget(echo), ["one"]), 30)


@pytest.mark.parametrize("begun", [False, True])
async def test_the_journal_is_written_when_the_event_loop_ends(tmp_path: Path, begun: bool) -> None:
    """Which ``sys.exit`` in a task of the agent's does: every task is cancelled then."""
    path = tmp_path / "journal"
    with Journal.create(JournalFile(path), {}) as journal:
        written = [journal.warm_ups((), 1.0)]
        if begun:
            await asyncio.sleep(0)
        written.append(journal.warm_ups((), 2.0))
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.wait_for(asyncio.gather(*written), 30)
        assert len(path.read_text(encoding="utf-8").splitlines()) == 3


async def test_a_cut_last_line_of_the_journal_is_dropped(runner: Runner) -> None:
    await runner(TWO_CALLS, ScriptedTarget(echo), ["one", "two"])
    data = runner.journal.read_bytes()
    runner.journal.write_bytes(data[:-20])
    target = ScriptedTarget(echo)
    await runner(TWO_CALLS, target, ["one", "two"], resume=True)
    assert target.sent == [], "the item was lost, its calls were not"
    assert runner.journal.read_bytes().count(b"\n") == data.count(b"\n")


async def test_a_failed_item_asks_again_what_was_sampled(runner: Runner) -> None:
    def fails_on_the_second(request: GenerationRequest) -> str | Exception:
        return RequestRejectedError("no") if "once more" in str(request.prompt) else "yes"

    await runner(TWO_CALLS, ScriptedTarget(fails_on_the_second), ["one"])
    target = ScriptedTarget(echo)
    outcome = await runner(TWO_CALLS, target, ["one"], resume=True)
    assert len(target.sent) == 2, "this target samples by default, and another sample may not fail"
    assert (outcome.tally.failed, outcome.tally.items) == (0, 1)


async def test_an_agent_that_raises_what_ends_tasks_fails_its_item_alone(runner: Runner) -> None:
    source = """
import asyncio, sys

async def process(text, client):
    if text == "cancelled":
        task = asyncio.ensure_future(asyncio.sleep(10))
        task.cancel()
        await task
    if text == "exit":
        sys.exit("gone")
    return await client.agenerate(text, max_tokens=4)
"""
    outcome = await runner(source, ScriptedTarget(echo), ["cancelled", "one", "exit"], "process")
    assert (outcome.stopped, outcome.tally.items, outcome.tally.failed) == (None, 3, 2)
    errors = [row["error"] and row["error"]["type"] for row in runner.rows()]
    assert errors == ["CancelledError", None, "SystemExit"]


async def test_a_resumed_item_makes_only_the_calls_that_had_no_answer(runner: Runner) -> None:
    runner.context.options = RunOptions(merge=False)
    runner.context.facts = replace(facts(), embedded=True)  # greedy, where a call says nothing of sampling

    def fails_on_the_second(request: GenerationRequest) -> str | Exception:
        return RequestRejectedError("no") if "once more" in str(request.prompt) else "yes"

    outcome = await runner(TWO_CALLS, ScriptedTarget(fails_on_the_second), ["one", "two"])
    assert outcome.tally.failed == 2
    target = ScriptedTarget(echo)
    outcome = await runner(TWO_CALLS, target, ["one", "two"], resume=True)
    assert [str(request.prompt)[-10:] for request in target.sent] == ["words: yes"] * 2
    assert (outcome.tally.failed, outcome.tally.calls, outcome.tally.items) == (0, 4, 2)
    assert [row["output"] for row in runner.rows()] == [{"first": "yes", "second": "yes"}] * 2


async def test_two_runs_cannot_write_one_journal(runner: Runner) -> None:
    await runner(TWO_CALLS, ScriptedTarget(echo), ["one"])
    identity = {"entry": "Agent.process"}
    journal, _ = Journal.resume(JournalFile(runner.journal), identity)
    with journal:
        kept = runner.journal.read_bytes()
        assert kept
        for again in (Journal.create, Journal.resume):
            with pytest.raises(UsageError, match="another run writes this journal"):
                again(JournalFile(runner.journal), identity)
        assert runner.journal.read_bytes() == kept


async def test_a_journal_of_another_run_is_refused(runner: Runner) -> None:
    await runner(TWO_CALLS, ScriptedTarget(echo), ["one"])
    with pytest.raises(UsageError, match="the journal is of another run: entry changed"):
        Journal.resume(JournalFile(runner.journal), {"entry": "another"})
    with pytest.raises(UsageError, match="nothing to resume"):
        Journal.resume(JournalFile(runner.folder / "none"), {})
    runner.journal.write_bytes(runner.journal.read_bytes().splitlines()[0] + b"\nbroken\n")
    with pytest.raises(UsageError, match=r"journal:2: the journal is damaged"):
        Journal.resume(JournalFile(runner.journal), {"entry": "Agent.process"})


async def test_journal_and_recording_are_their_owners_alone(runner: Runner) -> None:
    await runner(TWO_CALLS, ScriptedTarget(echo), ["one"])
    assert stat.S_IMODE(runner.journal.stat().st_mode) == 0o600
    assert stat.S_IMODE(runner.calls.stat().st_mode) == 0o600


async def test_max_failures_ends_the_run(runner: Runner) -> None:
    runner.context.options = RunOptions(concurrency=1, max_failures=1)
    target = ScriptedTarget(lambda request: RequestRejectedError("no"))
    outcome = await runner(TWO_CALLS, target, ["one", "two", "six", "ten"])
    assert outcome.stopped is not None
    assert "2 items failed, more than --max-failures 1" in str(outcome.stopped)
    assert len(runner.rows()) == 2


@pytest.mark.parametrize("interrupts", [1, 2])
async def test_ctrl_c_lets_running_items_finish_and_twice_stops_them(runner: Runner, interrupts: int) -> None:
    runner.context.options = RunOptions(concurrency=1, handle_interrupt=True)
    target = ScriptedTarget(echo)
    hold = target.hold = asyncio.Event()
    running = asyncio.ensure_future(runner(TWO_CALLS, target, ["one", "two"]))
    while not target.sent:
        await asyncio.sleep(0.001)
    for _ in range(interrupts):
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(0.01)
    hold.set()
    outcome = await running
    assert outcome.interrupted
    assert [row["index"] for row in runner.rows()] == ([0] if interrupts == 1 else [])
    assert target.cancelled == (0 if interrupts == 1 else 1)


async def test_cancelling_a_run_cancels_its_calls_at_the_target(runner: Runner) -> None:
    target = ScriptedTarget(echo)
    target.hold = asyncio.Event()
    running = asyncio.ensure_future(runner(TWO_CALLS, target, ["one", "two"]))
    while len(target.sent) < 2:
        await asyncio.sleep(0.001)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    assert target.cancelled == 2


async def test_a_call_that_an_agent_leaves_behind_does_not_disturb_the_run(runner: Runner) -> None:
    source = (
        "import threading\nkept = []\ndef process(text, llm):\n    kept.append(llm)\n"
        "    if len(kept) > 1:\n        return kept[0].generate('late')\n    return llm.generate(text)\n"
    )
    runner.context.options = RunOptions(concurrency=1)
    await runner(source, ScriptedTarget(echo), ["one", "two"], "process")
    assert [row["error"] and row["error"]["type"] for row in runner.rows()] == [None, "RequestCancelledError"]


async def test_admission_keeps_items_within_the_targets_capacity(runner: Runner) -> None:
    runner.context.options = RunOptions(concurrency=8)
    runner.context.facts = facts(capacity_blocks=10)
    target = ScriptedTarget(lambda request: "x")
    source = "def process(text, llm):\n    return llm.generate(text + ' word' * 50, max_tokens=8)\n"
    await runner(source, target, [f"{n} apples" for n in range(6)], "process")
    assert 50 // BLOCK == 3
    assert target.most_running <= 2
    assert len(runner.rows()) == 6


REPEATS = """
class Agent:
    def __init__(self, llm):
        self.llm = llm

    def process(self, text):
        rules = [self.llm.generate("Name the rules of the house", max_tokens=8, temperature=0) for turn in range(3)]
        return rules, self.llm.generate("Apply them to " + text, max_tokens=8, temperature=0)
"""


async def test_equal_greedy_requests_of_a_run_are_sent_once_and_counted_apart(runner: Runner) -> None:
    target = ScriptedTarget()
    outcome = await runner(REPEATS, target, ["a", "b"])
    assert sorted(request.prompt or "" for request in target.sent) == [
        "Apply them to a", "Apply them to b", "Name the rules of the house",
    ]  # fmt: skip
    assert (outcome.tally.calls, outcome.tally.memoized) == (3, 5)
    recorded = list(read_recording(runner.calls))
    assert sum(call["memoized"] for call in recorded) == 5
    assert {call["output"] for call in recorded} == {"yes"}
    resumed = await runner(REPEATS, target, ["a", "b", "c"], resume=True)
    assert resumed.tally.memoized == 5 + 2


async def test_requests_that_leave_sampling_to_the_target_are_each_sent_where_it_may_sample(runner: Runner) -> None:
    target = ScriptedTarget()
    await runner(REPEATS.replace(", temperature=0", ""), target, ["a", "b"])
    assert len(target.sent) == 8


@pytest.mark.parametrize("options", [RunOptions(mode=Mode.BASELINE), RunOptions(merge=False)])
async def test_equal_requests_are_each_sent_in_baseline_and_where_told_to(runner: Runner, options: RunOptions) -> None:
    target = ScriptedTarget()
    runner.context = replace(runner.context, options=options)
    outcome = await runner(REPEATS, target, ["a", "b"])
    assert (len(target.sent), outcome.tally.memoized) == (8, 0)


async def test_sampling_calls_are_merged_only_when_told_to(runner: Runner) -> None:
    source = REPEATS.replace("temperature=0)", "temperature=0.7)")
    target = ScriptedTarget()
    await runner(source, target, ["a"])
    assert len(target.sent) == 4
    runner.context = replace(runner.context, options=RunOptions(merge_sampling=True))
    target = ScriptedTarget()
    await runner(source, target, ["a"])
    assert len(target.sent) == 2
