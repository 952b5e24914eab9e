"""The prediction of a run before it, and the schedule that it is best run with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from charter_compiler.api.run_request import PredictWhen, RunRequest
from charter_compiler.cache.unbounded import UnboundedCache
from charter_compiler.executor.entry import Entry
from charter_compiler.executor.inputs import InputRow
from charter_compiler.executor.layout import PromptLayouts
from charter_compiler.executor.prompts import PromptTokens
from charter_compiler.executor.run.options import RunOptions
from charter_compiler.executor.scheduler.ended_items import EndedItems
from charter_compiler.executor.scheduler.mode import Mode
from charter_compiler.executor.targets import OpenTarget
from charter_compiler.executor.threads import in_daemon_thread
from charter_compiler.executor.types import GenerationRequest
from charter_compiler.ir.nodes import Call
from charter_compiler.passes.template import PlannedLayout
from charter_compiler.plan.placement import Placement
from charter_compiler.plan.schedule import DEFAULT_SCHEDULE, Schedule
from charter_compiler.predict.control_flow import ItemTrace, trace_agent
from charter_compiler.predict.effects import possible_effects
from charter_compiler.predict.endpoints import share_out, together
from charter_compiler.predict.expected_items import expected_items
from charter_compiler.predict.grouping import ItemWeights
from charter_compiler.predict.prediction import Prediction, Simulation, predict_traces
from charter_compiler.predict.schedules import NEAR, choose_schedule, computed_tokens, reuses_enough
from charter_compiler.predict.synthetic import SyntheticOutputs

AS_IT_GOES = "no prediction: which endpoint has which call is decided as the run goes (--placement prefix)"
UNSTATED = "no prediction: the target does not state its tokenizer, block size and capacity"
PREDICTED_ROWS = 1_000
"""Of a longer run the first rows stand for the rest: a prediction takes milliseconds a call, and holds its prompts."""


@dataclass(frozen=True, slots=True)
class Placing:
    """What places the items of a run: the plan's fields, and the weights of rows."""

    group_by: tuple[str, ...]
    weigh: ItemWeights

    def share_out(self, traces: Sequence[ItemTrace], endpoints: Iterable[str]) -> dict[str, list[ItemTrace]]:
        """The items of each endpoint, as the run places them."""
        return share_out(traces, endpoints, self.group_by, self.weigh)


@dataclass(frozen=True, slots=True)
class Predicted:
    """The prediction, ``None`` where there is none; the plan's schedule, or the one that is predicted to be best where
    there is no plan; whether the warm-ups are sent; notes on why there is no prediction, or what it leaves out; and
    what the items are expected to need of the cache, by an endpoint's block size and capacity."""

    prediction: Prediction | None
    schedule: Schedule
    warms: bool = True
    notes: tuple[str, ...] = ()
    expected: Mapping[tuple[int | None, int | None], EndedItems] = field(default_factory=dict)


async def predict_request(
    request: RunRequest,
    entry: Entry,
    rows: Iterator[InputRow],
    calls: Sequence[Call],
    sent: Sequence[Call],
    layouts: Sequence[PlannedLayout],
    targets: Mapping[str, OpenTarget],
    placing: Placing,
    warm_ups: Sequence[GenerationRequest],
    constant: Sequence[GenerationRequest],
) -> Predicted:
    """The prediction, and what it decides. Of ``rows`` the first ``PREDICTED_ROWS`` are predicted. ``targets``: the
    endpoints by name. ``constant``: prompts that belong to no item, warmed or not."""
    tokenizer = next(iter(targets.values())).tokenizer
    engines = {name: target.engine for name, target in targets.items() if target.engine is not None}
    planned = DEFAULT_SCHEDULE if request.plan is None else request.plan.schedule
    if request.predict is PredictWhen.NEVER:
        return Predicted(None, planned)
    if tokenizer is None or len(engines) < len(targets):
        return Predicted(None, planned, notes=(UNSTATED,))
    if len(targets) > 1 and request.options.placed is not Placement.PREFIX:
        return Predicted(None, planned, notes=(AS_IT_GOES,))
    if request.predict is PredictWhen.PURE:
        effects = possible_effects(entry.path.resolve(), entry.root)
        if effects:
            why = f"no prediction, which would run the agent once more: {effects[0]} (--allow-effects)"
            return Predicted(None, planned, notes=(why,))

    predicted = list(islice(rows, PREDICTED_ROWS))

    def work() -> Predicted:
        outputs, orders = SyntheticOutputs(tokenizer), PromptLayouts(layouts, calls)
        most = request.options.max_tokens
        traces = trace_agent(entry, predicted, outputs, max_tokens=most, calls=calls, layouts=orders)
        shares = {next(iter(targets)): traces} if len(targets) == 1 else placing.share_out(traces, targets)
        most_items = max(shares, key=lambda name: len(shares[name]))

        def simulation(name: str, options: RunOptions, attainable: UnboundedCache | None = None) -> Simulation:
            profile = targets[name].facts.engine
            engine = engines[name]
            return Simulation(tokenizer, engine, options, profile=profile, attainable=attainable, constant=constant)

        def predict(schedule: Schedule, *, warms: bool = True) -> Prediction:
            used = warm_ups if warms else ()
            options = replace(request.options, schedule=schedule)
            attainable = UnboundedCache(engines[most_items].tokens_per_block)
            found = {
                name: predict_traces(
                    share, predicted, simulation(name, options, attainable), warm_ups=used, calls=calls,
                    explained=request.explain,
                )
                for name, share in shares.items()
            }  # fmt: skip
            return together(found) if len(found) > 1 else found[most_items]

        def decided(prediction: Prediction, schedule: Schedule, *, warms: bool = True) -> Predicted:
            if prediction.problem or request.options.mode is Mode.BASELINE:
                return Predicted(prediction, schedule, warms)
            expected: dict[tuple[int | None, int | None], EndedItems] = {}
            for name, engine in engines.items():
                prompts = PromptTokens(tokenizer, engine.tokens_per_block)
                blocks = prompts.blocks_of(constant)
                needs = expected_items(shares.get(name) or traces, prompts, engine.capacity_blocks, blocks)
                if needs is not None:
                    expected[engine.tokens_per_block, engine.capacity_blocks] = needs
            return Predicted(prediction, schedule, warms, expected=expected)

        found = predict(planned)
        free = request.plan is None and request.options.mode is Mode.OPTIMIZED
        if not free or found.problem or reuses_enough(found):
            return decided(found, planned)
        chosen = choose_schedule(simulation(most_items, request.options), shares[most_items], sent).schedule
        found = found if chosen == planned else predict(chosen)
        cold = predict(chosen, warms=False) if warm_ups else found
        if computed_tokens(found) > (1 + NEAR) * computed_tokens(cold):
            return decided(cold, chosen, warms=False)
        return decided(found, chosen)

    found = await in_daemon_thread(work, "charter-predict")
    prediction, schedule = found.prediction, found.schedule
    assert prediction is not None, "work makes one"
    notes = [f"no prediction: {prediction.problem}"] if prediction.problem else []
    if next(rows, None) is not None:
        notes.append(f"the prediction is over the first {PREDICTED_ROWS:,} rows")
    if prediction.refused:
        notes.append(f"the prediction leaves calls out: {prediction.refused}")
    if schedule != planned:
        notes.append(f"order of calls: {schedule}, which is predicted to compute the fewest prompt tokens")
    if not found.warms:
        notes.append("no prefix is warmed: it is predicted to be evicted before it is needed")
    return replace(found, notes=tuple(notes))
