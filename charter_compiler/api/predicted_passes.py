"""What each pass of a compilation is predicted to save over the inputs, and what the plan keeps for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from charter_compiler.api.calibration import find_calibration
from charter_compiler.api.compilation import Rates
from charter_compiler.api.compile_request import CompileRequest
from charter_compiler.api.compile_target import DescribedTarget
from charter_compiler.api.details import Details, prefix_rates
from charter_compiler.api.prediction_details import note_of_missing, output_source, predicted_seconds, size_cache
from charter_compiler.config.engines import Evidence
from charter_compiler.executor.defaults import LOCAL
from charter_compiler.executor.entry import load_entry, package_root, split_entry
from charter_compiler.executor.inputs import InputRow
from charter_compiler.executor.layout import PromptLayouts
from charter_compiler.executor.scheduler.mode import Mode
from charter_compiler.executor.types import GenerationRequest
from charter_compiler.ir.nodes import Call
from charter_compiler.passes.template import PlannedLayout
from charter_compiler.plan.execution_plan import ExecutionPlan
from charter_compiler.plan.schedule import DEFAULT_SCHEDULE, Schedule
from charter_compiler.predict.capacity import CapacityPoint, capacity_points
from charter_compiler.predict.control_flow import ItemTrace, trace_agent
from charter_compiler.predict.effects import possible_effects
from charter_compiler.predict.evidence import evidence_of
from charter_compiler.predict.planning import Analysis
from charter_compiler.predict.prediction import Prediction, Simulation, predict_traces
from charter_compiler.predict.schedules import choose_schedule
from charter_compiler.report.model import PassSaving
from charter_compiler.tokens.models import find_model

LAYOUT = "layout: what stays the same longest comes first"
SCHEDULE = "schedule: single-flight, item by item, admission by capacity"
WARM_UP = "warm-up of constant prefixes"
ORDER = "order of calls"
CURVE_TOKENS = 30_000
"""Prompt tokens of a run up to which it is simulated at many capacities without being asked for: some seconds."""
_TEMPLATES_ALONE = "the hit rate is that of the templates' constant text alone"


@dataclass(frozen=True, slots=True)
class PredictedPasses:
    """The run as written and as planned, and what each pass saves. ``warms``: the plan is to warm its prefixes;
    ``schedule``: the order of calls that it is to have.
    ``evidence`` are the requests themselves, for engine configuration."""

    as_written: Rates
    planned: Rates
    passes: tuple[PassSaving, ...]
    warms: bool = True
    schedule: Schedule = DEFAULT_SCHEDULE
    evidence: Evidence = field(default_factory=Evidence)
    details: Details | None = None


def predict_passes(
    request: CompileRequest,
    rows: Sequence[InputRow],
    target: DescribedTarget,
    plan: ExecutionPlan,
    calls: Sequence[Call],
    analysis: Analysis,
    notes: list[str],
) -> PredictedPasses | None:
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
    constant = tuple(GenerationRequest(prompt=prefix.text, max_tokens=1) for prefix in plan.constant)
    warm_ups = constant if plan.warms else ()

    def simulation(mode: Mode, schedule: Schedule = DEFAULT_SCHEDULE) -> Simulation:
        options = replace(request.options, mode=mode, schedule=schedule)
        return Simulation(target.tokenizer, target.engine, options, costs, target.profile, constant=constant)

    def predict(
        how: Simulation, traces: Sequence[ItemTrace] = as_written, warm_ups: Sequence[GenerationRequest] = ()
    ) -> Prediction:
        return predict_traces(traces, rows, how, warm_ups=warm_ups, calls=calls)

    chosen = simulation(Mode.OPTIMIZED)
    steps = [predict(simulation(Mode.BASELINE)), predict(chosen)]
    names = [SCHEDULE]
    if plan.layouts:
        steps.append(predict(chosen, as_planned))
        names.append(LAYOUT)
    problem = next((step.problem for step in steps if step.problem), None)
    if problem is not None:
        notes.append(f"no prediction over the inputs: {problem}; {_TEMPLATES_ALONE}")
        return None
    sent = tuple(analysis.graph.calls.values())
    choice = choose_schedule(chosen, as_planned, sent)
    if choice.schedule != DEFAULT_SCHEDULE:
        chosen = simulation(Mode.OPTIMIZED, choice.schedule)
        steps.append(predict(chosen, as_planned))
        names.append(f"{ORDER}: {choice.schedule}")
        notes.append(f"order of calls: {choice.schedule}; of {len(choice.tried)} that were simulated {choice.why}")
    if warm_ups:
        steps.append(predict(chosen, as_planned, warm_ups))
        names.append(WARM_UP)
    notes.extend({f"predictions leave calls out: {step.refused}" for step in steps if step.refused})
    evidence = evidence_of(as_planned, plan, target.tokenizer, request.options.concurrency)
    decided = decide(names, [Rates.of(step) for step in steps], notes)
    used = warm_ups if decided.warms else ()
    planned = predict_traces(as_planned, rows, chosen, warm_ups=used, calls=sent, explained=True)
    sizing = None
    if request.sizing is not None:
        model = request.config.model_files
        if model is None and request.target == LOCAL:
            model = find_model(request.target_options.model)
        sizing = size_cache(request.sizing, chosen, as_planned, used, model, request.config.gpu, notes)
    curve: tuple[CapacityPoint, ...] = ()
    if request.sizing is not None or (planned.prompt_tokens or 0) <= CURVE_TOKENS:
        curve = capacity_points((simulation(Mode.BASELINE), as_written), (chosen, as_planned), used)
    else:
        notes.append(
            f"hit rate against capacity is not in the report: a run of more than {CURVE_TOKENS:,} prompt tokens takes "
            "long to simulate at many capacities (--size does it)"
        )
    details = Details(
        planned.explained,
        prefix_rates(analysis.opportunities, planned.explained),
        predicted_seconds(calibration, steps[0], planned),
        sizing,
        planned.views,
        curve,
    )
    return replace(decided, schedule=choice.schedule, evidence=evidence, details=details)


def decide(names: Sequence[str], rates: Sequence[Rates], notes: list[str]) -> PredictedPasses:
    """What the passes save, each beside those before it, and whether the warm-up, the last, stays in the plan.

    ``rates`` has one more than ``names``: the run as written comes first.
    """
    passes = tuple(
        PassSaving(name, _saved(before, after)) for name, before, after in zip(names, rates, rates[1:], strict=False)
    )
    if names[-1] != WARM_UP or passes[-1].saved_tokens > 0:
        return PredictedPasses(rates[0], rates[-1], passes)
    saved = passes[-1].saved_tokens
    notes.append(f"the plan leaves the warm-up out: over these inputs it would compute {-saved} more prompt tokens")
    left_out = PassSaving(f"{WARM_UP}, left out", saved)
    return PredictedPasses(rates[0], rates[-2], (*passes[:-1], left_out), warms=False)


def _saved(before: Rates, after: Rates) -> int:
    """Prompt tokens that are computed before, less those after."""
    assert before.computed_tokens is not None, "a prediction without a problem counts tokens"
    assert after.computed_tokens is not None, "a prediction without a problem counts tokens"
    return before.computed_tokens - after.computed_tokens
