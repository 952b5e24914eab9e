"""The baseline: calls go out as the agent makes them."""

from __future__ import annotations

from charter_compiler.executor.scheduler.in_flight import InFlightLimit
from charter_compiler.executor.scheduler.interface import ScheduledCall


class PassThroughScheduler:
    """Every call goes out at once, in the order of arrival; ``concurrency`` items run at once."""

    def __init__(self, concurrency: int) -> None:
        self._concurrency = concurrency
        self._live: set[int] = set()
        self._waiting: dict[int, ScheduledCall] = {}
        self._in_flight: dict[int, ScheduledCall] = {}
        self._limit = InFlightLimit()

    def may_start(self) -> bool:
        return len(self._live) < self._concurrency

    def start_item(self, item: int) -> None:
        self._live.add(item)

    def finish_item(self, item: int) -> None:
        self._live.discard(item)

    def hurry(self, item: int) -> None:
        """It holds nothing back."""

    def submit(self, call: ScheduledCall) -> None:
        self._waiting[call.key] = call

    def ready(self) -> list[ScheduledCall]:
        calls = []
        while self._waiting and self._limit.allows(len(self._in_flight)):
            call = self._waiting.pop(next(iter(self._waiting)))
            self._in_flight[call.key] = call
            calls.append(call)
        return calls

    def on_first_token(self, key: int) -> None:
        self._limit.on_answer()

    def on_overload(self, key: int) -> None:
        self._limit.on_overload(len(self._in_flight))
        self.on_outage(key)

    def on_outage(self, key: int) -> None:
        self._waiting = {key: self._in_flight.pop(key)} | self._waiting

    def on_done(self, key: int) -> None:
        self._waiting.pop(key, None)
        self._in_flight.pop(key, None)
