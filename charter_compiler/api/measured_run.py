"""A run from end to end: inputs checked, target opened, prediction made, agent run, figures written."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice

from charter_compiler.api.memo import keep_no_more, memo_notes, memo_of
from charter_compiler.api.run_identity import is_cold, journal_store, run_identity, target_identity
from charter_compiler.api.run_prediction import Placing, Predicted, predict_request
from charter_compiler.api.run_report import RunReport
from charter_compiler.api.run_request import RunObserver, RunRequest, metrics_path, rows_of
from charter_compiler.diagnostics.errors import AgentError, CharterError, PlanError
from charter_compiler.executor.call_log import CallLog, SeveralSpans
from charter_compiler.executor.entry import Entry, load_entry
from charter_compiler.executor.fleet.addresses import parse_targets
from charter_compiler.executor.fleet.opening import open_endpoints
from charter_compiler.executor.gateway.refusal import refusing
from charter_compiler.executor.gateway.server import check_installed, listen
from charter_compiler.executor.hinting import RunHints
from charter_compiler.executor.journal import Journal, JournalState, check_journal
from charter_compiler.executor.journal_redis import RedisJournal
from charter_compiler.executor.layout import PromptLayouts
from charter_compiler.executor.metrics import build_metrics
from charter_compiler.executor.recording import Recorder, discard_recording, recording_path
from charter_compiler.executor.results import RowWriter, write_json
from charter_compiler.executor.run.context import RunContext, RunFiles, RunOutcome
from charter_compiler.executor.run.orchestrator import run_agent
from charter_compiler.executor.scheduler.mode import Mode
from charter_compiler.executor.sdk_calls import HOST, RunListener, guarded_token, sdk_environment, uses_sdk
from charter_compiler.executor.targets import OpenTarget, check_plan
from charter_compiler.executor.tracing import TracedRun, exported_spans
from charter_compiler.executor.types import GenerationRequest
from charter_compiler.ir.nodes import Call
from charter_compiler.passes.template import PlannedLayout
from charter_compiler.plan.execution_plan import ExecutionPlan
from charter_compiler.plan.schedule import DEFAULT_SCHEDULE
from charter_compiler.predict.grouping import ItemWeights, group_fields
from charter_compiler.predict.layout_of_entry import lay_out_entry, planned_layouts
from charter_compiler.predict.planning import Analysis, analyse, calls_of_entry, plan_entry
from charter_compiler.predict.prediction import Prediction

WARM_SERVER = (
    "the embedded server was running already: what earlier prompts left in its cache counts as measured, but not as "
    "predicted or attainable (--fresh-server starts one with an empty cache)"
)

SIMULATED = (
    "nothing was computed: tokens and hit rates are those of the engine's model, outputs are filler, and times are "
    "those of the simulation"
)

PATIENCE = 60.0
"""Seconds that a target which was not started here may be away: somebody may be restarting it."""
ELSEWHERE = (
    "no call went through this run: the agent's own client is told another address in the code, or is none that finds "
    "its server by OPENAI_BASE_URL or ANTHROPIC_BASE_URL"
)
RECORDED_SINCE = "the recording begins with the resumed part of the run: there is none of the earlier ones"
LENGTH_ROWS = 200
"""Rows that the layout looks at for the values' lengths."""
GROUP_ROWS = 1024
"""Rows that are looked at for values which several of them share."""


def measured_run(request: RunRequest, observer: RunObserver | None = None) -> RunReport:
    """Run an agent over its inputs, predicted and measured. Not to be called where an event loop runs.

    Everything that can be checked is checked before the target is opened. Rows and figures are written also when the
    run ends early; the report says so.

    Raises:
        EntryError, InputsError: the entry or a row is broken.
        UsageError: the target is unknown, or ``resume`` finds no journal of this run.
        PlanError: the plan is for another model, tokenizer or block size than the target's.
        TargetError, ServerStartError, ModelError, TokenizerError: the target cannot be opened.
        OutputError: the results cannot be written.
        AgentError: the agent has ended the event loop.
        MemoError: the shared memo store cannot be opened.
    """
    parse_targets(request.target)
    with _own_clients(request.entry) as listener:
        with nullcontext() if listener is None else refusing(listener.socket):
            entry = load_entry(request.entry, needs_client=listener is None)
        items = _check_inputs(entry, request)
        try:
            return asyncio.run(_run(request, entry, items, observer or RunObserver(), listener))
        except SystemExit as error:  # an item's own is its failure; of a task that it started, the event loop ends
            raise AgentError(
                f"the agent called sys.exit({error.code}) in a task that it had started, which ends the run",
                place=request.entry,
                remedy="raise another exception; what is finished is kept: continue with --resume",
            ) from error


@contextmanager
def _own_clients(entry: str) -> Iterator[RunListener | None]:
    """Where the clients that the agent constructs itself find their server: the module may make one when it is
    imported. ``None`` for an agent that is handed one."""
    try:
        calls = calls_of_entry(entry)
    except CharterError:
        calls = ()  # loading it raises what is to be said
    if not uses_sdk(calls):
        yield None
        return
    check_installed()
    with closing(listen(HOST, 0)) as socket:
        listener = RunListener(socket)
        with guarded_token(listener.url, listener.token), sdk_environment(listener.url, listener.token):
            yield listener


def _check_inputs(entry: Entry, request: RunRequest) -> int:
    """The number of rows, every one of which fits the entry."""
    count = 0
    for row in rows_of(request):
        entry.bind(row.values, f"{request.inputs}:{row.line}")
        count += 1
    return count


async def _run(
    request: RunRequest, entry: Entry, items: int, observer: RunObserver, listener: RunListener | None
) -> RunReport:
    identity = run_identity(request)
    kept = journal_store(request, identity)
    if request.resume:
        check_journal(kept, identity)  # before a server is started for nothing
    calls = calls_of_entry(request.entry)
    if request.layout and request.plan is not None and not request.plan.layouts:
        raise PlanError(
            "the plan holds no layout: none was asked for, or the prompts are in their best order",
            remedy="compile it with --layout, or run without --layout",
        )
    observer.opening(request.target)
    async with open_endpoints(request.target, request.target_options) as endpoints:
        target = endpoints.common
        observer.opened(target)
        if request.plan is not None:
            for each in endpoints.targets:
                check_plan(request.plan, each)
        planned, laid_out = _lay_out(request, calls)
        analysis = _analyse(laid_out, target)
        plan = request.plan or _plan(request.entry, analysis, planned, target)
        layouts = PromptLayouts(planned, calls)
        texts = () if plan is None else tuple(dict.fromkeys(prefix.text for prefix in plan.warm_up))
        warm_ups = tuple(GenerationRequest(prompt=text, max_tokens=1) for text in texts)
        prefixes = () if plan is None else plan.constant
        constant = tuple(GenerationRequest(prompt=prefix.text, max_tokens=1) for prefix in prefixes)
        placing = placing_of(request, laid_out)
        observer.predicting(items)
        if listener is None:
            predicted = await predict_request(
                request, entry, rows_of(request), calls, laid_out, planned, endpoints.by_name, placing, warm_ups,
                constant,
            )  # fmt: skip
        else:
            schedule = DEFAULT_SCHEDULE if request.plan is None else request.plan.schedule
            predicted = Predicted(None, schedule, notes=("no prediction: the agent constructs its own client",))
        request = replace(request, options=replace(request.options, schedule=predicted.schedule))
        if plan is not None:
            warms = plan.warms and predicted.warms
            plan = replace(plan, schedule=predicted.schedule, warms=warms, group_by=placing.group_by)
        if not predicted.warms:
            texts, warm_ups = (), ()
        notes = list(predicted.notes)
        if request.options.mode is Mode.OPTIMIZED:
            notes = [*dict.fromkeys(limit for each in endpoints.targets for limit in each.limits), *notes]
        if any(each.facts.embedded and each.server is None for each in endpoints.targets):
            notes = [*notes, WARM_SERVER]
        simulated = any(each.facts.simulated for each in endpoints.targets)
        if simulated:
            notes = [*notes, SIMULATED]
        hints = _hints(request, plan, target)
        if request.hints and hints is None:
            notes = [*notes, "no hints are sent: the target announces no action that it takes, or there is no plan"]
        if isinstance(kept, RedisJournal) and (caution := kept.caution) is not None:
            notes = [*notes, caution]
        identity |= target_identity(target, texts, planned)
        async with AsyncExitStack() as stack:
            # Refused, or an older run's replaced, only now that the target is there; the rows are emptied last.
            journal, state = (
                Journal.resume(kept, identity) if request.resume else (Journal.create(kept, identity), JournalState())
            )
            stack.enter_context(journal)
            recorder = _recorder(request, state)
            if recorder is not None:
                stack.enter_context(recorder)
                if state.resumed and not recorder.went_on:
                    notes = [*notes, RECORDED_SINCE]
            context = RunContext(
                request.options,
                target.facts,
                target.tokenizer,
                warm_ups if is_cold(target, state, items) else (),
                calls,
                layouts,
                state,
                listener=listener,
                hints=hints,
                group_by=placing.group_by,
                weigh=placing.weigh,
                expected=predicted.expected,
                constant=constant,
                patience=0.0 if all(each.server is not None for each in endpoints.targets) else PATIENCE,
                on_progress=observer.progress,
                on_interrupt=observer.interrupted,
            )
            # What a simulated model says is no answer to keep.
            if request.memo is not None and request.options.mode is Mode.OPTIMIZED and not target.facts.simulated:
                context.memo = await stack.enter_async_context(memo_of(target, request.memo))
                endpoints.on_stranger = partial(keep_no_more, context.memo)
            tracer = stack.enter_context(exported_spans())
            if tracer is not None:
                system = target.facts.engine or ("tensorrt_llm" if target.facts.embedded else "unknown")
                context.spans = TracedRun(tracer, request.entry, target.facts.model, system, time.time_ns())
            if request.log is not None:
                log = stack.enter_context(CallLog(request.log, append=request.resume))
                context.spans = SeveralSpans(context.spans, log)
            observer.running(items)
            rows = stack.enter_context(RowWriter(request.output))
            if recorder is None and not state.resumed:
                discard_recording(request.output)  # of an older run, whose rows are gone only now
            outcome = await run_agent(
                entry,
                rows_of(request),
                endpoints,
                RunFiles(rows, journal, recorder),
                context,
            )
        observer.finished()
        made = outcome.tally.calls + outcome.tally.memoized
        if listener is not None and outcome.tally.items > outcome.tally.failed and not made:
            notes = [*notes, ELSEWHERE]
        if context.memo is not None:
            notes = [*notes, *memo_notes(context.memo)]
        notes = [*notes, *endpoints.notes]
        stopped = None if outcome.stopped is None else await asyncio.to_thread(endpoints.explain, outcome.stopped)
    if layouts.counts.left:
        notes = [
            *notes,
            f"{layouts.counts.left} prompts were sent as written, since their text does not match the template in "
            f"exactly one way; {layouts.counts.applied} in the new order",
        ]
    sent = _Sent(laid_out, analysis, target, simulated)
    return _report(request, outcome, stopped, plan, predicted.prediction, notes, bool(planned), sent)


def _lay_out(request: RunRequest, calls: Sequence[Call]) -> tuple[tuple[PlannedLayout, ...], tuple[Call, ...]]:
    """The layouts that the run applies, and the calls as they are sent then. A plan is obeyed in optimized mode."""
    if request.plan is not None:
        obeyed = request.layout or request.options.mode is Mode.OPTIMIZED
        return request.plan.layouts if obeyed else (), tuple(calls)
    if not request.layout:
        return (), tuple(calls)
    found = lay_out_entry(request.entry, calls, tuple(islice(rows_of(request), LENGTH_ROWS)), wording=request.wording)
    return planned_layouts(found), found.agent.calls


def placing_of(request: RunRequest, sent: Sequence[Call]) -> Placing:
    """How items are placed on several endpoints: by the plan's fields, or those that the first rows show."""
    fields = (
        group_fields(sent, [row.values for row in islice(rows_of(request), GROUP_ROWS)])
        if request.plan is None
        else request.plan.group_by
    )
    return Placing(fields, ItemWeights(sent, request.options.max_tokens))


def _analyse(calls: Sequence[Call], target: OpenTarget) -> Analysis | None:
    if target.tokenizer is None or target.facts.tokens_per_block is None:
        return None
    return analyse(calls, target.tokenizer, target.facts.tokens_per_block)


def _plan(
    entry: str, analysis: Analysis | None, layouts: Sequence[PlannedLayout], target: OpenTarget
) -> ExecutionPlan | None:
    if target.tokenizer is None or target.facts.tokens_per_block is None or analysis is None:
        return None
    block_size = target.facts.tokens_per_block
    return plan_entry(
        entry,
        analysis,
        target=target.name,
        model=target.facts.model,
        tokenizer=target.tokenizer,
        block_size=block_size,
        capacity_blocks=target.facts.capacity_blocks,
        layouts=layouts,
        engine=target.facts.engine,
    )


def _recorder(request: RunRequest, state: JournalState) -> Recorder | None:
    """Of a run that is recorded."""
    if not request.record:
        return None
    return Recorder(recording_path(request.output), after=state.elapsed if state.resumed else None)


def _hints(request: RunRequest, plan: ExecutionPlan | None, target: OpenTarget) -> RunHints | None:
    announced = target.facts.kv_hint_actions
    if not request.hints or request.options.mode is Mode.BASELINE or plan is None or not announced:
        return None
    assert target.tokenizer is not None, "a plan needs one"
    return RunHints(plan.hints, target.tokenizer, announced, uuid.uuid4().hex)


@dataclass(frozen=True, slots=True)
class _Sent:
    """The calls as they are sent, and what they are sent to: ``simulated`` if an endpoint computes nothing."""

    calls: tuple[Call, ...]
    analysis: Analysis | None
    target: OpenTarget
    simulated: bool


def _report(
    request: RunRequest,
    outcome: RunOutcome,
    stopped: CharterError | None,
    plan: ExecutionPlan | None,
    prediction: Prediction | None,
    notes: Sequence[str],
    layout: bool,
    sent: _Sent,
) -> RunReport:
    metrics = build_metrics(
        outcome.tally,
        mode=request.options.mode,
        target=request.target,
        wall_s=outcome.wall_s,
        predicted_hit_rate=None if prediction is None else prediction.hit_rate,
        layout=layout,
        predicted_endpoints={each.name: each.hit_rate for each in prediction.endpoints} if prediction else None,
        simulated=sent.simulated,
    )
    write_json(metrics_path(request.output), metrics.to_json())
    return RunReport(
        entry=request.entry,
        model=sent.target.facts.model,
        metrics=metrics,
        prediction=prediction,
        plan=plan,
        rows=request.output,
        metrics_file=metrics_path(request.output),
        recording=recording_path(request.output) if request.record else None,
        interrupted=outcome.interrupted,
        stopped=stopped,
        first_error=outcome.first_error,
        notes=tuple(notes),
        calls=sent.calls,
        tokenizer=sent.target.tokenizer,
        analysis=sent.analysis,
    )
