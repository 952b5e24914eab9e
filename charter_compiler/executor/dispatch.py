"""Calls of the agents on their way: answered from what is known already, else sent through an endpoint's lane."""

from __future__ import annotations

import asyncio
import concurrent.futures
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Protocol

from charter_compiler.cache.unbounded import UnboundedCache
from charter_compiler.diagnostics.errors import CharterError, RequestCancelledError
from charter_compiler.executor.answered import AnsweredCalls
from charter_compiler.executor.answers import RunAnswers, request_digest
from charter_compiler.executor.calls import AgentCall, CallRecord, CallSite
from charter_compiler.executor.encoding import PromptEncoder
from charter_compiler.executor.fleet.lane import EndpointLostError, Lane
from charter_compiler.executor.hinting import RunHints
from charter_compiler.executor.memo.memo import AnsweredElsewhereError, Memo, MemoTurn
from charter_compiler.executor.metrics import CallFigures
from charter_compiler.executor.prompts import PromptTokens
from charter_compiler.executor.types import GenerationRequest, GenerationResult


class Routes(Protocol):
    """Which endpoint a call goes to."""

    def lane_of(self, item: int) -> Lane:
        """The lane of an item's next call. Asked again when an endpoint was lost with the call unanswered."""

    def hurry(self, item: int) -> None:
        """Another item waits for the answer to a call of this one."""


class OneLane:
    """``Routes`` of a single endpoint."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane

    def lane_of(self, item: int) -> Lane:
        """See ``Routes``."""
        return self._lane

    def hurry(self, item: int) -> None:
        """See ``Routes``."""
        self._lane.hurry(item)


class RunClock:
    """Seconds since the run began."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    def __call__(self) -> float:
        return time.perf_counter() - self._start


@dataclass(slots=True)
class _Sending:
    """A call, or with ``item`` ``None`` a warm-up, on its way to an engine; the fields as in ``AgentCall`` and
    ``CallRecord``."""

    item: int | None
    ordinal: int
    site: CallSite | None
    request: GenerationRequest
    tokens: list[int] | None
    submitted: float
    on_text: Callable[[str], None] | None = None
    rank: Callable[[], float] | None = None
    attainable: int | None = None
    turn: MemoTurn | None = None


class Dispatcher:
    """Answers calls, each once, and times them. Owned by one event loop; implements ``CallBackend``.

    Args:
        routes: which endpoint a call is sent to.
        clock: seconds of the run, the lanes' too.
        prompts: the targets' tokens, for all endpoints.
        memo: answers calls that earlier runs made, warm-ups excepted.
        attainable: counts what an unbounded cache would have reused; ``None`` where blocks are not known.
        answered: makes answers durable, and has those of an earlier part of the run; ``None`` for neither.
        answers: of the run, which answer a request that was sent before; ``None``: every call is sent.
        on_record: told of each answered call, before the agent gets the answer; what it raises ends the run.
        on_resumed: told of the item and the figures of a call that an earlier part of the run had answered.
        on_fatal: told of an error that ends the run.
        before_call: awaited before a call of the agent goes to a lane.
        hints: written beside each call, for a target that takes them.
    """

    def __init__(
        self,
        routes: Routes,
        clock: Callable[[], float],
        prompts: PromptTokens,
        *,
        memo: Memo | None,
        attainable: UnboundedCache | None,
        answers: RunAnswers | None = None,
        answered: AnsweredCalls | None = None,
        on_record: Callable[[CallRecord], None],
        on_resumed: Callable[[int, CallFigures], None] = lambda item, figures: None,
        on_fatal: Callable[[CharterError], None],
        before_call: Callable[[Lane], Awaitable[None]],
        hints: RunHints | None = None,
    ) -> None:
        self._routes = routes
        self._clock = clock
        self._prompts = prompts
        self._encoder = PromptEncoder(prompts)
        self._memo = memo
        self._attainable = attainable
        self._answers = answers
        self._answered = answered
        self._on_record = on_record
        self._on_resumed = on_resumed
        self._on_fatal = on_fatal
        self._before_call = before_call
        self._loop = asyncio.get_running_loop()
        self._open: set[asyncio.Task[object]] = set()
        self._closed = False
        self._hints = hints

    @property
    def elapsed(self) -> float:
        """Seconds since the run began."""
        return self._clock()

    def call(self, call: AgentCall) -> GenerationResult:
        """For a synchronous agent in a thread of its own.

        Raises:
            RuntimeError: called in the event loop's thread, which it would block for ever.
        """
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is self._loop:
            raise RuntimeError("generate() would block the event loop; an async agent awaits agenerate() instead")
        if self._closed:
            raise RequestCancelledError("the run has ended")
        future = asyncio.run_coroutine_threadsafe(self.acall(call), self._loop)
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise RequestCancelledError("the run ended before the call was answered") from None

    async def acall(self, call: AgentCall, on_text: Callable[[str], None] | None = None) -> GenerationResult:
        """See ``CallBackend``. ``on_text`` is told of each piece of the answer that the target sends; of an answer that
        was there already it is told nothing."""
        if asyncio.get_running_loop() is not self._loop:  # an agent in a loop of its own
            coming = asyncio.run_coroutine_threadsafe(self.acall(call, on_text), self._loop)
            return await asyncio.wrap_future(coming)
        submitted = self.elapsed
        self._check_open()
        asked = request_digest(call.request)
        if self._answered is not None and (earlier := self._answered.take(call, asked)) is not None:
            result, figures = earlier
            self._on_resumed(call.item, figures)
            return result

        async def answer() -> GenerationResult:
            return await self._answer(call, asked, submitted, on_text)

        if self._answers is None:
            return await answer()
        result, merged = await self._answers.get(call.request, answer, asked, call.item, self._routes.hurry)
        if merged:
            await self._keep(asked, self._report_memoized(call, result, submitted))
        return result

    async def _answer(
        self, call: AgentCall, asked: bytes, submitted: float, on_text: Callable[[str], None] | None
    ) -> GenerationResult:
        """From the memo store, else from the target."""
        self._check_open()
        memo, tokens = self._memo, await self._encoder.tokens(call.request)
        key = None if memo is None else memo.key(call.request, tokens)
        if memo is None or key is None:
            return await self._ask(call, asked, tokens, submitted, on_text)
        turn = memo.turn(key)
        while (stored := await turn.stored()) is None:
            try:
                result = await self._ask(call, asked, tokens, submitted, on_text, turn)
                await memo.put(key, result)
                return result
            except AnsweredElsewhereError:
                continue
            finally:
                turn.release()
        stored = replace(stored, latency=self.elapsed - submitted, cache_id=call.request.cache_id)
        self._report_memoized(call, stored, submitted)
        return stored

    async def _ask(
        self,
        call: AgentCall,
        asked: bytes,
        tokens: list[int] | None,
        submitted: float,
        on_text: Callable[[str], None] | None,
        turn: MemoTurn | None = None,
    ) -> GenerationResult:
        """From the target. Raises AnsweredElsewhereError where ``turn`` does."""
        sending = _Sending(
            call.item, call.ordinal, call.site, call.request, tokens, submitted, on_text, call.rank, turn=turn
        )
        record = await self._send_until_answered(sending, call.item)
        await self._keep(asked, record)
        return record.result

    def _check_open(self) -> None:
        if self._closed:
            raise RequestCancelledError("the run has ended")

    async def _keep(self, asked: bytes, record: CallRecord) -> None:
        """Answers of the memo store are durable already."""
        if self._answered is None or record.item is None:
            return
        try:
            await self._answered.keep(record.item, asked, record)
        except CharterError as error:
            self._on_fatal(error)
            raise

    def _report_memoized(self, call: AgentCall, result: GenerationResult, submitted: float) -> CallRecord:
        self._check_open()
        now = self.elapsed
        times = (submitted, now, None, now)
        record = CallRecord(call.item, call.ordinal, call.site, call.request, result, *times, None, memoized=True)
        self._report(record)
        return record

    async def warm_up(self, lane: Lane, ordinal: int, request: GenerationRequest) -> GenerationResult:
        """Send a warm-up to one endpoint; it is recorded with ``item`` ``None``.

        Raises:
            EndpointLostError: the endpoint went away, and others are there.
        """
        submitted, tokens = self.elapsed, await self._encoder.tokens(request)
        return (await self._send(lane, _Sending(None, ordinal, None, request, tokens, submitted))).result

    async def aclose(self) -> None:
        """Cancel what is still open, at the target too, and take no more calls."""
        self._closed = True
        current = asyncio.current_task()
        open_calls = [task for task in self._open if task is not current]
        for task in open_calls:
            task.cancel()
        await asyncio.gather(*open_calls, return_exceptions=True)
        self._encoder.close()

    async def _send_until_answered(self, sending: _Sending, item: int) -> CallRecord:
        """To the endpoint of the call's item; where that is lost, to the next one."""
        while True:
            lane = self._routes.lane_of(item)
            try:
                await self._before_call(lane)
                return await self._send(lane, sending)
            except EndpointLostError:
                if sending.turn is not None:
                    sending.turn.release()

    async def _send(self, lane: Lane, sending: _Sending) -> CallRecord:
        self._check_open()
        task = asyncio.current_task()
        assert task is not None
        request, tokens = sending.request, sending.tokens
        rank = None if sending.rank is None else sending.rank()
        scheduled = lane.scheduled(sending.item, sending.ordinal, tokens, request.max_tokens, rank)
        self._open.add(task)
        try:
            answer = await lane.send(scheduled, lambda: self._at_its_turn(sending), sending.on_text, sending.turn)
        finally:
            self._open.discard(task)
        result = answer.result
        if (
            self._attainable is not None
            and tokens is not None
            and self._prompts.fills_a_block(tokens, request.max_tokens)
        ):
            self._attainable.request(self._prompts.with_output(tokens, result.text))
        record = CallRecord(
            sending.item, sending.ordinal, sending.site, request, result, sending.submitted, answer.sent,
            answer.first_token, answer.done, sending.attainable, endpoint=lane.name,
        )  # fmt: skip
        self._report(record)
        return record

    def _at_its_turn(self, sending: _Sending) -> GenerationRequest:
        """What goes to the target. Counted as attainable once, however often it is sent."""
        tokens = sending.tokens
        if self._attainable is not None and tokens is not None and sending.attainable is None:
            sending.attainable = self._attainable.request(tokens)
        hinted = None if self._hints is None else self._hints.of(sending.item, sending.site, sending.request, tokens)
        return sending.request.on_the_way(tokens, hinted)

    def _report(self, record: CallRecord) -> None:
        try:
            self._on_record(record)
        except CharterError as error:
            self._on_fatal(error)
            raise
