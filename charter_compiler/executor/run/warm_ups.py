"""Warm-ups: the plan's constant prompts, computed at an endpoint before the calls that begin with them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence

from charter_compiler.diagnostics.errors import CharterError
from charter_compiler.executor.fleet.lane import EndpointLostError, Lane
from charter_compiler.executor.journal import Journal
from charter_compiler.executor.metrics import Tally
from charter_compiler.executor.run.end import RunEnd
from charter_compiler.executor.types import GenerationRequest


class WarmUps:
    """Sends the warm-ups of a run, to each endpoint once. Owned by one event loop.

    Args:
        requests: the prompts; none in a mode without warm-ups.
        send: sends one of them, with its number, to an endpoint.
        spawn: starts a task that the run waits for, and cancels at its end.
        tally: where the warm-ups are counted as they are answered; those of a resumed run are there already.
        journal: takes them once all of an endpoint's are answered.
        elapsed: the run's seconds.
        end: of the run, after which no warm-up starts.
    """

    def __init__(
        self,
        requests: Sequence[GenerationRequest],
        send: Callable[[Lane, int, GenerationRequest], Awaitable[object]],
        spawn: Callable[[Coroutine[object, object, None]], asyncio.Task[None]],
        *,
        tally: Tally,
        journal: Journal,
        elapsed: Callable[[], float],
        end: RunEnd,
    ) -> None:
        self._requests = requests
        self._send = send
        self._spawn = spawn
        self._tally = tally
        self._journal = journal
        self._elapsed = elapsed
        self._end = end
        self._kept = len(tally.warm_ups)
        self._warming: dict[Lane, asyncio.Task[None]] = {}

    def start(self, lane: Lane) -> None:
        """Warm the endpoint up, unless that was begun before."""
        if lane not in self._warming and self._requests and not self._end.draining:
            self._warming[lane] = self._spawn(self._send_all(lane))

    async def done(self, lane: Lane) -> None:
        """Started now if they were not before, and all answered."""
        self.start(lane)
        if lane in self._warming:
            await asyncio.wait([self._warming[lane]])

    async def _send_all(self, lane: Lane) -> None:
        try:
            await asyncio.gather(*(self._send(lane, number, each) for number, each in enumerate(self._requests)))
            new = self._tally.warm_ups[self._kept :]
            self._kept += len(new)
            await self._journal.warm_ups(new, self._elapsed())
        except EndpointLostError:
            return  # it is warmed when it comes back
        except CharterError as error:
            self._end.stop(error)
