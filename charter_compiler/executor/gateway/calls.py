"""Requests of the gateway on their way through the scheduler: each is an item of one call."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace

from charter_compiler.diagnostics.errors import CharterError
from charter_compiler.executor.calls import AgentCall, CallRecord
from charter_compiler.executor.dispatch import Dispatcher
from charter_compiler.executor.gateway.stops import StopCutter
from charter_compiler.executor.memo.memo import Memo
from charter_compiler.executor.prompts import PromptTokens
from charter_compiler.executor.scheduler import Mode, make_scheduler
from charter_compiler.executor.targets import OpenTarget
from charter_compiler.executor.types import GenerationRequest, GenerationResult, StreamChunk


class GatewayCalls:
    """Answers requests in the scheduler's optimized order, from the memo store where it has them.

    Args:
        concurrency: requests at the target at once.
    """

    def __init__(self, target: OpenTarget, concurrency: int, memo: Memo | None = None) -> None:
        self.target = target
        self._scheduler = make_scheduler(Mode.OPTIMIZED, concurrency, target.facts.capacity_blocks)
        self._numbers = itertools.count()
        self._changed = asyncio.Event()
        self._turns = asyncio.Lock()
        self._dispatcher = Dispatcher(
            target.client,
            self._scheduler,
            PromptTokens(target.tokenizer, target.facts.tokens_per_block),
            memo=memo,
            attainable=None,
            on_record=_ignore_record,
            on_change=self._changed.set,
            on_fatal=_ignore_error,
            before_call=_at_once,
        )

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[StreamChunk, None]:
        """The answer piece by piece; the last chunk has the result. Closing it cancels the call.

        It ends before a stop text, which is then ``details["stop"]`` of the result.

        Raises:
            TargetError: as the target does.
        """
        pieces: asyncio.Queue[str | None] = asyncio.Queue()
        async with self._admitted() as number:
            call = AgentCall(number, 0, None, request)
            answering = asyncio.ensure_future(self._dispatcher.acall(call, on_text=pieces.put_nowait))
            answering.add_done_callback(lambda _: pieces.put_nowait(None))
            cutter, given, streamed = StopCutter(request.stop), "", False
            try:
                while (piece := await pieces.get()) is not None:
                    streamed = True
                    if text := cutter.feed(piece):
                        given += text
                        yield StreamChunk(text)
                result = answering.result()
                last = ("" if streamed else cutter.feed(result.text)) + cutter.rest()
                yield StreamChunk(last, _cut(result, given + last, cutter.found))
            finally:
                answering.cancel()
                await asyncio.gather(answering, return_exceptions=True)

    async def generate(self, request: GenerationRequest) -> GenerationResult:
        """The whole answer. Raises as ``stream``."""
        async with aclosing(self.stream(request)) as chunks:
            result = [chunk.result async for chunk in chunks][-1]
        assert result is not None, "the last chunk carries the result"
        return result

    async def aclose(self) -> None:
        """Cancel what is open."""
        await self._dispatcher.aclose()

    @asynccontextmanager
    async def _admitted(self) -> AsyncIterator[int]:
        """In order of arrival, when the scheduler has room for one more."""
        async with self._turns:
            while not self._scheduler.may_start():
                self._changed.clear()
                await self._changed.wait()
            number = next(self._numbers)
            self._scheduler.start_item(number)
        try:
            yield number
        finally:
            self._scheduler.finish_item(number)
            self._changed.set()


def _cut(result: GenerationResult, text: str, stop: str | None) -> GenerationResult:
    if stop is None:
        return result
    return replace(result, text=text, finish_reason="stop", details={**result.details, "stop": stop})


def _ignore_record(record: CallRecord) -> None:
    """The gateway keeps nothing of its calls."""


def _ignore_error(error: CharterError) -> None:
    """A target that is away may come back: the one request has the error."""


async def _at_once() -> None:
    """There is nothing to warm up."""
