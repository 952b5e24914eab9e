"""One run of one case in one way, as a raw row."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from charter_compiler.api.measured_run import measured_run
from charter_compiler.api.run_report import RunReport
from charter_compiler.api.run_request import PredictWhen, RunRequest
from charter_compiler.bench import replayed
from charter_compiler.bench.arms import Arm
from charter_compiler.bench.cases import Case
from charter_compiler.bench.conditions import now
from charter_compiler.bench.engines import Engines
from charter_compiler.bench.partial_reuse import attainable_hit_rate
from charter_compiler.bench.rows import RUN, Row, stages
from charter_compiler.bench.watch import Watch
from charter_compiler.bench.workloads import blocks_of_largest_call, make_rows, write_rows
from charter_compiler.diagnostics.errors import AgentError, CharterError
from charter_compiler.executor.recording import read_recording, recording_path
from charter_compiler.executor.run.options import RunOptions
from charter_compiler.executor.scheduler.mode import Mode
from charter_compiler.plan.execution_plan import ExecutionPlan
from charter_compiler.serve.engine.interface import EngineConfig
from charter_compiler.tokens.tokenizer import default_tokenizer

REPLAY = f"{replayed.__file__}:send"


@dataclass(frozen=True, slots=True)
class Prepared:
    """A case with its rows written to ``inputs``, in a folder of its own, and the capacity of the cache in blocks."""

    case: Case
    folder: Path
    inputs: Path
    need_blocks: int
    capacity_blocks: int

    def engine(self, *, reuse: bool) -> EngineConfig:
        """The sizes of the engine that the case runs on."""
        return EngineConfig(
            tokens_per_block=self.case.block_size,
            capacity_blocks=self.capacity_blocks,
            enable_block_reuse=reuse,
            enable_partial_reuse=self.case.partial_reuse and reuse,
        )

    def output(self, arm: Arm) -> Path:
        """Where a run's rows go; its recording lies beside it, until the next run of the arm."""
        return self.folder / f"{arm.name}.jsonl"


def prepare(case: Case, folder: Path) -> Prepared:
    """Write the rows of a case, and work out its capacity.

    Raises:
        UsageError: there are too few rows, or too little text.
        InputsError, EntryError: a row or the entry is broken.
    """
    folder.mkdir(parents=True, exist_ok=True)
    inputs, tokenizer = folder / "inputs.jsonl", default_tokenizer()
    write_rows(make_rows(case.agent, case.items, case.text_tokens, tokenizer), inputs)
    need = blocks_of_largest_call(case.agent.entry, inputs, case.max_tokens, case.block_size, tokenizer, case.items)
    capacity = case.blocks if case.pressure is None else round(case.pressure * need)
    return Prepared(case, folder, inputs, need, capacity)


def measure(
    prepared: Prepared, arm: Arm, in_flight: int, engines: Engines, plan: ExecutionPlan | None = None
) -> tuple[Row, RunReport | None]:
    """Run it once on a cold engine. A run that fails is a row too, with ``error``, and has no report.

    Args:
        in_flight: items at once.
        plan: the plan to follow, for an arm that warms nothing.
    """
    case, load, watch = prepared.case, os.getloadavg()[0], Watch()
    row: Row = {
        "kind": RUN,
        "arm": arm.name,
        "in_flight": in_flight,
        "started": now(),
        "load_average": round(load, 2),
        "engine": engines.name,
        "timed": engines.timed,
        "need_blocks": prepared.need_blocks,
        "capacity_blocks": prepared.capacity_blocks,
        "setting": setting(case),
        "engine_settings": asdict(prepared.engine(reuse=arm.reuse)),
    }
    try:
        with engines.cold(prepared.engine(reuse=arm.reuse)) as (target, options):
            entry, inputs = _what(prepared, arm)
            report = measured_run(
                RunRequest(
                    entry=entry,
                    inputs=inputs,
                    output=prepared.output(arm),
                    target=target,
                    target_options=options,
                    options=RunOptions(mode=arm.mode, concurrency=in_flight, max_tokens=case.max_tokens),
                    plan=plan,
                    # A baseline is planned by nobody; for the others the prediction chooses the order of calls.
                    predict=PredictWhen.NEVER if arm.mode is Mode.BASELINE else PredictWhen.ALWAYS,
                    record=True,
                    layout=arm.layout,
                ),
                watch,
            )
        if report.stopped is not None:
            raise report.stopped
        if report.interrupted:
            raise KeyboardInterrupt
        if report.first_error is not None:
            index, error = report.first_error
            raise AgentError(f"{error.type}: {error.message}", place=f"item {index}")
    except CharterError as error:
        return row | {"error": f"{type(error).__name__}: {error}"}, None
    return row | _figures(report, watch, case.partial_reuse), report


def _what(prepared: Prepared, arm: Arm) -> tuple[str, Path]:
    """Entry and inputs: the agent's, or the recorded prompts of another arm's last run."""
    if arm.prompts_of is None:
        return prepared.case.agent.entry, prepared.inputs
    of = prepared.folder / f"{arm.prompts_of}.jsonl"
    items: dict[int, list[tuple[int, dict[str, Any]]]] = {}
    for call in read_recording(recording_path(of)):
        sent = {"prompt": call["prompt"], "messages": call["messages"]}
        items.setdefault(call["item"], []).append((call["ordinal"], sent))
    inputs = prepared.folder / f"{arm.name}.inputs.jsonl"
    ordered = [sorted(calls, key=lambda call: call[0]) for _, calls in sorted(items.items())]
    write_rows([{"calls": [sent for _, sent in calls]} for calls in ordered], inputs)
    return REPLAY, inputs


def setting(case: Case) -> dict[str, Any]:
    """The case as JSON values; the agent by its name."""
    return asdict(case) | {"agent": case.agent.name, "concurrency": case.in_flight}


def _figures(report: RunReport, watch: Watch, partial_reuse: bool) -> dict[str, Any]:
    metrics = report.metrics
    assert report.recording is not None, "every run is recorded"
    served, rates = watch.served, {}
    if partial_reuse:
        possible = attainable_hit_rate(report.recording, default_tokenizer())
        rates["to_the_token"] = {"hit_rate": served and served.hit_rate, "attainable_hit_rate": possible}
    return {
        "metrics": metrics.to_json(),
        **rates,
        "s_per_item": metrics.wall_s / metrics.items,
        "stages": stages(report.recording),
        "peak_used_blocks": served and served.peak_blocks,
        "planning_s": round(watch.planning_s, 3),
        "schedule": None if report.plan is None or metrics.mode == Mode.BASELINE else str(report.plan.schedule),
    }
