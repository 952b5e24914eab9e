"""Predicted beside measured hit rates of example agents on the real embedded server, and the calibration of it.

Short inputs and outputs: `make bench-prediction` measures all agents, on vLLM too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from charter_compiler.api.calibration import CalibrationRequest, calibrate, find_calibration
from charter_compiler.api.measured_run import measured_run
from charter_compiler.api.run_request import RunRequest
from charter_compiler.executor.run.options import RunOptions
from charter_compiler.executor.scheduler.mode import Mode
from charter_compiler.serve.engine.interface import EngineConfig
from charter_compiler.serve.options import ServerOptions
from charter_compiler.serve.server import start_server
from charter_compiler.tokens.models import DEFAULT_MODEL

pytestmark = [pytest.mark.server, pytest.mark.timeout(600)]

EXAMPLES = Path(__file__).parents[2] / "examples"
CHARACTERS = 300
"""Of each text of the inputs."""


@pytest.fixture(scope="module")
def target(model_path: Path) -> Iterator[str]:
    """A server whose cache no other test fills. The agents share no prompt, so that one server does for all."""
    options = ServerOptions(model_path=model_path, model_name=DEFAULT_MODEL.name, engine=EngineConfig(max_context=2048))
    with start_server(options) as server:
        yield f"triton://{server.grpc_url}/ensemble"


def short(value: Any) -> Any:
    return value[:CHARACTERS] if isinstance(value, str) else value[:1]


@pytest.mark.parametrize(
    ("agent", "data", "mode", "items"),
    [
        ("map_reduce.py:summarize", "documents.jsonl", Mode.OPTIMIZED, 2),
        ("debate.py:Debate.decide", "report_questions.jsonl", Mode.BASELINE, 1),
        ("retrieval.py:Retrieval.answer", "report_questions.jsonl", Mode.OPTIMIZED, 3),
    ],
)
def test_predicted_and_measured_rates_agree(
    tmp_path: Path, target: str, agent: str, data: str, mode: Mode, items: int
) -> None:
    with (EXAMPLES / "data" / data).open(encoding="utf-8") as file:
        rows = [{key: short(value) for key, value in json.loads(next(file)).items()} for _ in range(items)]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    report = measured_run(
        RunRequest(
            entry=f"{EXAMPLES / 'agents'}/{agent}",
            inputs=tmp_path / "in.jsonl",
            output=tmp_path / "out.jsonl",
            target=target,
            options=RunOptions(mode=mode, concurrency=2, max_tokens=6),
        )
    )
    assert report.stopped is None
    assert report.metrics.failed == 0
    assert report.prediction is not None
    predicted, measured = report.prediction.hit_rate, report.metrics.hit_rate
    print(f"{agent}: predicted {predicted:.1%}, measured {measured:.1%}")
    assert measured
    assert predicted == pytest.approx(measured, abs=0.02)


def test_a_calibration_is_measured_kept_and_found(tmp_path: Path, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHARTER_HOME", str(tmp_path))
    assert find_calibration(target, DEFAULT_MODEL.name) is None
    steps: list[str] = []
    made = calibrate(CalibrationRequest(target, seconds=1.0), steps.append)
    assert steps[-1] == "checking the fit on a small workload"
    assert len(made.prefill) == 2, "two lengths in the shortest time"
    assert [sample.requests for sample in made.decode] == [1, 4]
    assert made.costs.prefill_token > 0
    # How much of an iteration each request adds is lost in the noise of so short a probe; what it takes is not.
    assert made.costs.step + made.costs.decode_token > 0
    assert made.check.calls == 8
    assert made.check.predicted_s > 0
    assert made.check.measured_s > 0
    assert find_calibration(target, DEFAULT_MODEL.name) == made
