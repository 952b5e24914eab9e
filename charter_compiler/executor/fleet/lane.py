"""The asyncio side of one endpoint's scheduler: calls wait here until it lets them go to the target."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from charter_compiler.diagnostics.errors import (
    AuthenticationError,
    CharterError,
    TargetError,
    TargetOverloadedError,
    TargetProtocolError,
    TargetTimeoutError,
    TargetUnavailableError,
    UnknownModelError,
)
from charter_compiler.executor.memo.memo import MemoTurn
from charter_compiler.executor.prompts import PromptTokens
from charter_compiler.executor.retry import RetryPolicy
from charter_compiler.executor.scheduler.interface import ScheduledCall, Scheduler
from charter_compiler.executor.types import AsyncTarget, GenerationRequest, GenerationResult

UNUSABLE = (AuthenticationError, UnknownModelError)
"""Errors that would meet every other call there as well, and that waiting does not mend."""

OUTAGE_PROBE = 1.0
"""Seconds between two tries of a target that is away; a client's own retries come on top."""
LONGEST_PAUSE = 300.0
"""Seconds that the run waits at most where a target turns calls away."""
OVERLOADS = 20
"""How often one call may be turned away before it fails."""


class EndpointLostError(Exception):
    """The call's endpoint has gone, others answer: it is to be sent to one of them. Never leaves ``executor``."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What an endpoint answered. Seconds of the run's clock: ``sent`` when the scheduler let the call go,
    ``first_token`` ``None`` where no token came, ``done`` at the end."""

    result: GenerationResult
    sent: float
    first_token: float | None
    done: float


class Lane:
    """Sends the calls of one endpoint in its scheduler's order. Owned by one event loop.

    Args:
        name: the endpoint's; ``None`` for the only one, of which nothing is told apart.
        clock: seconds of the run.
        on_change: told whenever the scheduler's state changed, so that one more item may be admissible.
        on_sent: told of the rank of each call that goes to the target, of those that have one of their own.
        on_fatal: told of an error that ends the run.
        on_lost: told that the target is away or cannot be used, and why; true if other endpoints answer, and then calls
            are left to them.
        patience: seconds that the target may be away before that is an error.
        on_held: told whenever calls wait because the target turned one away, or is away.
        overloads: how often a call may be turned away before that is one; ``OVERLOADS`` if not given.
    """

    def __init__(
        self,
        name: str | None,
        target: AsyncTarget,
        scheduler: Scheduler,
        prompts: PromptTokens,
        *,
        clock: Callable[[], float],
        on_change: Callable[[], None],
        on_fatal: Callable[[CharterError], None],
        on_sent: Callable[[float], None] = lambda rank: None,
        on_lost: Callable[[Lane, TargetError], bool] = lambda lane, why: False,
        patience: float = 0.0,
        overloads: int | None = None,
        on_held: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self.scheduler = scheduler
        self._target = target
        self._prompts = prompts
        self._clock = clock
        self._on_change = on_change
        self._on_sent = on_sent
        self._on_fatal = on_fatal
        self._on_lost = on_lost
        self._on_held = on_held
        self._loop = asyncio.get_running_loop()
        self._keys = itertools.count()
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._paused_until = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._patience = patience
        self._away_since: float | None = None
        self._backoff = RetryPolicy(max_retries=OVERLOADS if overloads is None else overloads)

    def scheduled(
        self, item: int | None, stage: int, tokens: list[int] | None, max_tokens: int, rank: float | None = None
    ) -> ScheduledCall:
        """A call as this endpoint's scheduler takes it, with a key of its own."""
        call = self._prompts.scheduled(next(self._keys), item, stage, tokens, max_tokens)
        return call if rank is None else replace(call, rank=rank)

    async def send(
        self,
        call: ScheduledCall,
        request: Callable[[], GenerationRequest],
        on_text: Callable[[str], None] | None = None,
        turn: MemoTurn | None = None,
    ) -> Answer:
        """Wait for its turn, and send it; ``request`` is asked for what is sent when the turn has come. ``turn`` is
        claimed then, and let go while the call waits once more; after an answer or an error the caller releases it.

        A timeout of the request counts from its first turn: what it waits to be sent again is part of it. Without one,
        the target's own holds for each time that it is sent.

        Raises:
            AnsweredElsewhereError: the call's turn has come, but another run computes it.
            EndpointLostError: the endpoint went away, and others are there.
            TargetError: what the target answered; also told to ``on_fatal`` where it would meet every other call.
        """
        self.scheduler.submit(call)
        try:
            await self._until_its_turn(call.key, turn)
            sent = self._clock()
            result, first_token = await self._until_taken(call.key, request(), on_text, turn)
            return Answer(result, sent, first_token, self._clock())
        finally:
            self._waiting.pop(call.key, None)
            self.scheduler.on_done(call.key)
            self._pump()

    def hurry(self, item: int) -> None:
        """Another item waits for the answer to a call of this one, which may not wait for that item to be over."""
        self.scheduler.hurry(item)
        self._pump()

    def finish_item(self, item: int) -> None:
        """The item makes no more calls here: a call that waited for its blocks may go. Whether one more item may start
        is not asked before its row is written."""
        self.scheduler.finish_item(item)
        self._let_go()

    def abandon(self) -> None:
        """The endpoint is lost: what waits for its turn is to be sent elsewhere. What is under way fails by itself, or
        is answered after all."""
        for go in self._waiting.values():
            if not go.done():
                go.set_exception(EndpointLostError())
                go.exception()  # looked at, should its call have been cancelled

    def close(self) -> None:
        """No call is let go by a timer any more."""
        if self._timer is not None:
            self._timer.cancel()

    async def _until_its_turn(self, key: int, turn: MemoTurn | None) -> None:
        go = self._waiting[key] = self._loop.create_future()
        self._pump()
        await go
        if turn is not None:
            await turn.claim()

    async def _until_taken(
        self, key: int, request: GenerationRequest, on_text: Callable[[str], None] | None, turn: MemoTurn | None
    ) -> tuple[GenerationResult, float | None]:
        """Send the call, and again while the target turns it away or is away: not before its time, nor any other call.

        An answer that was cut off is asked for anew, unless somebody has seen a part of it."""
        overloads, timeout = 0, request.timeout
        deadline = math.inf if timeout is None else self._clock() + timeout
        while True:
            heard: list[str] = []
            try:
                return await self._stream(key, request, None if on_text is None else _both(heard.append, on_text))
            except TargetUnavailableError as error:
                if self._on_lost(self, error):
                    if heard:
                        raise
                    raise EndpointLostError from error
                wait = None if heard else self._wait_for_return()
                if wait is None:
                    self._on_fatal(error)
                    raise  # and no call goes before this one is withdrawn
                self.scheduler.on_outage(key)
                self._pause(wait)
                if self._clock() + wait >= deadline:
                    raise
            except TargetOverloadedError as error:
                self._away_since = None
                longest = min(LONGEST_PAUSE, deadline - self._clock())
                wait = None if heard else self._backoff.delay(error, overloads, longest)
                overloads += 1
                self.scheduler.on_overload(key)
                self._pause(min(wait or error.retry_after or 0.0, LONGEST_PAUSE))
                if wait is None:
                    raise
            except UNUSABLE as error:
                if not self._on_lost(self, error):
                    self._on_fatal(error)
                    raise
                if heard:
                    raise
                raise EndpointLostError from error
            if turn is not None:
                turn.release()
            try:
                async with asyncio.timeout(None if timeout is None else deadline - self._clock()):
                    await self._until_its_turn(key, turn)
            except TimeoutError:
                if timeout is None:
                    raise
                raise TargetTimeoutError(
                    f"not sent again within its {timeout:g} s", place=self.name, remedy="raise the timeout of the call"
                ) from None
            if timeout is not None:
                request = replace(request, timeout=deadline - self._clock())

    @property
    def holds_back(self) -> bool:
        """Whether calls wait because the target turned one away, or is away."""
        return bool(self._waiting) and self._clock() < self._paused_until

    def _wait_for_return(self) -> float | None:
        """Seconds until a target that is away is asked again; ``None`` where it is not."""
        if self._away_since is None:
            self._away_since = self._clock()
        return OUTAGE_PROBE if self._clock() - self._away_since < self._patience else None

    def _pause(self, seconds: float) -> None:
        """No call is sent for so long; the next ``_pump`` waits for the end of it."""
        self._paused_until = max(self._paused_until, self._clock() + seconds)

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
                first_token, self._away_since = self._clock(), None
                self.scheduler.on_first_token(key)
                self._pump()
            if chunk.text and on_text is not None:
                on_text(chunk.text)
            result = chunk.result or result
        if result is None:
            raise TargetProtocolError("the stream ended without a result")
        return result, first_token

    def _pump(self) -> None:
        self._let_go()
        self._on_change()

    def _let_go(self) -> None:
        if self._paused_until and self._clock() < self._paused_until:
            # A timer may be a little early: then there is one more.
            if self._timer is None:
                self._timer = self._loop.call_later(self._paused_until - self._clock() + 0.001, self._go_on)
            if self._waiting:
                self._on_held()
            return
        for call in self.scheduler.ready():
            if call.rank is not None:
                self._on_sent(call.rank)
            future = self._waiting.pop(call.key)
            if not future.done():  # cancelled in this very turn of the loop; its task withdraws it next
                future.set_result(None)


def _both(first: Callable[[str], None], second: Callable[[str], None]) -> Callable[[str], None]:
    def tell(text: str) -> None:
        first(text)
        second(text)

    return tell
