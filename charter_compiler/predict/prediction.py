"""The prediction of a run: what the engine would reuse, computed before it, from the agent, its inputs and the plan."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from charter_compiler.cache.unbounded import UnboundedCache
from charter_compiler.diagnostics.errors import TokenizerError
from charter_compiler.executor.answers import merge_key
from charter_compiler.executor.entry import Entry
from charter_compiler.executor.inputs import InputRow
from charter_compiler.executor.layout import PromptLayouts
from charter_compiler.executor.run.options import RunOptions
from charter_compiler.executor.types import GenerationRequest
from charter_compiler.ir.nodes import Call
from charter_compiler.predict.control_flow import ItemTrace, trace_agent
from charter_compiler.predict.explain import CallExplanation, explain, repeated_runs, site_name
from charter_compiler.predict.prompt_view import PromptView, view_prompts
from charter_compiler.predict.replay import Replay, ReplayedCall
from charter_compiler.predict.synthetic import OutputSource, SyntheticOutputs
from charter_compiler.serve.engine.costs import Costs
from charter_compiler.serve.engine.interface import EngineConfig
from charter_compiler.tokens.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class SitePrediction:
    """One call site over all items; ``site`` is its id in the IR, else file and line, or ``warm-up``."""

    site: str
    calls: int
    prompt_tokens: int
    cached_tokens: int

    @property
    def hit_rate(self) -> float | None:
        return self.cached_tokens / self.prompt_tokens if self.prompt_tokens else None


@dataclass(frozen=True, slots=True)
class EndpointPrediction:
    """One of several endpoints: the items that are placed there, and what its own cache reuses; warm-ups included."""

    name: str
    items: int
    prompt_tokens: int
    cached_tokens: int

    @property
    def hit_rate(self) -> float | None:
        return self.cached_tokens / self.prompt_tokens if self.prompt_tokens else None


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a run is predicted to count, warm-ups included.

    ``problem`` says why every figure is ``None``: the agent failed on outputs that stand in for the model's. Calls that
    the engine would refuse (a prompt longer than the context) are not counted; ``refused`` says how many and why.
    ``explained`` and ``views`` are empty unless they were asked for; ``seconds`` is the wall time, where calibrated
    costs were given. ``endpoints`` is empty for a run on one.
    """

    items: int
    calls: int | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    hit_rate: float | None = None
    attainable_hit_rate: float | None = None
    sites: tuple[SitePrediction, ...] = ()
    problem: str | None = None
    refused: str | None = None
    explained: tuple[CallExplanation, ...] = ()
    views: tuple[PromptView, ...] = ()
    seconds: float | None = None
    endpoints: tuple[EndpointPrediction, ...] = ()


@dataclass(frozen=True, slots=True)
class Simulation:
    """On what a traced run is simulated: the target's tokenizer and sizes, whose rules hold (``TargetFacts.engine``),
    and how the run schedules. Without ``costs`` defaults decide which calls meet, and no seconds are predicted.
    ``attainable``: the unbounded cache that simulations of several endpoints share; ``None`` for one of its own.
    ``constant``: prompts that belong to no item, warmed or not."""

    tokenizer: Tokenizer
    engine: EngineConfig
    options: RunOptions
    costs: Costs | None = None
    profile: str | None = None
    attainable: UnboundedCache | None = None
    constant: Sequence[GenerationRequest] = ()

    def replay(self) -> Replay:
        options = self.options
        # Without a temperature the embedded engine is greedy; an engine whose own rules are simulated is not.
        merging = partial(merge_key, sampling=options.merge_sampling, greedy_by_default=self.profile is None)
        key = merging if options.merges else (lambda request: None)
        return Replay(
            self.tokenizer,
            self.engine,
            options.mode,
            options.concurrency,
            self.costs,
            self.profile,
            merge_key=key,
            schedule=options.schedule,
            attainable=self.attainable,
            constant=self.constant,
        )

    def run(self, traces: Sequence[ItemTrace], warm_ups: Sequence[GenerationRequest] = ()) -> list[ReplayedCall]:
        """The calls as the engine would count them; warm-ups only where the mode sends them.

        Raises:
            TokenizerError: a chat, for which the tokenizer has no template.
        """
        return self.replay().run(traces, warm_ups if self.options.mode.warms_up else ())


def predict_run(
    entry: Entry,
    rows: Iterable[InputRow],
    tokenizer: Tokenizer,
    engine: EngineConfig,
    options: RunOptions,
    *,
    warm_ups: Sequence[GenerationRequest] = (),
    calls: Sequence[Call] = (),
    layouts: PromptLayouts | None = None,
    outputs: OutputSource | None = None,
    costs: Costs | None = None,
    profile: str | None = None,
    explained: bool = False,
) -> Prediction:
    """Predict a run on an engine of these sizes that starts with an empty cache.

    The agent's control flow runs once for each row, in this process, with ``outputs`` (by default synthetic ones of the
    length that each call allows) in place of a model's; then its calls go through the scheduler of ``options.mode`` and
    the engine's core in virtual time; ``profile`` says whose (``TargetFacts.engine``). Not to be called where an event
    loop runs.

    Raises:
        InputsError, EntryError: a row is broken or does not fit the entry.
    """
    source = outputs or SyntheticOutputs(tokenizer)
    rows = list(rows)
    traces = trace_agent(entry, rows, source, max_tokens=options.max_tokens, calls=calls, layouts=layouts)
    simulation = Simulation(tokenizer, engine, options, costs, profile)
    return predict_traces(traces, rows, simulation, warm_ups=warm_ups, calls=calls, explained=explained)


def predict_traces(
    traces: Sequence[ItemTrace],
    rows: Sequence[InputRow],
    simulation: Simulation,
    *,
    warm_ups: Sequence[GenerationRequest] = (),
    calls: Sequence[Call] = (),
    explained: bool = False,
) -> Prediction:
    """The same for a control flow that has been traced over the rows: it depends on neither mode nor engine."""
    problem = problem_of_traces(traces)
    if problem is not None:
        return Prediction(len(traces), problem=problem)
    replay = simulation.replay()
    try:
        replayed = replay.run(traces, warm_ups if simulation.options.mode.warms_up else ())
    except TokenizerError as error:
        return Prediction(len(traces), problem=str(error))
    prediction = summarize(len(traces), replayed)
    if simulation.costs is not None:
        prediction = replace(prediction, seconds=replay.seconds)
    if explained:
        inputs = {row.index: row.values for row in rows}
        repeated = repeated_runs(replayed, simulation.tokenizer)
        found = explain(replayed, calls, inputs, repeated, simulation.tokenizer)
        views = view_prompts(replayed, found, calls, inputs, repeated, simulation.tokenizer)
        prediction = replace(prediction, explained=found, views=views)
    return prediction


def summarize(items: int, replayed: Sequence[ReplayedCall]) -> Prediction:
    """The totals of replayed calls."""
    refused = [call for call in replayed if call.rejected is not None]
    replayed = [call for call in replayed if call.rejected is None]
    prompt = sum(call.prompt_tokens for call in replayed)
    cached = sum(call.cached_tokens for call in replayed)
    attainable = sum(call.attainable_tokens for call in replayed)
    return Prediction(
        items,
        calls=sum(call.trace is not None for call in replayed),
        prompt_tokens=prompt,
        cached_tokens=cached,
        hit_rate=cached / prompt if prompt else None,
        attainable_hit_rate=attainable / prompt if prompt else None,
        sites=_by_site(replayed),
        refused=f"the engine would refuse {len(refused)} calls: {refused[0].rejected}" if refused else None,
    )


def _by_site(replayed: Sequence[ReplayedCall]) -> tuple[SitePrediction, ...]:
    groups: dict[str, list[ReplayedCall]] = {}
    for call in replayed:
        groups.setdefault(site_name(call), []).append(call)
    return tuple(
        SitePrediction(
            name, len(group), sum(call.prompt_tokens for call in group), sum(call.cached_tokens for call in group)
        )
        for name, group in sorted(groups.items())
    )


def problem_of_traces(traces: Sequence[ItemTrace]) -> str | None:
    """Why there is no prediction, ``None`` if there is one."""
    failed = [trace for trace in traces if trace.error is not None]
    if not failed:
        return None
    error = failed[0].error
    assert error is not None
    where = f"item {failed[0].item}" + (f", line {error.line}" if error.line else "")
    return (
        f"the agent failed on outputs that are not the model's ({len(failed)} of {len(traces)} items); "
        f"{where}: {error.type}: {error.message}"
    )
