"""The asyncio side of the scheduler: calls wait here until it lets them go to the target."""

from __future__ import annotations

import asyncio
import concurrent.futures
import itertools
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

from charter_compiler.cache.unbounded import UnboundedCache
from charter_compiler.diagnostics.errors import (
    AuthenticationError,
    CharterError,
    RequestCancelledError,
    TargetOverloadedError,
    TargetProtocolError,
    TargetUnavailableError,
    UnknownModelError,
)
from charter_compiler.executor.answered import AnsweredCalls
from charter_compiler.executor.answers import RunAnswers, request_digest
from charter_compiler.executor.calls import AgentCall, CallRecord, CallSite
from charter_compiler.executor.encoding import PromptEncoder
from charter_compiler.executor.hinting import RunHints
from charter_compiler.executor.memo.memo import Memo
from charter_compiler.executor.metrics import CallFigures
from charter_compiler.executor.prompts import PromptTokens
from charter_compiler.executor.retry import RetryPolicy
from charter_compiler.executor.scheduler import Scheduler
from charter_compiler.executor.types import AsyncTarget, GenerationRequest, GenerationResult

FATAL = (TargetUnavailableError, AuthenticationError, UnknownModelError)
"""Errors that would meet every other call as well (the client has retried by then): they end the run."""

OUTAGE_PROBE = 1.0
"""Seconds between two tries of a target that is away; a client's own retries come on top."""
LONGEST_PAUSE = 300.0
"""Seconds that the run waits at most where a target turns calls away."""
OVERLOADS = 20
"""How often one call may be turned away before it fails."""


class Dispatcher:
    """Sends calls in the scheduler's order and times them. Owned by one event loop; implements ``CallBackend``.

    Args:
        memo: answers calls that earlier runs made, warm-ups excepted.
        attainable: counts what an unbounded cache would have reused; ``None`` where blocks are not known.
        answered: makes answers durable, and has those of an earlier part of the run; ``None`` for neither.
        answers: of the run, which answer a request that was sent before; ``None``: every call is sent.
        on_record: told of each answered call, before the agent gets the answer; what it raises ends the run.
        on_resumed: told of the item and the figures of a call that an earlier part of the run had answered.
        on_change: told whenever the scheduler's state changed, so that one more item may be admissible.
        on_sent: told of the rank of each call that goes to the target, of those that have one of their own.
        on_fatal: told of an error that ends the run.
        before_call: awaited before a call of the agent goes to the scheduler.
        patience: seconds that the target may be away before that is an error.
        hints: written beside each call, for a target that takes them.
        overloads: how often a call may be turned away before that is one; ``OVERLOADS`` if not given.
    """

    def __init__(
        self,
        target: AsyncTarget,
        scheduler: Scheduler,
        prompts: PromptTokens,
        *,
        memo: Memo | None,
        attainable: UnboundedCache | None,
        answers: RunAnswers | None = None,
        answered: AnsweredCalls | None = None,
        on_record: Callable[[CallRecord], None],
        on_resumed: Callable[[int, CallFigures], None] = lambda item, figures: None,
        on_change: Callable[[], None],
        on_sent: Callable[[float], None] = lambda rank: None,
        on_fatal: Callable[[CharterError], None],
        before_call: Callable[[], Awaitable[None]],
        patience: float = 0.0,
        overloads: int | None = None,
        hints: RunHints | None = None,
    ) -> None:
        self._target = target
        self._scheduler = scheduler
        self._prompts = prompts
        self._encoder = PromptEncoder(prompts)
        self._memo = memo
        self._attainable = attainable
        self._answers = answers
        self._answered = answered
        self._on_record = on_record
        self._on_resumed = on_resumed
        self._on_change = on_change
        self._on_sent = on_sent
        self._on_fatal = on_fatal
        self._before_call = before_call
        self._loop = asyncio.get_running_loop()
        self._keys = itertools.count()
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._open: set[asyncio.Task[object]] = set()
        self._closed = False
        self._paused_until = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._patience = patience
        self._hints = hints
        self._away_since: float | None = None
        self._backoff = RetryPolicy(max_retries=OVERLOADS if overloads is None else overloads)
        self._start = time.perf_counter()

    @property
    def elapsed(self) -> float:
        """Seconds since the run began."""
        return time.perf_counter() - self._start

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
        result, merged = await self._answers.get(call.request, answer, asked)
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
        async with memo.turn(key) as stored:
            if stored is None:
                result = await self._ask(call, asked, tokens, submitted, on_text)
                await memo.put(key, result)
                return result
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
    ) -> GenerationResult:
        """From the target."""
        await self._before_call()
        record = await self._send(
            call.item, call.ordinal, call.site, call.request, tokens, submitted, on_text, call.rank
        )
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

    async def warm_up(self, ordinal: int, request: GenerationRequest) -> GenerationResult:
        """Send a warm-up; it is recorded with ``item`` ``None``."""
        submitted, tokens = self.elapsed, await self._encoder.tokens(request)
        return (await self._send(None, ordinal, None, request, tokens, submitted)).result

    async def aclose(self) -> None:
        """Cancel what is still open, at the target too, and take no more calls."""
        self._closed = True
        current = asyncio.current_task()
        open_calls = [task for task in self._open if task is not current]
        for task in open_calls:
            task.cancel()
        await asyncio.gather(*open_calls, return_exceptions=True)
        self._encoder.close()
        if self._timer is not None:
            self._timer.cancel()

    async def _send(
        self,
        item: int | None,
        ordinal: int,
        site: CallSite | None,
        request: GenerationRequest,
        tokens: list[int] | None,
        submitted: float,
        on_text: Callable[[str], None] | None = None,
        rank: Callable[[], float] | None = None,
    ) -> CallRecord:
        self._check_open()
        task = asyncio.current_task()
        assert task is not None
        key = next(self._keys)
        scheduled = self._prompts.scheduled(key, item, ordinal, tokens, request.max_tokens)
        self._scheduler.submit(scheduled if rank is None else replace(scheduled, rank=rank()))
        go = self._waiting[key] = self._loop.create_future()
        self._pump()
        self._open.add(task)
        try:
            await go
            sent = self.elapsed
            attainable = None
            if self._attainable is not None and tokens is not None:
                attainable = self._attainable.request(tokens)
            hinted = None if self._hints is None else self._hints.of(item, site, request, tokens)
            asked = replace(request, tokens=tokens, kv_hints=hinted)
            result, first_token = await self._until_taken(key, asked, on_text)
            done = self.elapsed
            if (
                self._attainable is not None
                and tokens is not None
                and self._prompts.fills_a_block(tokens, request.max_tokens)
            ):
                self._attainable.request(self._prompts.with_output(tokens, result.text))
            record = CallRecord(item, ordinal, site, request, result, submitted, sent, first_token, done, attainable)
            self._report(record)
            return record
        except FATAL as error:
            self._on_fatal(error)
            raise
        finally:
            self._open.discard(task)
            self._waiting.pop(key, None)
            self._scheduler.on_done(key)
            self._pump()

    async def _until_taken(
        self, key: int, request: GenerationRequest, on_text: Callable[[str], None] | None
    ) -> tuple[GenerationResult, float | None]:
        """Send the call, and again while the target turns it away or is away: not before its time, nor any other call.

        An answer that was cut off is asked for anew, unless somebody has seen a part of it."""
        overloads = 0
        while True:
            heard: list[str] = []
            try:
                return await self._stream(key, request, None if on_text is None else _both(heard.append, on_text))
            except (TargetOverloadedError, TargetUnavailableError) as error:
                wait = None if heard else self._wait_after(error, overloads)
                overloads += isinstance(error, TargetOverloadedError)
                if isinstance(error, TargetOverloadedError):
                    self._scheduler.on_overload(key)
                    self._pause(min(wait or error.retry_after or 0.0, LONGEST_PAUSE))
                elif wait is not None:
                    self._scheduler.on_outage(key)
                    self._pause(wait)
                if wait is None:
                    raise  # and no call goes before this one is withdrawn
                go = self._waiting[key] = self._loop.create_future()
                self._pump()
                await go

    def _wait_after(self, error: TargetOverloadedError | TargetUnavailableError, overloads: int) -> float | None:
        """Seconds until the call is sent again; ``None`` where it is not: a target that wants a longer pause than
        ``LONGEST_PAUSE`` is not waited for in silence."""
        if isinstance(error, TargetOverloadedError):
            self._away_since = None
            return self._backoff.delay(error, overloads, LONGEST_PAUSE)
        if self._away_since is None:
            self._away_since = self.elapsed
        return OUTAGE_PROBE if self.elapsed - self._away_since < self._patience else None

    def _pause(self, seconds: float) -> None:
        """No call is sent for so long; the next ``_pump`` waits for the end of it."""
        self._paused_until = max(self._paused_until, self.elapsed + seconds)

    def _go_on(self) -> None:
        self._timer = None
        self._pump()

    async def _stream(
        self, key: int, request: GenerationRequest, on_text: Callable[[str], None] | None
    ) -> tuple[GenerationResult, float | None]:
        first_token: float | None = None
        result: GenerationResult | None = None
        async for chunk in self._target.stream(request):
            if first_token is None:
                first_token, self._away_since = self.elapsed, None
                self._scheduler.on_first_token(key)
                self._pump()
            if chunk.text and on_text is not None:
                on_text(chunk.text)
            result = chunk.result or result
        if result is None:
            raise TargetProtocolError("the stream ended without a result")
        return result, first_token

    def _report(self, record: CallRecord) -> None:
        try:
            self._on_record(record)
        except CharterError as error:
            self._on_fatal(error)
            raise

    def _pump(self) -> None:
        if self.elapsed < self._paused_until:  # a timer may be a little early: then there is one more
            if self._timer is None:
                self._timer = self._loop.call_later(self._paused_until - self.elapsed + 0.001, self._go_on)
            self._on_change()
            return
        for call in self._scheduler.ready():
            if call.rank is not None:
                self._on_sent(call.rank)
            future = self._waiting.pop(call.key)
            if not future.done():  # cancelled in this very turn of the loop; its task withdraws it next
                future.set_result(None)
        self._on_change()


def _both(first: Callable[[str], None], second: Callable[[str], None]) -> Callable[[str], None]:
    def tell(text: str) -> None:
        first(text)
        second(text)

    return tell
