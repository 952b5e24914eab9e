"""``compile``: an entry and a target in; plan, predictions, engine configuration and report out."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from charter_compiler.api.compilation import AS_WRITTEN, Compilation, Rates, config_name
from charter_compiler.api.template_rates import template_rates
from charter_compiler.diagnostics.errors import UsageError
from charter_compiler.executor.entry import Entry, load_entry, split_entry
from charter_compiler.executor.inputs import InputRow, read_inputs
from charter_compiler.executor.orchestrator import RunOptions
from charter_compiler.executor.scheduler import Mode
from charter_compiler.executor.targets import LOCAL, OpenTarget, TargetOptions, check_target, open_target
from charter_compiler.executor.types import GenerationRequest
from charter_compiler.ir.nodes import Call
from charter_compiler.plan.execution_plan import ExecutionPlan, PredictedRates
from charter_compiler.predict.effects import possible_effects
from charter_compiler.predict.planning import analyse, calls_of_entry, plan_entry
from charter_compiler.predict.prediction import Prediction, predict_run
from charter_compiler.report.model import PassSaving
from charter_compiler.serve.discovery import find_running
from charter_compiler.serve.engine.interface import EngineConfig
from charter_compiler.tokens.tokenizer import Tokenizer, load_tokenizer


@dataclass(frozen=True, slots=True)
class CompileRequest:
    """What to compile, and for what.

    ``inputs`` (JSON Lines) are what the predictions are made over; without them rates come from the templates alone.
    ``block_size`` and ``capacity_blocks`` override the target's. ``allow_effects``: predict although the agent's code,
    which a prediction runs, may act on the outside. ``options`` say how the plan will be run.
    """

    entry: str
    inputs: Path | None = None
    target: str = LOCAL
    target_options: TargetOptions = field(default_factory=TargetOptions)
    options: RunOptions = field(default_factory=RunOptions)
    block_size: int | None = None
    capacity_blocks: int | None = None
    limit: int | None = None
    allow_effects: bool = False


def compile_agent(request: CompileRequest) -> Compilation:
    """Compile an entry for a target. Not to be called where an event loop runs.

    The agent's code runs (without a model) only where inputs are given and a prediction is made.

    Raises:
        UsageError: the target is unknown, or states no block size and none is given.
        EntryError, SourceError, InputsError: the entry or its inputs are wrong.
        TargetError: the target does not answer.
    """
    check_target(request.target)
    calls = calls_of_entry(request.entry)
    rows = _read_rows(request)
    target = _describe_target(request)
    analysis = analyse(calls, target.tokenizer, target.engine.tokens_per_block)
    plan = plan_entry(
        request.entry,
        analysis,
        target=request.target,
        model=target.model,
        tokenizer=target.tokenizer,
        block_size=target.engine.tokens_per_block,
        capacity_blocks=target.engine.capacity_blocks,
    )
    notes = [] if config_name(request.target) else [f"no engine configuration is written for {request.target}"]
    steps = _predict(request, rows, target, plan, calls, notes)
    found = Compilation(
        plan=plan,
        calls=calls,
        opportunities=analysis.opportunities,
        patterns=analysis.patterns,
        tokenizer=target.tokenizer,
        notes=tuple(notes),
    )
    if steps is None:
        templates = template_rates(calls, analysis.opportunities, target.tokenizer)
        rates = Rates(templates.hit_rate, templates.hit_rate, templates.constant_tokens)
        return replace(found, as_written=rates, planned=rates)
    written, last = steps[0][1], steps[-1][1]
    return replace(
        found,
        plan=replace(plan, predicted=_predicted_rates(len(rows), written, last)),
        inputs=len(rows),
        as_written=Rates.of(written),
        planned=Rates.of(last),
        passes=_savings(steps),
    )


@dataclass(frozen=True, slots=True)
class _Target:
    model: str
    tokenizer: Tokenizer
    engine: EngineConfig


def _describe_target(request: CompileRequest) -> _Target:
    """Tokenizer and sizes of the target. The embedded server need not run: what it would be started with counts."""
    if request.target == LOCAL:
        info = find_running()
        if info is not None:
            described = _Target(info.model, load_tokenizer(info.model_path), info.engine)
        else:
            model = request.target_options.model
            described = _Target(str(model), load_tokenizer(model), request.target_options.engine)
    else:
        described = asyncio.run(_ask_target(request))
    engine = replace(
        described.engine,
        tokens_per_block=request.block_size or described.engine.tokens_per_block,
        capacity_blocks=request.capacity_blocks or described.engine.capacity_blocks,
    )
    return replace(described, engine=engine)


async def _ask_target(request: CompileRequest) -> _Target:
    async with open_target(request.target, request.target_options) as target:
        tokenizer = target.tokenizer
        if tokenizer is None:
            raise UsageError(
                "the target does not say which tokenizer it has", place=request.target, remedy="give --tokenizer"
            )
        return _Target(target.facts.model, tokenizer, target.engine or _engine_from(request, target))


def _engine_from(request: CompileRequest, target: OpenTarget) -> EngineConfig:
    if request.block_size is None or request.capacity_blocks is None:
        raise UsageError(
            "the target states neither block size nor capacity",
            place=request.target,
            remedy="give --block-size and --capacity-blocks",
        )
    context = target.facts.max_context or request.block_size * request.capacity_blocks
    return EngineConfig(request.block_size, request.capacity_blocks, max_context=context)


def _read_rows(request: CompileRequest) -> list[InputRow]:
    if request.inputs is None:
        return []
    rows: list[InputRow] = []
    for row in read_inputs(request.inputs):
        if request.limit is not None and len(rows) == request.limit:
            break
        rows.append(row)
    return rows


def _predict(
    request: CompileRequest,
    rows: Sequence[InputRow],
    target: _Target,
    plan: ExecutionPlan,
    calls: Sequence[Call],
    notes: list[str],
) -> list[tuple[str, Prediction]] | None:
    """The run as written, then with each pass added; ``None``, and a note why, if there are no predictions."""
    if not rows:
        notes.append("no inputs: the rates are those of the templates' constant text alone")
        return None
    path, _ = split_entry(request.entry)
    entry = load_entry(request.entry)
    for row in rows:
        entry.bind(row.values, f"{request.inputs}:{row.line}")
    effects = () if request.allow_effects else possible_effects(path.resolve(), entry.root)
    if effects:
        notes.append(f"no prediction over the inputs, which would run the agent: {effects[0]} (--allow-effects)")
        return None
    warm_ups = tuple(GenerationRequest(prompt=prefix.text, max_tokens=1) for prefix in plan.warm_up)
    steps = (
        (AS_WRITTEN, Mode.BASELINE, ()),
        ("schedule: single-flight, item by item, admission by capacity", Mode.OPTIMIZED, ()),
        ("warm-up of constant prefixes", Mode.OPTIMIZED, warm_ups),
    )
    found = [(name, _predict_one(request, entry, rows, target, mode, warm, calls)) for name, mode, warm in steps]
    problem = next((prediction.problem for _, prediction in found if prediction.problem), None)
    if problem is not None:
        notes.append(f"no prediction over the inputs: {problem}")
        return None
    notes.extend({f"predictions leave calls out: {p.refused}" for _, p in found if p.refused})
    return found


def _predict_one(
    request: CompileRequest,
    entry: Entry,
    rows: Sequence[InputRow],
    target: _Target,
    mode: Mode,
    warm_ups: Sequence[GenerationRequest],
    calls: Sequence[Call],
) -> Prediction:
    options = replace(request.options, mode=mode)
    return predict_run(entry, rows, target.tokenizer, target.engine, options, warm_ups=warm_ups, calls=calls)


def _predicted_rates(inputs: int, written: Prediction, planned: Prediction) -> PredictedRates | None:
    figures = (planned.prompt_tokens, written.hit_rate, planned.hit_rate, planned.attainable_hit_rate)
    prompt, before, after, attainable = figures
    if prompt is None or before is None or after is None or attainable is None:
        return None
    return PredictedRates(inputs, prompt, before, after, attainable)


def _savings(steps: Sequence[tuple[str, Prediction]]) -> tuple[PassSaving, ...]:
    """What each pass saves beside those before it: prompt tokens that are computed, before less after."""
    computed = [(name, _computed(prediction)) for name, prediction in steps]
    return tuple(
        PassSaving(name, before - after)
        for (_, before), (name, after) in itertools.pairwise(computed)
        if before is not None and after is not None
    )


def _computed(prediction: Prediction) -> int | None:
    if prediction.prompt_tokens is None or prediction.cached_tokens is None:
        return None
    return prediction.prompt_tokens - prediction.cached_tokens
