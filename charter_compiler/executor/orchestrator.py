"""Runs one agent over all rows of its inputs, on one target."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from operator import attrgetter
from typing import Any

from charter_compiler.cache.unbounded import UnboundedCache
from charter_compiler.diagnostics.errors import AgentError, BudgetError, CharterError
from charter_compiler.executor.agent_client import AgentClient
from charter_compiler.executor.answered import AnsweredCalls
from charter_compiler.executor.answers import RunAnswers
from charter_compiler.executor.budget import Budget
from charter_compiler.executor.calls import CallRecord, CallSites
from charter_compiler.executor.collector import rare_collection
from charter_compiler.executor.defaults import DEFAULT_CONCURRENCY
from charter_compiler.executor.dispatch import Dispatcher, RunClock
from charter_compiler.executor.ended_items import EndedItems
from charter_compiler.executor.entry import Entry
from charter_compiler.executor.fleet.fleet import Endpoint, Fleet
from charter_compiler.executor.fleet.lane import EndpointLostError, Lane
from charter_compiler.executor.fleet.membership import Membership
from charter_compiler.executor.hinting import RunHints
from charter_compiler.executor.inputs import InputRow
from charter_compiler.executor.item import invoke, row_error
from charter_compiler.executor.journal import FinishedItem, Journal, JournalState
from charter_compiler.executor.layout import PromptLayouts
from charter_compiler.executor.memo.memo import Memo
from charter_compiler.executor.metrics import CallFigures, Tally
from charter_compiler.executor.prompts import PromptTokens
from charter_compiler.executor.recording import Recorder
from charter_compiler.executor.results import ResultRow, RowError, RowWriter, plain_json
from charter_compiler.executor.scheduler import Mode, make_scheduler
from charter_compiler.executor.sdk_calls import RunListener, begin_item
from charter_compiler.executor.threads import LoopThread
from charter_compiler.executor.tracing import NoSpans, RunSpans
from charter_compiler.executor.types import GenerationRequest, TargetFacts
from charter_compiler.ir.nodes import Call
from charter_compiler.plan.placement import Placed, Placement, group_of
from charter_compiler.plan.schedule import DEFAULT_SCHEDULE, Schedule
from charter_compiler.tokens.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How to run.

    ``concurrency``: items in flight at each endpoint; ``max_tokens``: caps every call's; ``max_failures``: the run ends
    when more items than that have failed, ``None`` for never; ``handle_interrupt``: Ctrl-C lets the running items
    finish, a second one stops them (only in the main thread). ``merge``: in optimized mode, equal requests are answered
    once;
    ``merge_sampling``: those with a temperature and no seed too. ``schedule`` is a plan's, for optimized mode;
    ``budget``: what the run may use up; ``placement``: of items on several endpoints, by prefix in optimized mode and
    calls in turn in baseline mode unless it is given.
    """

    mode: Mode = Mode.OPTIMIZED
    concurrency: int = DEFAULT_CONCURRENCY
    max_tokens: int | None = None
    max_failures: int | None = None
    handle_interrupt: bool = False
    merge: bool = True
    merge_sampling: bool = False
    schedule: Schedule = DEFAULT_SCHEDULE
    budget: Budget = field(default_factory=Budget)
    placement: Placement | None = None

    @property
    def placed(self) -> Placement:
        """How items are spread over several endpoints."""
        default = Placement.ROUND_ROBIN if self.mode is Mode.BASELINE else Placement.PREFIX
        return self.placement or default

    @property
    def scheduled(self) -> Mode:
        """What orders the calls of an endpoint: with calls sent in turn nothing is known of its cache."""
        return Mode.BASELINE if self.placed is Placement.ROUND_ROBIN else self.mode

    @property
    def merges(self) -> bool:
        """Whether equal requests of the run are answered once."""
        return self.merge and self.mode is Mode.OPTIMIZED


@dataclass(frozen=True, slots=True)
class RunFiles:
    """Where a run writes: rows in input order, the journal, and the recorded calls if they are wanted."""

    rows: RowWriter
    journal: Journal
    recorder: Recorder | None = None


@dataclass(slots=True)
class RunOutcome:
    """How a run went. ``stopped`` is why it ended before the last row, ``None`` if it did not; ``interrupted``: by
    Ctrl-C. ``first_error`` is the failed item with the lowest index, and why it failed."""

    tally: Tally
    wall_s: float
    interrupted: bool = False
    stopped: CharterError | None = None
    first_error: tuple[int, RowError] | None = None


@dataclass(slots=True)
class RunContext:
    """What a run needs beside the agent and its endpoints. ``facts`` are what they all have in common.

    ``warm_ups`` are prompts that are computed before the items, in optimized mode, in a resumed run too; ``calls`` the
    agent's call sites in the IR, for ids; ``layouts`` the orders that prompts are sent in; ``resumed`` what an earlier
    run finished; ``memo`` answers calls that were made before; ``patience``: seconds that the target may be away;
    ``listener``: where the agent's own SDK clients send their requests, ``None`` for an agent that has none; ``hints``:
    sent beside the calls; ``group_by``: the plan's; ``weigh``: about how many tokens the item of a row takes, which
    loads are balanced by; ``expected``: what the items will need of the cache, where that was predicted, by the block
    size and capacity of an endpoint; ``constant``: prompts that belong to no item, warmed or not; ``spans`` are told of
    items and calls; ``on_progress`` is told after each item and call, ``on_interrupt`` how often Ctrl-C was pressed.
    """

    options: RunOptions
    facts: TargetFacts
    tokenizer: Tokenizer | None = None
    warm_ups: Sequence[GenerationRequest] = ()
    calls: Sequence[Call] = ()
    layouts: PromptLayouts = field(default_factory=PromptLayouts)
    resumed: JournalState = field(default_factory=JournalState)
    memo: Memo | None = None
    patience: float = 0.0
    listener: RunListener | None = None
    hints: RunHints | None = None
    group_by: tuple[str, ...] = ()
    weigh: Callable[[Mapping[str, Any]], float] = lambda values: 1.0
    expected: Mapping[tuple[int | None, int | None], EndedItems] = field(default_factory=dict)
    constant: Sequence[GenerationRequest] = ()
    spans: RunSpans = field(default_factory=NoSpans)
    on_progress: Callable[[Tally], None] = lambda tally: None
    on_interrupt: Callable[[int], None] = lambda times: None


async def run_agent(
    entry: Entry, rows: Iterator[InputRow], endpoints: Membership, files: RunFiles, context: RunContext
) -> RunOutcome:
    """Run the agent once for each row; an item that fails does so alone.

    The agent of a row is a thread of its own if the entry is synchronous, else a task; each gets a client, and an
    instance if the entry is a method, of its own. An endpoint that is gone hands its items to the others; that none is
    left, and files that cannot be written, end the run: that is ``RunOutcome.stopped``, and every row finished until
    then is kept.

    Raises:
        InputsError, EntryError: a row is broken or does not fit the entry.
    """
    with rare_collection():
        return await _Run(entry, endpoints, files, context).run(rows)


class _Run:
    def __init__(self, entry: Entry, endpoints: Membership, files: RunFiles, context: RunContext) -> None:
        options, facts = context.options, context.facts
        self._entry = entry
        self._files = files
        self._context = context
        self._options = options
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._tally = Tally()
        for figures in context.resumed.warm_ups:
            self._tally.add_warm_up(figures)
        self._endpoints = endpoints
        self._clock = RunClock()
        self._fleet = Fleet(self._make_lane, options.placed, endpoints.lost)
        unbounded = None
        if context.resumed.resumed:
            # What the earlier part had left in a cache that never evicts is not known: then there is no such rate.
            self._tally.totals.attainable = None
        elif context.tokenizer is not None and facts.tokens_per_block is not None:
            unbounded = UnboundedCache(facts.tokens_per_block)
        self._answered = AnsweredCalls(files.journal, context.resumed, greedy_by_default=facts.greedy_by_default)
        self._dispatcher = Dispatcher(
            self._fleet,
            self._clock,
            PromptTokens(context.tokenizer, facts.tokens_per_block),
            memo=context.memo,
            attainable=unbounded,
            answers=RunAnswers(sampling=options.merge_sampling, greedy_by_default=facts.greedy_by_default)
            if options.merges
            else None,
            answered=self._answered,
            on_record=self._on_record,
            on_resumed=self._on_resumed,
            on_fatal=self._stop,
            before_call=self._warmed,
            hints=context.hints,
        )
        self._sites = CallSites(entry.root, context.calls)
        self._item_calls: dict[int, list[CallFigures]] = {}
        if context.hints is not None:
            context.hints.older = self._older
        self._waiting: dict[int, InputRow] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._unwritten: set[asyncio.Future[None]] = set()  # items that are over, and not in the journal yet
        self._flushing = False
        self._other_loop: LoopThread | None = None
        self._warming: dict[Lane, asyncio.Task[None]] = {}
        self._warm_ups_kept = len(context.resumed.warm_ups)
        self._stopped: CharterError | None = None
        self._defect: BaseException | None = None
        self._spent: BudgetError | None = None
        self._left_out = False
        self._interrupts = 0
        self._first_error: tuple[int, RowError] | None = None

    @property
    def _elapsed(self) -> float:
        return self._context.resumed.elapsed + self._clock()

    async def run(self, rows: Iterator[InputRow]) -> RunOutcome:
        watching = self._loop.create_task(self._endpoints.watch(self._join, self._fleet.leave))
        watching.add_done_callback(self._on_task_done)
        with self._interruptible():
            try:
                for endpoint in self._endpoints.first:
                    self._fleet.join(endpoint)
                self._watch_time()
                self._take_over()  # first, so that their rows are written however early this run ends
                if self._context.memo is None:
                    await self._warm_up()
                async with self._gateway():
                    try:
                        await self._run_rows(rows)
                    finally:
                        await self._cancel_all()
            finally:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)
                await self._cancel_all()
        if self._defect is not None:
            raise self._defect
        stopped = self._stopped or (self._spent if self._left_out else None)
        return RunOutcome(self._tally, self._elapsed, self._interrupts > 0, stopped, self._first_error)

    @asynccontextmanager
    async def _gateway(self) -> AsyncIterator[None]:
        """For the agent's own SDK clients."""
        listener, context = self._context.listener, self._context
        if listener is None:
            yield
            return
        from charter_compiler.executor.run_gateway import run_gateway  # the extra is there: the caller has looked

        self._other_loop = LoopThread("charter-agents") if self._entry.is_async else None
        try:
            async with run_gateway(
                listener, context.facts.model, self._dispatcher, self._fleet, self._sites, context.layouts,
                self._item_calls.__contains__, self._options.max_tokens,
            ):  # fmt: skip
                yield
        finally:
            if self._other_loop is not None:
                await self._other_loop.aclose()

    async def _run_rows(self, rows: Iterator[InputRow]) -> None:
        schedule = DEFAULT_SCHEDULE if self._options.mode is Mode.BASELINE else self._options.schedule
        arranged = schedule.arrange(rows, attrgetter("values"))
        coming = (row for row in arranged if row.index not in self._context.resumed.items)
        self._read_ahead(coming)
        while self._waiting and not self._ending:
            item = self._fleet.next_item()
            if item is None:
                await self._next_change()
            elif not self._spent_by_now():
                self._start(self._waiting.pop(item))
                self._read_ahead(coming)
        self._left_out = bool(self._waiting)
        while (self._tasks or self._unwritten) and not self._halted:
            await self._next_change()

    # Endpoints

    def _make_lane(self, endpoint: Endpoint) -> Lane:
        options, facts, calls = self._options, endpoint.facts, self._context.calls
        if endpoint.name is not None:
            self._tally.add_endpoint(endpoint.name)
        prompts = PromptTokens(self._context.tokenizer, facts.tokens_per_block)
        return Lane(
            endpoint.name,
            endpoint.target,
            make_scheduler(
                options.scheduled,
                options.concurrency,
                facts.capacity_blocks,
                options.schedule,
                engine=facts.engine,
                items_return=len(calls) > 1 or any(call.in_loop for call in calls),
                expected=self._context.expected.get((facts.tokens_per_block, facts.capacity_blocks)),
                constant=prompts.blocks_of(self._context.constant),
            ),
            prompts,
            clock=self._clock,
            on_change=self._changed.set,
            on_fatal=self._stop,
            on_lost=self._fleet.lost,
            patience=self._context.patience,
            on_held=self._on_held,
        )

    def _join(self, endpoint: Endpoint) -> None:
        """In mid-run, its cache cold."""
        self._start_warm_up(self._fleet.join(endpoint))
        self._changed.set()

    # Items

    def _read_ahead(self, coming: Iterator[InputRow]) -> None:
        """Rows until the endpoints have enough to choose from."""
        rows = list(islice(coming, self._fleet.wants))
        self._waiting.update((row.index, row) for row in rows)
        group_by, weigh = self._context.group_by, self._context.weigh
        self._fleet.add([Placed(row.index, group_of(row.values, group_by), weigh(row.values)) for row in rows])

    def _start(self, row: InputRow) -> None:
        arguments = self._entry.bind(row.values, f"line {row.line} of the inputs")
        self._fleet.start_item(row.index)
        task = self._loop.create_task(self._run_item(row, arguments))
        self._tasks.add(task)
        task.add_done_callback(self._on_task_done)

    def _spent_by_now(self) -> bool:
        """Whether the budget is used up, so that no more items start."""
        self._spent = self._options.budget.exceeded(self._tally.totals, self._elapsed)
        return self._spent is not None

    def _watch_time(self) -> None:
        """Wake up when the time is over, so that nobody waits for an item to end."""
        seconds = self._options.budget.seconds
        if seconds is not None:
            self._loop.call_later(max(0.0, seconds - self._elapsed), self._on_time)

    def _on_time(self) -> None:
        self._spent = self._spent or self._options.budget.exceeded(self._tally.totals, self._elapsed)
        self._on_held()
        self._changed.set()

    def _on_held(self) -> None:
        """A target that turned calls away, or is away, is waited for until the time is over, and no longer."""
        over = self._options.budget.overtime(self._elapsed)
        if over is not None and any(lane.holds_back for lane in self._fleet.lanes):
            self._stop(over)

    async def _run_item(self, row: InputRow, arguments: Mapping[str, Any]) -> None:
        layouts = self._context.layouts
        client = AgentClient(row.index, self._dispatcher, self._sites, self._options.max_tokens, layouts)
        calls = self._item_calls[row.index] = []
        self._context.spans.item_started(row.index, self._dispatcher.elapsed)
        begin_item(row.index)
        output, error = None, None
        try:
            output = plain_json(await invoke(self._entry, client, arguments, self._other_loop))
        except (Exception, SystemExit, asyncio.CancelledError) as raised:
            task = asyncio.current_task()
            if isinstance(raised, asyncio.CancelledError) and task is not None and task.cancelling():
                raise  # by the run; else by the agent, of something of its own
            error = row_error(raised, self._entry, client)  # this item's result, and no more
        finally:
            client.close()
            self._fleet.finish_item(row.index)
        del self._item_calls[row.index]
        self._context.spans.item_finished(row.index, self._dispatcher.elapsed, error)
        if not self._halted:  # else the item may have failed because the run did: --resume does it again
            row_out = ResultRow(row.index, row.values, output, error)
            self._finish(FinishedItem(row_out, tuple(calls), self._elapsed))

    def _older(self, item: int) -> int:
        """How many running items started before this one: the dictionary has them in that order."""
        return next((place for place, other in enumerate(self._item_calls) if other == item), 0)

    def _take_over(self) -> None:
        """The items that the resumed run had finished."""
        for finished in self._context.resumed.items.values():
            for figures in finished.calls:
                self._tally.add_call(figures)
            self._tally.add_item(finished.calls)
            try:
                self._files.rows.add(finished.row)
            except CharterError as error:
                self._stop(error)
                return

    def _finish(self, finished: FinishedItem) -> None:
        """What is in the journal has its row, whatever becomes of the task that ran the item."""
        written = self._files.journal.item(finished)
        self._unwritten.add(written)
        written.add_done_callback(partial(self._on_written, finished))

    def _on_written(self, finished: FinishedItem, written: asyncio.Future[None]) -> None:
        self._unwritten.discard(written)
        try:
            written.result()
            self._files.rows.add(finished.row)
            self._flush_soon()
            self._answered.forget(finished.row.index)
            self._tally.add_item(finished.calls)
            if finished.row.error is not None:
                self._count_failure(finished.row.index, finished.row.error)
            self._context.on_progress(self._tally)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  of a callback, which nobody awaits
            self._end_with(error)
        self._changed.set()

    def _flush_soon(self) -> None:
        """Once for all rows that one write of the journal has made durable."""
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        try:
            self._files.rows.flush()
        except CharterError as error:
            self._stop(error)

    def _count_failure(self, index: int, error: RowError) -> None:
        self._tally.failed += 1
        if self._first_error is None or index < self._first_error[0]:
            self._first_error = (index, error)
        limit = self._options.max_failures
        if limit is not None and self._tally.failed > limit:
            self._stop(
                AgentError(
                    f"{self._tally.failed} items failed, more than --max-failures {limit} allows; "
                    f"the last one with {error.type}: {error.message}",
                    place=f"item {index}",
                    remedy="--resume tries the failed items again",
                )
            )

    # Calls

    async def _warm_up(self) -> None:
        for lane in self._fleet.lanes:
            self._start_warm_up(lane)
        while self._tasks and not self._ending:
            await self._next_change()

    async def _warmed(self, lane: Lane) -> None:
        """With a memo store, prefixes are warmed when a call needs the engine: perhaps none does."""
        self._start_warm_up(lane)
        if lane in self._warming:
            await asyncio.wait([self._warming[lane]])

    def _start_warm_up(self, lane: Lane) -> None:
        if lane in self._warming or not self._options.scheduled.warms_up or not self._context.warm_ups or self._ending:
            return
        task = self._warming[lane] = self._loop.create_task(self._send_warm_ups(lane))
        task.add_done_callback(self._on_task_done)
        self._tasks.add(task)

    async def _send_warm_ups(self, lane: Lane) -> None:
        try:
            requests = enumerate(self._context.warm_ups)
            await _gather(self._dispatcher.warm_up(lane, number, request) for number, request in requests)
            new = self._tally.warm_ups[self._warm_ups_kept :]
            self._warm_ups_kept += len(new)
            await self._files.journal.warm_ups(new, self._elapsed)
        except EndpointLostError:
            return  # it is warmed when it comes back
        except CharterError as error:
            self._stop(error)

    def _on_record(self, record: CallRecord) -> None:
        figures = CallFigures.of(record)
        self._context.spans.call(record)
        if self._files.recorder is not None:
            self._files.recorder.write(record)
        if record.item is None:
            self._tally.add_warm_up(figures)
        else:
            self._tally.add_call(figures)
            self._item_calls.get(record.item, []).append(figures)  # gone, where the agent did not wait for this call
        self._context.on_progress(self._tally)

    def _on_resumed(self, item: int, figures: CallFigures) -> None:
        self._tally.add_call(figures)
        self._item_calls.get(item, []).append(figures)
        self._context.on_progress(self._tally)

    # The end

    @property
    def _ending(self) -> bool:
        """No more items start."""
        return self._halted or self._interrupts > 0 or self._spent is not None

    @property
    def _halted(self) -> bool:
        """Not even the running items go on."""
        return self._stopped is not None or self._defect is not None or self._interrupts > 1

    async def _next_change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._end_with(error)
        if not self._unwritten:  # else ``_on_written`` does: no item starts before it is known how this one ended
            self._changed.set()

    def _end_with(self, error: BaseException) -> None:
        if isinstance(error, CharterError):  # of the log, for one: an item must not be missing without a word
            self._stop(error)
        else:
            self._defect = self._defect or error  # ours: whatever an agent raises is a row
            self._changed.set()

    def _stop(self, error: CharterError) -> None:
        """End the run: nothing more starts, what runs is cancelled, what finished is kept."""
        self._stopped = self._stopped or error
        self._changed.set()

    async def _cancel_all(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._unwritten:
            await asyncio.wait(self._unwritten)
        await self._dispatcher.aclose()
        self._fleet.close()

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        if not self._options.handle_interrupt or sys.platform == "win32":  # Windows' loops take no signal handlers
            yield
            return
        self._loop.add_signal_handler(signal.SIGINT, self._on_interrupt)
        try:
            yield
        finally:
            self._loop.remove_signal_handler(signal.SIGINT)

    def _on_interrupt(self) -> None:
        self._interrupts += 1
        self._context.on_interrupt(self._interrupts)
        self._changed.set()


async def _gather(calls: Iterable[Awaitable[object]]) -> None:
    await asyncio.gather(*calls)
