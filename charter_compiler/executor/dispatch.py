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
    TargetProtocolError,
    TargetUnavailableError,
    UnknownModelError,
)
from charter_compiler.executor.answers import RunAnswers
from charter_compiler.executor.calls import AgentCall, CallRecord, CallSite
from charter_compiler.executor.memo.memo import Memo
from charter_compiler.executor.prompts import PromptTokens
from charter_compiler.executor.scheduler import Scheduler
from charter_compiler.executor.types import AsyncTarget, GenerationRequest, GenerationResult

FATAL = (TargetUnavailableError, AuthenticationError, UnknownModelError)
"""Errors that would meet every other call as well (the client has retried by then): they end the run."""


class Dispatcher:
    """Sends calls in the scheduler's order and times them. Owned by one event loop; implements ``CallBackend``.

    Args:
        memo: answers calls that earlier runs made, warm-ups excepted.
        attainable: counts what an unbounded cache would have reused; ``None`` where blocks are not known.
        answers: of the run, which answer a request that was sent before; ``None``: every call is sent.
        on_record: told of each answered call, before the agent gets the answer; what it raises ends the run.
        on_change: told whenever the scheduler's state changed, so that one more item may be admissible.
        on_fatal: told of an error that ends the run.
        before_call: awaited before a call of the agent goes to the scheduler.
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
        on_record: Callable[[CallRecord], None],
        on_change: Callable[[], None],
        on_fatal: Callable[[CharterError], None],
        before_call: Callable[[], Awaitable[None]],
    ) -> None:
        self._target = target
        self._scheduler = scheduler
        self._prompts = prompts
        self._memo = memo
        self._attainable = attainable
        self._answers = answers
        self._on_record = on_record
        self._on_change = on_change
        self._on_fatal = on_fatal
        self._before_call = before_call
        self._loop = asyncio.get_running_loop()
        self._keys = itertools.count()
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._open: set[asyncio.Task[object]] = set()
        self._closed = False
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
        submitted = self.elapsed

        async def answer() -> GenerationResult:
            return await self._answer(call, submitted, on_text)

        if self._answers is None:
            return await answer()
        result, merged = await self._answers.get(call.request, answer)
        if merged:
            self._report_memoized(call, result, submitted)
        return result

    async def _answer(
        self, call: AgentCall, submitted: float, on_text: Callable[[str], None] | None
    ) -> GenerationResult:
        """From the memo store, else from the target."""
        memo, tokens = self._memo, self._prompts.tokens(call.request)
        key = None if memo is None else memo.key(call.request, tokens)
        stored = None if memo is None or key is None else await memo.get(key)
        if stored is not None:
            stored = replace(stored, latency=self.elapsed - submitted, cache_id=call.request.cache_id)
            self._report_memoized(call, stored, submitted)
            return stored
        await self._before_call()
        result = await self._send(call.item, call.ordinal, call.site, call.request, tokens, submitted, on_text)
        if memo is not None and key is not None:
            await memo.put(key, result)
        return result

    def _report_memoized(self, call: AgentCall, result: GenerationResult, submitted: float) -> None:
        if self._closed:
            raise RequestCancelledError("the run has ended")
        now = self.elapsed
        times = (submitted, now, None, now)
        self._report(CallRecord(call.item, call.ordinal, call.site, call.request, result, *times, None, memoized=True))

    async def warm_up(self, ordinal: int, request: GenerationRequest) -> GenerationResult:
        """Send a warm-up; it is recorded with ``item`` ``None``."""
        return await self._send(None, ordinal, None, request, self._prompts.tokens(request), self.elapsed)

    async def aclose(self) -> None:
        """Cancel what is still open, at the target too, and take no more calls."""
        self._closed = True
        current = asyncio.current_task()
        open_calls = [task for task in self._open if task is not current]
        for task in open_calls:
            task.cancel()
        await asyncio.gather(*open_calls, return_exceptions=True)

    async def _send(
        self,
        item: int | None,
        ordinal: int,
        site: CallSite | None,
        request: GenerationRequest,
        tokens: list[int] | None,
        submitted: float,
        on_text: Callable[[str], None] | None = None,
    ) -> GenerationResult:
        if self._closed:
            raise RequestCancelledError("the run has ended")
        task = asyncio.current_task()
        assert task is not None
        key = next(self._keys)
        self._scheduler.submit(self._prompts.scheduled(key, item, ordinal, tokens, request.max_tokens))
        go = self._waiting[key] = self._loop.create_future()
        self._pump()
        self._open.add(task)
        try:
            await go
            sent = self.elapsed
            attainable = None
            if self._attainable is not None and tokens is not None:
                attainable = self._attainable.request(tokens)
            result, first_token = await self._stream(key, request, on_text)
            done = self.elapsed
            if self._attainable is not None and tokens is not None:
                self._attainable.request(self._prompts.with_output(tokens, result.text))
            self._report(
                CallRecord(item, ordinal, site, request, result, submitted, sent, first_token, done, attainable)
            )
            return result
        except FATAL as error:
            self._on_fatal(error)
            raise
        finally:
            self._open.discard(task)
            self._waiting.pop(key, None)
            self._scheduler.on_done(key)
            self._pump()

    async def _stream(
        self, key: int, request: GenerationRequest, on_text: Callable[[str], None] | None
    ) -> tuple[GenerationResult, float | None]:
        first_token: float | None = None
        result: GenerationResult | None = None
        async for chunk in self._target.stream(request):
            if first_token is None:
                first_token = self.elapsed
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
        for call in self._scheduler.ready():
            future = self._waiting.pop(call.key)
            if not future.done():  # cancelled in this very turn of the loop; its task withdraws it next
                future.set_result(None)
        self._on_change()
