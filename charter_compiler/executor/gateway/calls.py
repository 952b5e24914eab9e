"""Requests of the gateway on their way to an answer."""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from charter_compiler.cache.interface import FOUND_AT_ONCE
from charter_compiler.diagnostics.errors import CharterError, OutputError, RequestCancelledError
from charter_compiler.executor.call_log import CallLog
from charter_compiler.executor.calls import AgentCall, CallRecord
from charter_compiler.executor.dispatch import Dispatcher, OneLane, RunClock
from charter_compiler.executor.fleet.lane import Lane
from charter_compiler.executor.gateway.fair import FairRanks
from charter_compiler.executor.gateway.stops import StopCutter
from charter_compiler.executor.gateway.templates import SiteTemplates
from charter_compiler.executor.layout import PromptLayouts
from charter_compiler.executor.memo.memo import Memo
from charter_compiler.executor.observed import CallMetrics
from charter_compiler.executor.prompts import PromptTokens
from charter_compiler.executor.scheduler.prefix import PrefixScheduler
from charter_compiler.executor.targets import OpenTarget
from charter_compiler.executor.types import GenerationRequest, GenerationResult, StreamChunk

CHARACTERS_A_TOKEN = 4
"""Of English text, roughly: for fair shares, which need no more."""
OUTPUT_TOKENS = 256.0
"""Of an answer, before there was one."""
REMEMBERED = 16
"""Answers whose length tells, roughly, how long the next one will be."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. ``user`` tells those apart that share the target; ``item`` and ``site`` are of the run whose agent
    asks, ``None`` where none does."""

    user: str = ""
    item: int | None = None
    site: str | None = None


OnText = Callable[[str], None]


class Answerer(Protocol):
    """What stands behind the gateway: the scheduler of ``charter gateway``, or a run."""

    @property
    def model(self) -> str:
        """The name of the model that answers."""

    async def answer(self, request: GenerationRequest, caller: Caller, on_text: OnText | None) -> GenerationResult:
        """Answer; ``on_text`` is told of the pieces as they come. Raises ``TargetError``."""

    @property
    def metrics(self) -> CallMetrics | None:
        """What it counts of its calls; ``None`` where that is done elsewhere."""

    async def aclose(self) -> None:
        """Cancel what is open."""


class GatewayCalls:
    """Answers of an ``Answerer`` as streams that end before a stop text."""

    def __init__(self, answerer: Answerer) -> None:
        self._answerer = answerer

    @property
    def model(self) -> str:
        """The name of the model that answers."""
        return self._answerer.model

    @property
    def metrics(self) -> CallMetrics | None:
        """See ``Answerer``."""
        return self._answerer.metrics

    async def stream(self, request: GenerationRequest, caller: Caller = Caller()) -> AsyncGenerator[StreamChunk, None]:
        """The answer piece by piece; the last chunk has the result. Closing it cancels the call.

        It ends before a stop text, which is then ``stop`` of the result.

        Raises:
            TargetError: as the target does.
        """
        pieces: asyncio.Queue[str | None] = asyncio.Queue()
        answering = asyncio.ensure_future(self._answerer.answer(request, caller, pieces.put_nowait))
        answering.add_done_callback(lambda _: pieces.put_nowait(None))
        cutter, given, streamed = StopCutter(request.stop), "", False
        try:
            while (piece := await pieces.get()) is not None:
                streamed = True
                if text := cutter.feed(piece):
                    given += text
                    yield StreamChunk(text)
            if answering.cancelled():
                raise RequestCancelledError("the gateway has ended")
            result = answering.result()
            last = ("" if streamed else cutter.feed(result.text)) + cutter.rest()
            yield StreamChunk(last, _cut(result, given + last, cutter.found))
        finally:
            answering.cancel()
            await asyncio.gather(answering, return_exceptions=True)

    async def generate(self, request: GenerationRequest, caller: Caller = Caller()) -> GenerationResult:
        """The whole answer. Raises as ``stream``."""
        result, cutter = await self._answerer.answer(request, caller, None), StopCutter(request.stop)
        return _cut(result, cutter.feed(result.text) + cutter.rest(), cutter.found)

    async def aclose(self) -> None:
        """Cancel what is open."""
        await self._answerer.aclose()


class SharedTarget:
    """One target for all who ask: optimized order, the same share for each user, answers from the memo store where it
    has them. Each request is an item of one call.

    Args:
        concurrency: requests at the target at once.
        templates: of the agent that sends most of them, for the figures of each call site.
        layouts: orders in which its prompts are sent instead.
        log: told of each call.
        on_log_lost: told that the log cannot be written; it is left alone from then on, and calls go on. Without it the
            call that was to be written fails.
    """

    def __init__(
        self,
        target: OpenTarget,
        concurrency: int,
        memo: Memo | None = None,
        *,
        templates: SiteTemplates | None = None,
        layouts: PromptLayouts | None = None,
        log: CallLog | None = None,
        on_log_lost: Callable[[OutputError], None] | None = None,
    ) -> None:
        self._target = target
        facts = target.facts
        self._scheduler = PrefixScheduler(
            sys.maxsize,
            facts.capacity_blocks,
            max_in_flight=concurrency,
            found_at_once=facts.engine in FOUND_AT_ONCE,
        )
        self._numbers = itertools.count()
        self._ranks = FairRanks()
        self._usual_output: float | None = None
        self._templates = templates or SiteTemplates(())
        self._layouts = layouts or PromptLayouts()
        self._log = log
        self._on_log_lost = on_log_lost
        self._metrics = CallMetrics()
        clock, prompts = RunClock(), PromptTokens(target.tokenizer, facts.tokens_per_block)
        self._lane = Lane(
            None,
            target.client,
            self._scheduler,
            prompts,
            clock=clock,
            on_change=_nobody,
            on_sent=self._ranks.sent,
            on_fatal=_ignore_error,
            overloads=0,  # the client hears of it, and when to come back
        )
        self._dispatcher = Dispatcher(
            OneLane(self._lane),
            clock,
            prompts,
            memo=memo,
            attainable=None,
            on_record=self._record,
            on_fatal=_ignore_error,
            before_call=_at_once,
        )

    @property
    def model(self) -> str:
        """See ``Answerer``."""
        return self._target.facts.model

    @property
    def metrics(self) -> CallMetrics:
        """See ``Answerer``."""
        return self._metrics

    async def answer(self, request: GenerationRequest, caller: Caller, on_text: OnText | None) -> GenerationResult:
        """See ``Answerer``."""
        number = next(self._numbers)
        self._metrics.open += 1
        self._scheduler.start_item(number)
        try:
            site = self._templates.site_of(request)
            request = self._layouts.apply(site, request)
            # What the store answers costs nobody's share: it is asked for no rank.
            rank = partial(self._ranks.rank, caller.user, self._cost(request))
            return await self._dispatcher.acall(AgentCall(number, 0, site, request, rank), on_text=on_text)
        except CharterError as error:
            self._metrics.failed(error)
            self._write(partial(CallLog.failed, error=error))
            raise
        finally:
            self._lane.finish_item(number)
            self._metrics.open -= 1

    def _record(self, record: CallRecord) -> None:
        self._metrics.record(record)
        output = record.result.output_tokens
        if not record.memoized and output is not None:
            usual = output if self._usual_output is None else self._usual_output
            self._usual_output = usual + (output - usual) / REMEMBERED
        self._write(partial(CallLog.call, record=record))

    def _write(self, line: Callable[[CallLog], None]) -> None:
        if self._log is None:
            return
        try:
            line(self._log)
        except OutputError as error:
            if self._on_log_lost is None:
                raise
            self._log = None
            self._on_log_lost(error)

    def _cost(self, request: GenerationRequest) -> float:
        """About how many tokens the request makes the target compute. Of the output it says what it allows, which many
        clients set a hundred times as high as what comes."""
        characters = len(request.prompt or "") + sum(len(str(m.get("content"))) for m in request.messages or ())
        output = OUTPUT_TOKENS if self._usual_output is None else self._usual_output
        return characters / CHARACTERS_A_TOKEN + min(request.max_tokens, output)

    async def aclose(self) -> None:
        """See ``Answerer``."""
        await self._dispatcher.aclose()


def _cut(result: GenerationResult, text: str, stop: str | None) -> GenerationResult:
    if stop is None:
        return result
    return replace(result, text=text, finish_reason="stop", stop=stop)


def _ignore_error(error: CharterError) -> None:
    """A target that is away may come back: the one request has the error."""


def _nobody() -> None:
    """No item waits to be admitted."""


async def _at_once(lane: Lane) -> None:
    """There is nothing to warm up."""
