"""``compile``: an entry and a target in; plan, predictions, engine configuration and report out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from charter_compiler.api.agent_output import rewrite_sources
from charter_compiler.api.calibration import find_calibration
from charter_compiler.api.compilation import Compilation, Rates
from charter_compiler.api.details import Details, prefix_rates
from charter_compiler.api.engine_target import ConfigOptions, describe_engine_target
from charter_compiler.api.prediction_details import (
    SizingRequest,
    note_of_missing,
    output_source,
    predicted_seconds,
    size_cache,
)
from charter_compiler.api.template_rates import template_hit_rate
from charter_compiler.config.engines import Evidence
from charter_compiler.diagnostics.errors import EntryError, UsageError
from charter_compiler.executor.entry import load_entry, package_root, split_entry
from charter_compiler.executor.inputs import InputRow, read_inputs
from charter_compiler.executor.layout import PromptLayouts
from charter_compiler.executor.orchestrator import RunOptions
from charter_compiler.executor.scheduler import Mode
from charter_compiler.executor.targets import (
    LOCAL,
    OpenTarget,
    TargetOptions,
    check_target,
    engine_config,
    open_target,
    served_tokenizer,
)
from charter_compiler.executor.types import GenerationRequest
from charter_compiler.ir.nodes import Agent, Call
from charter_compiler.passes.pipeline import run_passes
from charter_compiler.passes.template import PlannedLayout
from charter_compiler.plan.execution_plan import ExecutionPlan
from charter_compiler.predict.control_flow import ItemTrace, trace_agent
from charter_compiler.predict.effects import possible_effects
from charter_compiler.predict.evidence import evidence_of
from charter_compiler.predict.layout_of_entry import lay_out_entry, planned_layouts
from charter_compiler.predict.planning import Analysis, analyse, calls_of_entry, plan_entry
from charter_compiler.predict.prediction import Prediction, Simulation, predict_traces
from charter_compiler.report.model import PassSaving
from charter_compiler.serve.discovery import find_running
from charter_compiler.serve.engine.interface import EngineConfig
from charter_compiler.tokens.models import find_model
from charter_compiler.tokens.tokenizer import Tokenizer, load_tokenizer

LAYOUT = "layout: what stays the same longest comes first"
SCHEDULE = "schedule: single-flight, item by item, admission by capacity"
WARM_UP = "warm-up of constant prefixes"
_TEMPLATES_ALONE = "the hit rate is that of the templates' constant text alone"


@dataclass(frozen=True, slots=True)
class CompileRequest:
    """What to compile, and for what.

    ``inputs`` (JSON Lines) are what the predictions are made over; without them rates come from the templates alone.
    ``block_size`` and ``capacity_blocks`` override the target's. ``allow_effects``: predict although the agent's code,
    which a prediction runs, may act on the outside. ``options`` say how the plan will be run, ``config`` for which
    engines and GPUs configuration is written. ``layout``: prompts may be put into another order, and, with ``wording``,
    labels of one value made one; see ``passes.layout``. ``outputs_of``: the rows of an earlier run, whose recorded
    outputs stand in for the model's. ``sizing``: search for the cache's size too.
    """

    entry: str
    inputs: Path | None = None
    target: str = LOCAL
    target_options: TargetOptions = field(default_factory=TargetOptions)
    options: RunOptions = field(default_factory=RunOptions)
    config: ConfigOptions = field(default_factory=ConfigOptions)
    block_size: int | None = None
    capacity_blocks: int | None = None
    limit: int | None = None
    allow_effects: bool = False
    layout: bool = False
    wording: bool = True
    outputs_of: Path | None = None
    sizing: SizingRequest | None = None


def compile_agent(request: CompileRequest) -> Compilation:
    """Compile an entry for a target. Not to be called where an event loop runs.

    The agent's code runs (without a model) only where inputs are given and a prediction is made.

    Raises:
        UsageError: the target is unknown, or states no block size and none is given.
        EntryError, SourceError, InputsError: the entry or its inputs are wrong, or its file has no model call.
        TargetError: the target does not answer.
        ConfigError: the engines, versions or GPUs that configuration is asked for are not known.
    """
    check_target(request.target)
    calls = calls_of_entry(request.entry)
    path = split_entry(request.entry)[0].resolve()
    if not calls:
        raise EntryError(
            "no model call was found in the file of the entry",
            place=request.entry,
            remedy="see what is found with: charter inspect",
        )
    rows = _read_rows(request)
    target = _describe_target(request)
    ran = run_passes(Agent(request.entry, calls))
    layout = lay_out_entry(request.entry, calls, rows, wording=request.wording) if request.layout else None
    sent = calls if layout is None else layout.agent.calls
    analysis = analyse(sent, target.tokenizer, target.engine.tokens_per_block)
    plan = plan_entry(
        request.entry,
        analysis,
        target=request.target,
        model=target.model,
        tokenizer=target.tokenizer,
        block_size=target.engine.tokens_per_block,
        capacity_blocks=target.engine.capacity_blocks,
        layouts=() if layout is None else planned_layouts(layout),
    )
    notes: list[str] = []
    local = request.target_options.model if request.target == LOCAL else None
    engine_target, engines = describe_engine_target(request.config, local, notes)
    sources = [Path(source.path) for source in plan.sources]
    rewrites = () if layout is None else rewrite_sources(layout, sources, notes)
    prediction = _predict(request, rows, target, plan, calls, analysis, notes)
    found = Compilation(
        plan=plan,
        root=package_root(path),
        calls=calls,
        opportunities=analysis.opportunities,
        patterns=analysis.patterns,
        tokenizer=target.tokenizer,
        notes=tuple(notes),
        ran=ran,
        layout=layout,
        rewrites=rewrites,
        engine_target=engine_target,
        engines=engines,
    )
    if prediction is None:
        planned = Rates(template_hit_rate(sent, analysis.opportunities, target.tokenizer))
        if layout is None:
            return replace(found, as_written=planned, planned=planned)
        written = analyse(calls, target.tokenizer, target.engine.tokens_per_block).opportunities
        return replace(found, as_written=Rates(template_hit_rate(calls, written, target.tokenizer)), planned=planned)
    return replace(
        found,
        plan=replace(plan, warms=prediction.warms),
        inputs=len(rows),
        as_written=prediction.as_written,
        planned=prediction.planned,
        passes=prediction.passes,
        evidence=prediction.evidence,
        details=prediction.details,
    )


@dataclass(frozen=True, slots=True)
class _Target:
    model: str
    tokenizer: Tokenizer
    engine: EngineConfig
    profile: str | None = None


def _describe_target(request: CompileRequest) -> _Target:
    """Tokenizer and sizes of the target. The embedded server need not run: what it would be started with counts."""
    if request.target == LOCAL:
        info = find_running()
        if info is not None:
            served = served_tokenizer(info, request.target_options.tokenizer)
            described = _Target(info.model, _require_tokenizer(served, request), info.engine)
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


def _require_tokenizer(tokenizer: Tokenizer | None, request: CompileRequest) -> Tokenizer:
    if tokenizer is None:
        raise UsageError(
            "the target does not say which tokenizer it has", place=request.target, remedy="give --tokenizer"
        )
    return tokenizer


async def _ask_target(request: CompileRequest) -> _Target:
    async with open_target(request.target, request.target_options) as target:
        tokenizer = _require_tokenizer(target.tokenizer, request)
        engine = target.engine or _engine_from(request, target)
        return _Target(target.facts.model, tokenizer, engine, target.facts.engine)


def _engine_from(request: CompileRequest, target: OpenTarget) -> EngineConfig:
    if request.block_size is None or request.capacity_blocks is None:
        raise UsageError(
            "the target states neither block size nor capacity",
            place=request.target,
            remedy="give --block-size and --capacity-blocks",
        )
    return engine_config(target.facts, request.block_size, request.capacity_blocks)


def _read_rows(request: CompileRequest) -> list[InputRow]:
    if request.inputs is None:
        return []
    rows: list[InputRow] = []
    for row in read_inputs(request.inputs):
        if request.limit is not None and len(rows) == request.limit:
            break
        rows.append(row)
    return rows


@dataclass(frozen=True, slots=True)
class _Predicted:
    """The run as written and as planned, and what each pass saves. ``warms``: the plan is to warm its prefixes.
    ``evidence`` are the requests themselves, for engine configuration."""

    as_written: Rates
    planned: Rates
    passes: tuple[PassSaving, ...]
    warms: bool = True
    evidence: Evidence = field(default_factory=Evidence)
    details: Details | None = None


def _predict(
    request: CompileRequest,
    rows: Sequence[InputRow],
    target: _Target,
    plan: ExecutionPlan,
    calls: Sequence[Call],
    analysis: Analysis,
    notes: list[str],
) -> _Predicted | None:
    """The run as written and with each pass added; ``None``, and a note why, if there are no predictions."""
    if not rows:
        notes.append(f"no inputs: {_TEMPLATES_ALONE}")
        return None
    # Before the module is loaded: to load it is to run it.
    path = split_entry(request.entry)[0].resolve()
    effects = () if request.allow_effects else possible_effects(path, package_root(path))
    if effects:
        notes.append(
            f"no prediction over the inputs, which would run the agent: {effects[0]} (--allow-effects); "
            f"{_TEMPLATES_ALONE}"
        )
        return None
    entry = load_entry(request.entry)
    for row in rows:
        entry.bind(row.values, f"{request.inputs}:{row.line}")

    outputs = output_source(request.outputs_of, target.tokenizer)

    def trace(layouts: Sequence[PlannedLayout]) -> list[ItemTrace]:
        most = request.options.max_tokens
        return trace_agent(entry, rows, outputs, max_tokens=most, calls=calls, layouts=PromptLayouts(layouts, calls))

    as_written = trace(())
    as_planned = trace(plan.layouts) if plan.layouts else as_written
    notes.extend(note_of_missing(outputs))
    calibration = find_calibration(request.target, target.model)
    costs = None if calibration is None else calibration.costs
    warm_ups = tuple(GenerationRequest(prompt=prefix.text, max_tokens=1) for prefix in plan.warm_up)

    def simulation(mode: Mode) -> Simulation:
        return Simulation(target.tokenizer, target.engine, replace(request.options, mode=mode), costs, target.profile)

    def predict(
        mode: Mode, traces: Sequence[ItemTrace] = as_written, warm_ups: Sequence[GenerationRequest] = ()
    ) -> Prediction:
        return predict_traces(traces, rows, simulation(mode), warm_ups=warm_ups, calls=calls)

    steps = [predict(Mode.BASELINE), predict(Mode.OPTIMIZED)]
    names = [SCHEDULE]
    if plan.layouts:
        steps.append(predict(Mode.OPTIMIZED, as_planned))
        names.append(LAYOUT)
    if warm_ups:
        steps.append(predict(Mode.OPTIMIZED, as_planned, warm_ups))
        names.append(WARM_UP)
    problem = next((step.problem for step in steps if step.problem), None)
    if problem is not None:
        notes.append(f"no prediction over the inputs: {problem}; {_TEMPLATES_ALONE}")
        return None
    notes.extend({f"predictions leave calls out: {step.refused}" for step in steps if step.refused})
    evidence = evidence_of(as_planned, plan, target.tokenizer, request.options.concurrency)
    decided = _decide(names, [Rates.of(step) for step in steps], notes)
    used = warm_ups if decided.warms else ()
    chosen = simulation(Mode.OPTIMIZED)
    sent = tuple(analysis.graph.calls.values())
    planned = predict_traces(as_planned, rows, chosen, warm_ups=used, calls=sent, explained=True)
    sizing = None
    if request.sizing is not None:
        model = request.config.model_files
        if model is None and request.target == LOCAL:
            model = find_model(request.target_options.model)
        sizing = size_cache(request.sizing, chosen, as_planned, used, model, request.config.gpu, notes)
    details = Details(
        planned.explained,
        prefix_rates(analysis.opportunities, planned.explained),
        predicted_seconds(calibration, steps[0], planned),
        sizing,
    )
    return replace(decided, evidence=evidence, details=details)


def _decide(names: Sequence[str], rates: Sequence[Rates], notes: list[str]) -> _Predicted:
    """What the passes save, each beside those before it, and whether the warm-up, the last, stays in the plan.

    ``rates`` has one more than ``names``: the run as written comes first.
    """
    passes = tuple(
        PassSaving(name, _saved(before, after)) for name, before, after in zip(names, rates, rates[1:], strict=False)
    )
    if names[-1] != WARM_UP or passes[-1].saved_tokens > 0:
        return _Predicted(rates[0], rates[-1], passes)
    saved = passes[-1].saved_tokens
    notes.append(f"the plan leaves the warm-up out: over these inputs it would compute {-saved} more prompt tokens")
    left_out = PassSaving(f"{WARM_UP}, left out", saved)
    return _Predicted(rates[0], rates[-2], (*passes[:-1], left_out), warms=False)


def _saved(before: Rates, after: Rates) -> int:
    """Prompt tokens that are computed before, less those after."""
    assert before.computed_tokens is not None, "a prediction without a problem counts tokens"
    assert after.computed_tokens is not None, "a prediction without a problem counts tokens"
    return before.computed_tokens - after.computed_tokens
