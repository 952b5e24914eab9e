"""Whole runs on a target in memory that are resumed on another one: what is refused, and what is warmed again."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from run_doubles import ScriptedTarget, facts, write_agent

from charter_compiler.api.measured_run import measured_run
from charter_compiler.api.run_report import RunReport
from charter_compiler.api.run_request import PredictWhen, RunRequest
from charter_compiler.diagnostics.errors import InputsError, OutputError, RequestRejectedError, UsageError
from charter_compiler.executor.recording import read_recording, recording_path
from charter_compiler.executor.run.options import RunOptions
from charter_compiler.executor.targets import OpenTarget
from charter_compiler.tokens.tokenizer import default_tokenizer

RULES = "These are the rules, which hold for each text that follows here. " * 4
AGENT = f"RULES = {RULES!r}\n\ndef process(text, llm):\n    return llm.generate(RULES + text, max_tokens=8)\n"


@dataclass
class Machine:
    """Runs the agent over "bad" and "good" on ``target``, which rejects "bad" while ``rejects``."""

    request: RunRequest
    rejects: bool = True
    target: OpenTarget = field(init=False)

    def __post_init__(self) -> None:
        self.target = OpenTarget("scripted", self._scripted(), facts(), default_tokenizer(), None)

    def run(self, **changes: Any) -> RunReport:
        self.target = replace(self.target, client=self._scripted())
        return measured_run(replace(self.request, **changes))

    def _scripted(self) -> ScriptedTarget:
        def answer(request: Any) -> str | Exception:
            return RequestRejectedError("no") if self.rejects and "bad" in request.prompt else "yes"

        return ScriptedTarget(answer)

    @property
    def sent(self) -> list[str]:
        assert isinstance(self.target.client, ScriptedTarget)
        return [str(request.prompt).removeprefix(RULES.rstrip()).strip() for request in self.target.client.sent]

    def indices(self) -> list[int]:
        return [json.loads(line)["index"] for line in self.request.output.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    inputs = tmp_path / "in.jsonl"
    inputs.write_text('{"text": "bad"}\n{"text": "good"}\n', encoding="utf-8")
    entry = f"{write_agent(tmp_path, AGENT)}:process"
    options = RunOptions(concurrency=1)
    machine = Machine(RunRequest(entry, inputs, tmp_path / "out.jsonl", options=options, predict=PredictWhen.NEVER))

    @asynccontextmanager
    async def opened(*_: object) -> AsyncIterator[OpenTarget]:
        yield machine.target

    monkeypatch.setattr("charter_compiler.executor.fleet.opening.open_target", opened)
    return machine


def test_a_run_is_not_resumed_with_another_model_tokenizer_or_plan(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.run()
    target, rows = machine.target, machine.request.output.read_bytes()
    for other, changed in (
        (replace(target, facts=replace(target.facts, model="another")), "model"),
        (replace(target, tokenizer=Mock(wraps=target.tokenizer, fingerprint="another")), "tokenizer"),
        (replace(target, facts=replace(target.facts, tokens_per_block=None)), "warm_ups"),
    ):
        machine.target = other
        with pytest.raises(UsageError, match=rf"the journal is of another run: {changed} changed"):
            machine.run(resume=True)
        assert machine.sent == []
        assert machine.request.output.read_bytes() == rows
    machine.target = target
    machine.rejects = False
    assert machine.run(resume=True).metrics.failed == 0
    assert machine.sent == ["bad"]
    assert machine.indices() == [0, 1]


def test_a_run_is_not_resumed_after_a_change_of_a_file_that_its_agent_imports(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "rules.py").write_text("RULES = 'Be kind. '\n", encoding="utf-8")
    write_agent(tmp_path, "import rules\n\ndef process(text, llm):\n    return llm.generate(rules.RULES + text)\n")
    machine.run()
    (tmp_path / "rules.py").write_text("RULES = 'Be brief. '\n", encoding="utf-8")
    with pytest.raises(UsageError, match="the journal is of another run: sources changed"):
        machine.run(resume=True)


def test_a_server_that_was_started_for_the_resumed_run_is_warmed_again(machine: Machine) -> None:
    assert machine.run().metrics.warmup_tokens
    assert machine.sent == ["", "bad", "good"]
    machine.target = replace(machine.target, server=Mock())
    assert machine.run(resume=True).metrics.failed == 1
    assert machine.sent == ["", "bad"]
    machine.rejects = False
    report = machine.run(resume=True)
    assert machine.sent == ["", "bad"]
    assert report.metrics.attainable_hit_rate is None
    machine.run(resume=True)
    assert machine.sent == [], "nothing is left to be done"


def test_a_resumed_run_states_no_attainable_rate_even_if_nothing_was_left(machine: Machine) -> None:
    machine.rejects = False
    assert machine.run().metrics.attainable_hit_rate is not None
    assert machine.run(resume=True).metrics.attainable_hit_rate is None


def test_a_resumed_run_goes_on_with_its_recording(machine: Machine) -> None:
    recording = recording_path(machine.request.output)
    machine.run(record=True)  # "bad" was not answered, so that it is not recorded
    first = recording.read_text(encoding="utf-8")
    assert [call["item"] for call in read_recording(recording)] == [None, 1]
    recording.write_text(first + '{"item": 0, "cut', encoding="utf-8")
    machine.rejects = False
    report = machine.run(record=True, resume=True)
    assert report.notes == ()
    assert recording.read_text(encoding="utf-8").startswith(first)
    calls = list(read_recording(recording))
    assert [call["item"] for call in calls] == [None, 1, 0], "what the journal answered is there once"
    assert calls[-1]["submitted_s"] >= calls[-2]["done_s"], "times are those of the whole run"


def test_a_recording_is_of_its_rows_alone(machine: Machine) -> None:
    machine.run(record=True)
    recording = recording_path(machine.request.output)
    machine.run()
    assert not recording.exists(), "it was an older run's"
    machine.rejects = False
    report = machine.run(record=True, resume=True)
    assert [call["item"] for call in read_recording(recording)] == [0]
    assert any("begins with the resumed part" in note for note in report.notes)
    recording.write_text("{}\n", encoding="utf-8")
    with pytest.raises(InputsError, match="not a recorded call"):
        machine.run(record=True, resume=True)


def test_rows_are_kept_when_the_recording_cannot_be_written(machine: Machine) -> None:
    machine.run()
    recording_path(machine.request.output).mkdir()
    with pytest.raises(OutputError):
        machine.run(resume=True, record=True)
    assert machine.indices() == [0, 1]


def test_a_recording_is_kept_when_the_rows_cannot_be_written(machine: Machine) -> None:
    machine.run(record=True)
    machine.request.output.unlink()
    machine.request.output.mkdir()
    with pytest.raises(OutputError):
        machine.run()
    assert recording_path(machine.request.output).exists()
