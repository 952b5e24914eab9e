"""Runs with the memo store: what reaches the engine, what is counted, and what a broken store does."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from run_doubles import ScriptedTarget, facts, write_agent

from charter_compiler.api.measured_run import measured_run
from charter_compiler.api.memo import MemoOptions
from charter_compiler.api.run_report import RunReport
from charter_compiler.api.run_request import PredictWhen, RunRequest
from charter_compiler.diagnostics.errors import RequestRejectedError
from charter_compiler.executor.memo.sqlite_store import FILE_NAME, SQLiteMemoStore
from charter_compiler.executor.run.options import RunOptions
from charter_compiler.executor.scheduler.mode import Mode
from charter_compiler.executor.targets import OpenTarget
from charter_compiler.executor.types import GenerationRequest
from charter_compiler.tokens.tokenizer import default_tokenizer

RULES = "These are the rules, which hold for each text that follows here. " * 4
AGENT = f"""
RULES = {RULES!r}

def process(text, llm):
    first = llm.generate(RULES + text, max_tokens=8)
    return llm.generate("Say it in other words: " + first, max_tokens=8)

async def gathered(text, llm):
    import asyncio
    return await asyncio.gather(*(llm.agenerate(RULES + text, max_tokens=8) for _ in range(5)))

def sampled(text, llm):
    return llm.generate(RULES + text, max_tokens=8, temperature=0.7)
"""


def last_words(request: GenerationRequest) -> str | Exception:
    return str(request.prompt)[-12:]


@dataclass
class Machine:
    folder: Path
    target: OpenTarget = field(init=False)
    answer: Any = last_words

    def __post_init__(self) -> None:
        stated = replace(facts(), embedded=True)
        self.target = OpenTarget("s", ScriptedTarget(), stated, default_tokenizer(), None, identity={"model": "m"})

    def run(self, texts: list[str], entry: str = "process", **changes: Any) -> RunReport:
        inputs = self.folder / "in.jsonl"
        inputs.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
        self.target = replace(self.target, client=ScriptedTarget(self.answer))
        request = RunRequest(
            f"{self.folder / 'agent.py'}:{entry}",
            inputs,
            self.folder / "out.jsonl",
            options=RunOptions(concurrency=4),
            predict=PredictWhen.NEVER,
            memo=MemoOptions(),
            record=True,
        )
        return measured_run(replace(request, **changes))

    @property
    def sent(self) -> list[GenerationRequest]:
        """What reached the engine, warm-ups included."""
        assert isinstance(self.target.client, ScriptedTarget)
        return self.target.client.sent

    def rows(self) -> bytes:
        return (self.folder / "out.jsonl").read_bytes()


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    write_agent(tmp_path, AGENT)
    machine = Machine(tmp_path)

    @asynccontextmanager
    async def opened(*_: object) -> AsyncIterator[OpenTarget]:
        yield machine.target

    monkeypatch.setattr("charter_compiler.executor.fleet.opening.open_target", opened)
    return machine


def test_a_second_run_asks_the_engine_nothing_and_gives_the_same_rows(machine: Machine) -> None:
    first = machine.run(["one text", "another text"])
    rows = machine.rows()
    assert (first.metrics.calls, first.metrics.memoized_calls) == (4, 0)
    assert len(machine.sent) == 5, "with the warm-up"
    second = machine.run(["one text", "another text"])
    assert machine.sent == []
    assert machine.rows() == rows
    metrics = second.metrics
    assert (metrics.items, metrics.calls, metrics.memoized_calls) == (2, 0, 4)
    assert (metrics.prompt_tokens, metrics.warmup_tokens, metrics.hit_rate) == (0, 0, None)
    assert metrics.latency_s.p50 is None
    assert second.notes[-1].startswith("calls answered from the memo store: 4; ")


def test_only_changed_items_reach_the_engine_and_the_figures_are_of_them(machine: Machine) -> None:
    machine.run(["one text", "another text", "third text"])
    report = machine.run(["one text", "changed text", "third text"])
    asked = [request.prompt for request in machine.sent if request.max_tokens > 1]
    assert asked == [RULES + "changed text", "Say it in other words: changed text"]
    metrics = report.metrics
    assert (metrics.calls, metrics.memoized_calls, len(machine.sent)) == (2, 4, 3)
    recorded = [json.loads(line) for line in (machine.folder / "out.jsonl.calls.jsonl").read_text().splitlines()]
    engine = [call for call in recorded if not call["memoized"]]
    assert metrics.prompt_tokens == sum(call["prompt_tokens"] for call in engine)
    assert metrics.hit_rate == sum(call["cached_tokens"] for call in engine) / metrics.prompt_tokens
    memoized = [call for call in recorded if call["memoized"]]
    assert len(memoized) == 4
    assert all(call["cached_tokens"] is None and call["output_tokens"] for call in memoized)


def test_an_equal_first_answer_cuts_off_what_follows(machine: Machine) -> None:
    machine.run(["begins so, ends the same"])
    report = machine.run(["begins other, ends the same"])
    assert (report.metrics.calls, report.metrics.memoized_calls) == (1, 1)


def test_identical_calls_at_once_are_answered_once(machine: Machine) -> None:
    report = machine.run(["same text"] * 3, entry="gathered")
    assert len([request for request in machine.sent if request.max_tokens > 1]) == 1
    assert (report.metrics.calls, report.metrics.memoized_calls) == (1, 14)
    assert not any("memo store" in note for note in report.notes), "they were merged, none was stored before"


def test_of_identical_calls_that_fail_each_fails_by_itself(machine: Machine) -> None:
    machine.answer = lambda request: RequestRejectedError("no") if request.max_tokens > 1 else "yes"
    report = machine.run(["same text"] * 3)
    assert report.metrics.failed == 3
    assert len([request for request in machine.sent if request.max_tokens > 1]) == 3, "a failure is not kept"
    machine.answer = last_words
    assert machine.run(["same text"] * 3).metrics.failed == 0


@pytest.mark.parametrize("changes", [{"memo": None}, {"options": RunOptions(mode=Mode.BASELINE)}])
def test_without_the_store_and_in_baseline_mode_every_call_is_made(
    machine: Machine, changes: dict[str, Any], memo_folder: Path
) -> None:
    for _ in range(2):
        report = machine.run(["one text", "another text"], **changes)
        assert (report.metrics.calls, report.metrics.memoized_calls) == (4, 0)
    assert not memo_folder.exists()


def test_sampled_calls_are_made_again_unless_allowed(machine: Machine) -> None:
    for _ in range(2):
        report = machine.run(["text"], entry="sampled")
        assert report.metrics.memoized_calls == 0
        assert report.notes[-1].startswith("calls not kept, being neither greedy nor seeded: 1 ")
    assert machine.run(["text"], entry="sampled", memo=MemoOptions(sampled=True)).metrics.memoized_calls == 0
    assert machine.run(["text"], entry="sampled", memo=MemoOptions(sampled=True)).metrics.memoized_calls == 1


def test_another_model_gets_nothing_of_the_first(machine: Machine) -> None:
    machine.run(["text"])
    machine.target = replace(machine.target, identity={"model": "n"})
    assert machine.run(["text"]).metrics.memoized_calls == 0


def test_a_corrupt_entry_is_computed_again_and_told(machine: Machine, memo_folder: Path) -> None:
    machine.run(["text"])
    rows = machine.rows()
    database = sqlite3.connect(memo_folder / FILE_NAME, isolation_level=None)
    database.execute("UPDATE entries SET value = x'7b7d'")
    database.close()
    report = machine.run(["text"])
    assert (report.metrics.calls, report.metrics.memoized_calls) == (2, 0)
    assert report.notes[-1] == "corrupt entries of the memo store, computed again: 2 (charter cache verify)"
    assert machine.rows() == rows
    assert machine.run(["text"]).metrics.memoized_calls == 2


def test_a_store_that_cannot_be_opened_is_told_and_the_run_goes_on(machine: Machine, memo_folder: Path) -> None:
    memo_folder.mkdir(mode=0o700)
    (memo_folder / FILE_NAME).write_bytes(b"not a database, " * 300)
    report = machine.run(["text"])
    assert (report.metrics.failed, report.metrics.calls) == (0, 2)
    assert report.notes[-1].startswith("the memo store was not used to the end: ")


def test_a_store_that_fails_in_mid_run_is_left_alone(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(SQLiteMemoStore, "_prune", full)
    report = machine.run(["text", "other"], memo=MemoOptions(limits=replace(MemoOptions().limits, max_bytes=64)))
    assert (report.metrics.failed, report.metrics.calls) == (0, 4)
    assert "database or disk is full" in report.notes[-1]


def test_a_resumed_run_counts_what_the_first_part_took_from_the_store(machine: Machine) -> None:
    machine.run(["text"])
    machine.answer = lambda request: RequestRejectedError("no") if "bad" in str(request.prompt) else "yes"
    machine.run(["text", "bad"])
    machine.answer = last_words
    report = machine.run(["text", "bad"], resume=True)
    assert (report.metrics.items, report.metrics.calls, report.metrics.memoized_calls) == (2, 2, 2)


def test_the_event_loop_is_not_held_up_by_another_process(machine: Machine, memo_folder: Path) -> None:
    """A transaction of another process makes a lookup wait in its thread alone."""
    SQLiteMemoStore().close()

    async def main() -> int:
        from charter_compiler.api.memo import memo_of

        turns = 0
        blocker = sqlite3.connect(memo_folder / FILE_NAME, isolation_level=None)
        async with memo_of(machine.target, MemoOptions()) as memo:
            blocker.execute("BEGIN IMMEDIATE")
            writing = asyncio.ensure_future(
                memo.put(bytes(32), await machine.target.client.generate(GenerationRequest(prompt="x")))
            )
            for _ in range(20):
                await asyncio.sleep(0.005)
                turns += not writing.done()
            blocker.execute("COMMIT")
            await writing
            assert memo.problem is None
        blocker.close()
        return turns

    assert asyncio.run(main()) == 20
