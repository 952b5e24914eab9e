"""The gate of a layout: N inputs run as written and laid out, the outputs compared, the layout refused if they part."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from charter_compiler.api.defaults import DEFAULT_METRIC, DEFAULT_THRESHOLD
from charter_compiler.api.layout_metrics import load_metric
from charter_compiler.api.measured_run import measured_run
from charter_compiler.api.run_request import PredictWhen, RunRequest
from charter_compiler.diagnostics.errors import AgentError, LayoutRefusedError
from charter_compiler.executor.scheduler.mode import Mode


@dataclass(frozen=True, slots=True)
class GateOptions:
    """``inputs``: so many rows are run both ways; ``threshold``: the least mean score that is let through."""

    inputs: int
    metric: str = DEFAULT_METRIC
    threshold: float = DEFAULT_THRESHOLD


@dataclass(frozen=True, slots=True)
class GateResult:
    """The mean score and the rows' own; where the outputs lie."""

    score: float
    scores: tuple[float, ...]
    metric: str
    threshold: float
    folder: Path

    @property
    def passed(self) -> bool:
        return self.score >= self.threshold

    def __str__(self) -> str:
        return f"{self.metric} {self.score:.3f} over {len(self.scores)} rows, threshold {self.threshold:g}"


def check_layout(request: RunRequest, gate: GateOptions, folder: Path) -> GateResult:
    """Run the first rows twice, greedy calls on the same target in the same mode, and compare. The agent really runs.

    ``request`` is the laid-out run; ``folder`` takes the rows of both.

    Raises:
        UsageError: there is no such metric, or the rows hold no answers for it.
        AgentError: an item failed, or the metric raised or gave no number.
        And what ``measured_run`` raises.
    """
    metric = load_metric(gate.metric)
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[list[dict[str, Any]]] = []
    for name, layout in (("as_written", False), ("laid_out", True)):
        one = replace(
            request,
            output=folder / f"{name}.jsonl",
            plan=request.plan if layout else None,
            layout=layout,
            limit=min(gate.inputs, request.limit or gate.inputs),
            options=replace(request.options, mode=Mode.OPTIMIZED),
            predict=PredictWhen.NEVER,
            resume=False,
        )
        report = measured_run(one)
        if report.stopped is not None:
            raise report.stopped
        if report.first_error is not None:
            index, error = report.first_error
            raise AgentError(f"{error.type}: {error.message}", place=f"{one.output}, item {index}")
        rows.append([json.loads(line) for line in one.output.read_text(encoding="utf-8").splitlines()])
    scores = tuple(
        _score(metric, gate.metric, old["output"], new["output"], old["input"]) for old, new in zip(*rows, strict=True)
    )
    if not scores:
        raise AgentError("there is no row to compare", place=str(request.inputs))
    return GateResult(sum(scores) / len(scores), scores, gate.metric, gate.threshold, folder)


def require(result: GateResult) -> None:
    """Refuse a layout below the threshold.

    Raises:
        LayoutRefusedError: the mean score is below it.
    """
    if not result.passed:
        raise LayoutRefusedError(
            f"the layout changes the outputs too much: {result}",
            place=str(result.folder),
            remedy="compare the rows there; leave --layout out, add --keep-wording, or set another --threshold",
        )


def _score(metric: Any, name: str, old: Any, new: Any, row: Mapping[str, Any]) -> float:
    try:
        return float(metric(old, new, row))
    except (TypeError, ValueError, ArithmeticError, LookupError) as error:
        raise AgentError(f"the metric raised {type(error).__name__}: {error}", place=name) from error
