"""The prediction of a run: what the engine would reuse, computed before it, from the agent, its inputs and the plan."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from charter_compiler.diagnostics.errors import TokenizerError
from charter_compiler.executor.entry import Entry
from charter_compiler.executor.inputs import InputRow
from charter_compiler.executor.layout import PromptLayouts
from charter_compiler.executor.orchestrator import RunOptions
from charter_compiler.executor.types import GenerationRequest
from charter_compiler.ir.nodes import Call
from charter_compiler.predict.control_flow import ItemTrace, trace_agent
from charter_compiler.predict.replay import Costs, Replay, ReplayedCall
from charter_compiler.predict.synthetic import OutputSource, SyntheticOutputs
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
class Prediction:
    """What a run is predicted to count, warm-ups included.

    ``problem`` says why every figure is ``None``: the agent failed on outputs that stand in for the model's. Calls that
    the engine would refuse (a prompt longer than the context) are not counted; ``refused`` says how many and why.
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
) -> Prediction:
    """Predict a run on an engine of these sizes that starts with an empty cache.

    The agent's control flow runs once for each row, in this process, with ``outputs`` (by default synthetic ones of the
    length that each call allows) in place of a model's; then its calls go through the scheduler of ``options.mode`` and
    the engine's core in virtual time. Not to be called where an event loop runs.

    Raises:
        InputsError, EntryError: a row is broken or does not fit the entry.
    """
    source = outputs or SyntheticOutputs(tokenizer)
    traces = trace_agent(entry, rows, source, max_tokens=options.max_tokens, calls=calls, layouts=layouts)
    problem = _problem_of_traces(traces)
    if problem is not None:
        return Prediction(len(traces), problem=problem)
    used = warm_ups if options.mode.warms_up else ()
    try:
        replayed = Replay(tokenizer, engine, options.mode, options.concurrency, costs).run(traces, used)
    except TokenizerError as error:
        return Prediction(len(traces), problem=str(error))
    return summarize(len(traces), replayed)


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
        groups.setdefault(_site_name(call), []).append(call)
    return tuple(
        SitePrediction(
            name, len(group), sum(call.prompt_tokens for call in group), sum(call.cached_tokens for call in group)
        )
        for name, group in sorted(groups.items())
    )


def _site_name(call: ReplayedCall) -> str:
    if call.trace is None:
        return "warm-up"
    site = call.trace.call.site
    return "unknown" if site is None else site.label


def _problem_of_traces(traces: Sequence[ItemTrace]) -> str | None:
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
