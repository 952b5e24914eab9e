"""Runs one agent over all rows of its inputs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager
from itertools import islice
from operator import attrgetter
from typing import Any

from charter_compiler.cache.unbounded import UnboundedCache
from charter_compiler.executor.agent_client import AgentClient
from charter_compiler.executor.answered import AnsweredCalls
from charter_compiler.executor.answers import RunAnswers
from charter_compiler.executor.calls import CallSites
from charter_compiler.executor.collector import rare_collection
from charter_compiler.executor.dispatch import Dispatcher, RunClock
from charter_compiler.executor.entry import Entry
from charter_compiler.executor.fleet.fleet import Endpoint, Fleet
from charter_compiler.executor.fleet.lane import Lane
from charter_compiler.executor.fleet.membership import Membership
from charter_compiler.executor.inputs import InputRow
from charter_compiler.executor.journal import FinishedItem
from charter_compiler.executor.metrics import Tally
from charter_compiler.executor.prompts import PromptTokens
from charter_compiler.executor.results import ResultRow, plain_json
from charter_compiler.executor.run.context import RunContext, RunFiles, RunOutcome
from charter_compiler.executor.run.end import RunEnd
from charter_compiler.executor.run.finished_items import FinishedItems
from charter_compiler.executor.run.item import invoke, row_error
from charter_compiler.executor.run.records import RunRecords
from charter_compiler.executor.run.warm_ups import WarmUps
from charter_compiler.executor.scheduler.mode import Mode, make_scheduler
from charter_compiler.executor.sdk_calls import begin_item
from charter_compiler.executor.threads import LoopThread
from charter_compiler.plan.placement import Placed, group_of
from charter_compiler.plan.schedule import DEFAULT_SCHEDULE


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
        self._context = context
        self._options = options
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._clock = RunClock()
        self._tally = Tally()
        for figures in context.resumed.warm_ups:
            self._tally.add_warm_up(figures)
        self._endpoints = endpoints
        self._fleet = Fleet(self._make_lane, options.placed, endpoints.lost)
        self._end = RunEnd(
            options,
            self._tally.totals,
            self._elapsed,
            is_held=lambda: any(lane.holds_back for lane in self._fleet.lanes),
            on_change=self._changed.set,
            on_interrupt=context.on_interrupt,
        )
        self._records = RunRecords(self._tally, self._clock, context.spans, files.recorder, context.on_progress)
        if context.hints is not None:
            context.hints.older = self._records.older
        answered = AnsweredCalls(files.journal, context.resumed, greedy_by_default=facts.greedy_by_default)
        self._dispatcher = self._make_dispatcher(answered)
        self._warm_ups = WarmUps(
            context.warm_ups if options.scheduled.warms_up else (),
            self._dispatcher.warm_up,
            self._spawn,
            tally=self._tally,
            journal=files.journal,
            elapsed=self._elapsed,
            end=self._end,
        )
        self._finished = FinishedItems(
            files,
            self._tally,
            answered,
            max_failures=options.max_failures,
            end=self._end,
            on_progress=context.on_progress,
            on_change=self._changed.set,
        )
        self._sites = CallSites(entry.root, context.calls)
        self._waiting: dict[int, InputRow] = {}
        self._left_out = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._other_loop: LoopThread | None = None

    def _make_dispatcher(self, answered: AnsweredCalls) -> Dispatcher:
        options, context, facts = self._options, self._context, self._context.facts
        unbounded = None
        if context.resumed.resumed:
            # What the earlier part had left in a cache that never evicts is not known: then there is no such rate.
            self._tally.totals.attainable = None
        elif context.tokenizer is not None and facts.tokens_per_block is not None:
            unbounded = UnboundedCache(facts.tokens_per_block)
        return Dispatcher(
            self._fleet,
            self._clock,
            PromptTokens(context.tokenizer, facts.tokens_per_block),
            memo=context.memo,
            attainable=unbounded,
            answers=RunAnswers(sampling=options.merge_sampling, greedy_by_default=facts.greedy_by_default)
            if options.merges
            else None,
            answered=answered,
            on_record=self._records.on_record,
            on_resumed=self._records.on_resumed,
            on_fatal=self._end.stop,
            before_call=self._warmed,
            hints=context.hints,
        )

    def _elapsed(self) -> float:
        return self._context.resumed.elapsed + self._clock()

    async def run(self, rows: Iterator[InputRow]) -> RunOutcome:
        watching = self._loop.create_task(self._endpoints.watch(self._join, self._fleet.leave))
        watching.add_done_callback(self._on_task_done)
        with self._end.interruptible():
            try:
                for endpoint in self._endpoints.first:
                    self._fleet.join(endpoint)
                self._end.watch_time()
                # First, so that their rows are written however early this run ends.
                self._finished.take_over(self._context.resumed.items.values())
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
        stopped = self._end.reason(left_out=self._left_out)
        return RunOutcome(self._tally, self._elapsed(), self._end.interrupted, stopped, self._finished.first_error)

    async def _warm_up(self) -> None:
        for lane in self._fleet.lanes:
            self._warm_ups.start(lane)
        while self._tasks and not self._end.draining:
            await self._next_change()

    async def _warmed(self, lane: Lane) -> None:
        """With a memo store, prefixes are warmed when a call needs the engine: perhaps none does."""
        await self._warm_ups.done(lane)

    @asynccontextmanager
    async def _gateway(self) -> AsyncIterator[None]:
        """For the agent's own SDK clients."""
        listener, context = self._context.listener, self._context
        if listener is None:
            yield
            return
        from charter_compiler.executor.run.gateway import run_gateway  # the extra is there: the caller has looked

        self._other_loop = LoopThread("charter-agents") if self._entry.is_async else None
        try:
            async with run_gateway(
                listener, context.facts.model, self._dispatcher, self._fleet, self._sites, context.layouts,
                self._records.is_live, self._options.max_tokens,
            ):  # fmt: skip
                yield
        finally:
            if self._other_loop is not None:
                await self._other_loop.aclose()

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
            on_fatal=self._end.stop,
            on_lost=self._fleet.lost,
            patience=self._context.patience,
            on_held=self._end.on_held,
        )

    def _join(self, endpoint: Endpoint) -> None:
        """In mid-run, its cache cold."""
        self._warm_ups.start(self._fleet.join(endpoint))
        self._changed.set()

    # Items

    async def _run_rows(self, rows: Iterator[InputRow]) -> None:
        schedule = DEFAULT_SCHEDULE if self._options.mode is Mode.BASELINE else self._options.schedule
        arranged = schedule.arrange(rows, attrgetter("values"))
        coming = (row for row in arranged if row.index not in self._context.resumed.items)
        self._read_ahead(coming)
        while self._waiting and not self._end.draining:
            item = self._fleet.next_item()
            if item is None:
                await self._next_change()
            elif not self._end.spent_by_now():
                self._start(self._waiting.pop(item))
                self._read_ahead(coming)
        self._left_out = bool(self._waiting)
        while (self._tasks or self._finished.unwritten) and not self._end.halted:
            await self._next_change()

    def _read_ahead(self, coming: Iterator[InputRow]) -> None:
        """Rows until the endpoints have enough to choose from."""
        rows = list(islice(coming, self._fleet.wants))
        self._waiting.update((row.index, row) for row in rows)
        group_by, weigh = self._context.group_by, self._context.weigh
        self._fleet.add([Placed(row.index, group_of(row.values, group_by), weigh(row.values)) for row in rows])

    def _start(self, row: InputRow) -> None:
        arguments = self._entry.bind(row.values, f"line {row.line} of the inputs")
        self._fleet.start_item(row.index)
        self._spawn(self._run_item(row, arguments))

    async def _run_item(self, row: InputRow, arguments: Mapping[str, Any]) -> None:
        layouts = self._context.layouts
        client = AgentClient(row.index, self._dispatcher, self._sites, self._options.max_tokens, layouts)
        self._records.start_item(row.index)
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
        calls = self._records.finish_item(row.index, error)
        if not self._end.halted:  # else the item may have failed because the run did: --resume does it again
            row_out = ResultRow(row.index, row.values, output, error)
            self._finished.add(FinishedItem(row_out, calls, self._elapsed()))

    # Tasks

    def _spawn(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._on_task_done)
        return task

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._end.fail(error)
        if not self._finished.unwritten:  # else they tell: no item starts before it is known how this one ended
            self._changed.set()

    async def _next_change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    async def _cancel_all(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._finished.written()
        await self._dispatcher.aclose()
        self._fleet.close()
