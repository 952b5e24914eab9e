"""The plan's hints beside a run's calls: on the real server, which says what became of them."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest
from run_doubles import write_agent
from server_requests import ask

from charter_compiler.api import measured_run as module
from charter_compiler.api.measured_run import RunReport, measured_run
from charter_compiler.api.run_request import PredictWhen, RunRequest
from charter_compiler.executor.hinting import RunHints
from charter_compiler.executor.run.options import RunOptions
from charter_compiler.executor.types import GenerationRequest
from charter_compiler.serve.server import ServerHandle

AGENT = """
HEAD = "You read reports with great care, and you answer in one short sentence. " * 6

def process(text, llm):
    facts = llm.generate(f"{HEAD}\\nReport: {text}\\nFacts:", max_tokens=3)
    return llm.generate(f"{HEAD}\\nReport: {text}\\nSummary of {facts}:", max_tokens=3)
"""


def run(folder: Path, target: str, *, hints: bool = True) -> RunReport:
    rows = "".join(json.dumps({"text": f"{folder.name} number {n}. " * 9}) + "\n" for n in range(2))
    (folder / "in.jsonl").write_text(rows, encoding="utf-8")
    return measured_run(
        RunRequest(
            f"{write_agent(folder, AGENT)}:process",
            folder / "in.jsonl",
            folder / "out.jsonl",
            target=target,
            options=RunOptions(concurrency=1),
            predict=PredictWhen.NEVER,
            hints=hints,
        )
    )


@pytest.mark.server
def test_the_server_takes_what_the_plan_says(
    tmp_path: Path, embedded_server: ServerHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []

    class Noted(RunHints):
        def of(self, *args: object) -> str | None:
            found = super().of(*args)  # type: ignore[arg-type]
            written.append(found or "")
            return found

    monkeypatch.setattr(module, "RunHints", Noted)
    outcome = run(tmp_path, f"triton://{embedded_server.grpc_url}/ensemble")
    assert (outcome.stopped, outcome.metrics.failed, outcome.metrics.calls) == (None, 0, 4)
    envelopes = [json.loads(one) for one in written if one]
    assert len(envelopes) == 4
    kinds = [[action["action_type"] for action in one["actions"]] for one in envelopes]
    assert any("charter.retain" in kind or "charter.pin" in kind for kind in kinds[:1])
    assert "charter.release" in kinds[1]
    nothing = {"model": "tensorrt_llm", "input_lengths": 1, "request_output_len": 1}
    for one in envelopes:
        asked = ask(embedded_server.grpc_url, **nothing, parameters={"kv_outcomes_of": one["message_id"]})
        told = json.loads(asked[-1].outputs["charter_kv_report"][0])
        outcomes = {each["action_type"]: each["outcome"] for each in told["outcomes"]}
        assert len(told["outcomes"]) == len(one["actions"])
        assert "ignored" not in outcomes.values(), "only what it announces is sent"
        kept = [outcomes[kind] for kind in ("charter.retain", "charter.pin") if kind in outcomes]
        assert "accepted" in kept, told


def test_a_target_that_takes_none_is_named(tmp_path: Path) -> None:
    outcome = run(tmp_path, "sim")
    assert any("no hints are sent" in note for note in outcome.notes)
    assert not any("no hints" in note for note in run(tmp_path, "sim", hints=False).notes)


def test_hints_are_no_part_of_what_is_asked() -> None:
    assert GenerationRequest(prompt="a", kv_hints=uuid.uuid4().hex) == GenerationRequest(prompt="a")
