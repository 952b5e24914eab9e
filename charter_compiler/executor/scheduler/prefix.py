"""The optimized order: prefixes that are cached go first, and each cold one is computed once."""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Iterable

from charter_compiler.executor.scheduler.admission import Admission
from charter_compiler.executor.scheduler.ended_items import EndedItems
from charter_compiler.executor.scheduler.held_blocks import HeldBlocks
from charter_compiler.executor.scheduler.in_flight import InFlightLimit
from charter_compiler.executor.scheduler.interface import ScheduledCall
from charter_compiler.executor.scheduler.single_flight import SingleFlight
from charter_compiler.plan.schedule import Order

WINDOW = 32
"""Waiting calls that are looked at for one whose prompt is cached."""
AGE_BOUND = 64
"""Calls that may overtake one that waits: then it is the next to go."""
_Entry = tuple[int, float, int]
"""Stage (0 where it does not count), rank and key of a call that waits; the lowest goes first."""


class PrefixScheduler:
    """The optimized order.

    - *Single-flight*: of the calls whose leading blocks are not known to be cached, one computes a block first; the
      others that begin with it wait for its first token (``SingleFlight``).
    - *Item by item*: calls of the item that started first go first, warm-ups before them all; or *stage by stage*:
      calls with the fewest calls before them in their item. A call is held back while the calls in flight and it do
      not fit ``capacity_blocks`` together, unless nothing is in flight.
    - *Warm before cold*: among the first ``WINDOW`` calls that wait, of one stage where these count, one whose prompt
      is mostly known to be cached goes before others that are not; but none is overtaken more than ``AGE_BOUND`` times.
    - *In flight*: never more than ``max_in_flight``, and fewer while the target turns calls away.
    - *Admission*: never above ``concurrency`` items; item by item, one starts only while it is expected to fit beside
      those that run, and waits with its first call while it does not (``Admission``).

    ``found_at_once``: the engine is one of ``cache.interface.FOUND_AT_ONCE``, and nothing is single-flighted: what a
    call computes, those sent after it find. ``items_return``, ``expected`` and ``constant`` are of ``Admission``.
    """

    def __init__(
        self,
        concurrency: int,
        capacity_blocks: int | None = None,
        order: Order = Order.ITEM_FIRST,
        max_in_flight: int | None = None,
        items_return: bool = False,
        found_at_once: bool = False,
        expected: EndedItems | None = None,
        constant: Iterable[Hashable] = (),
    ) -> None:
        self._capacity = capacity_blocks
        self._by_stage = order is Order.STAGE_FIRST
        self._admission = Admission(
            concurrency,
            capacity_blocks,
            by_stage=self._by_stage,
            items_return=items_return,
            expected=expected,
            constant=constant,
        )
        self._flights = SingleFlight(capacity_blocks, found_at_once)
        self._limit = InFlightLimit(max_in_flight)
        self._in_flight: dict[int, ScheduledCall] = {}
        self._held = HeldBlocks()  # by the calls in flight
        self._calls: dict[int, ScheduledCall] = {}
        self._entries: dict[int, _Entry] = {}
        self._queue: list[_Entry] = []
        self._parked: list[_Entry] = []  # whose items are not admitted yet, for want of room
        self._overtaken: dict[int, int] = {}

    @property
    def ended(self) -> EndedItems:
        """What the items that are over needed, and what was expected in place of the first of them."""
        return self._admission.ended

    # Items

    def may_start(self) -> bool:
        return self._admission.may_start()

    def start_item(self, item: int) -> None:
        self._admission.start(item)

    def finish_item(self, item: int) -> None:
        self._admission.finish(item)

    def hurry(self, item: int) -> None:
        state = self._admission.live(item)
        if state is None or state.admitted:
            return
        self._admission.admit(state)
        for entry in [entry for entry in self._parked if entry[-1] in state.open_calls]:
            self._parked.remove(entry)
            heapq.heappush(self._queue, entry)
        heapq.heapify(self._parked)

    # Calls that wait

    def submit(self, call: ScheduledCall) -> None:
        self._calls[call.key] = call
        rank = self._admission.submit(call)
        entry = (call.stage if self._by_stage else 0, rank if call.rank is None else call.rank, call.key)
        self._entries[call.key] = entry
        heapq.heappush(self._queue, entry)

    def ready(self) -> list[ScheduledCall]:
        out: list[ScheduledCall] = []
        while self._limit.allows(len(self._in_flight)):
            if self._parked and self._admissible(self._parked[0]):
                heapq.heappush(self._queue, heapq.heappop(self._parked))
            entry = self._next()
            if entry is None:
                break
            call = self._calls[entry[-1]]
            self._dispatch(call)
            out.append(call)
        return out

    def _next(self) -> _Entry | None:
        """Take the call that goes next from the queue; ``None`` where none may go."""
        passed: list[_Entry] = []
        chosen: _Entry | None = None
        while self._queue and len(passed) < WINDOW:
            entry = heapq.heappop(self._queue)
            call = self._calls.get(entry[-1])
            if call is None:  # withdrawn while it waited
                continue
            cached = self._flights.cached(call)
            leader = self._flights.leader(call, cached)
            if leader is not None:
                self._flights.wait_behind(leader, call.key)
                continue
            if not self._is_next_to_admit(entry, call) or not self._admissible(entry):
                heapq.heappush(self._parked, entry)
                continue
            if 2 * cached >= len(call.blocks) and self._fits(call):
                chosen = entry
                break
            if passed and entry[0] != passed[0][0]:
                heapq.heappush(self._queue, entry)
                break
            passed.append(entry)
            if self._overtaken.get(passed[0][-1], 0) >= AGE_BOUND:
                break
        if chosen is None and passed and self._fits(self._calls[passed[0][-1]]):
            chosen = passed.pop(0)
        elif chosen is not None:
            for *_, key in passed:
                self._overtaken[key] = self._overtaken.get(key, 0) + 1
        for entry in passed:
            heapq.heappush(self._queue, entry)
        return chosen

    def _is_next_to_admit(self, entry: _Entry, call: ScheduledCall) -> bool:
        """Whether no item that is not admitted yet stands before this call's, if that is not either."""
        item = self._admission.live(call.item)
        return item is None or item.admitted or not self._parked or entry < self._parked[0]

    def _admissible(self, entry: _Entry) -> bool:
        """Whether the call's item is admitted, or fits beside those that are."""
        call = self._calls.get(entry[-1])
        return call is None or self._admission.may_admit(self._admission.live(call.item))

    def _fits(self, call: ScheduledCall) -> bool:
        if self._capacity is None or not self._in_flight:
            return True
        return len(self._held) + self._held.missing(call.blocks, call.tail_blocks) <= self._capacity

    # Calls at the target

    def _dispatch(self, call: ScheduledCall) -> None:
        item = self._admission.live(call.item)
        if item is not None and not item.admitted:
            self._admission.admit(item)
        self._in_flight[call.key] = call
        self._held.hold(call.blocks, call.tail_blocks)
        self._flights.begin(call)

    def on_first_token(self, key: int) -> None:
        self._limit.on_answer()
        self._look_again(self._flights.on_first_token(self._in_flight[key]))

    def on_overload(self, key: int) -> None:
        self._limit.on_overload(len(self._in_flight))
        self._again(key)

    def on_outage(self, key: int) -> None:
        self._flights.forget()
        self._again(key)

    def on_done(self, key: int) -> None:
        call = self._calls.pop(key)
        self._entries.pop(key)
        self._overtaken.pop(key, None)
        self._admission.done(call)
        if key in self._in_flight:
            self._release(key)

    def _again(self, key: int) -> None:
        self._release(key)
        heapq.heappush(self._queue, self._entries[key])

    def _release(self, key: int) -> None:
        """The call holds nothing at the target any more."""
        call = self._in_flight.pop(key)
        self._held.release(call.blocks, call.tail_blocks)
        self._look_again(self._flights.end(call))

    def _look_again(self, keys: Iterable[int]) -> None:
        """At calls that waited behind another: its blocks are cached now, or it failed."""
        for key in keys:
            if key in self._entries:  # else it was withdrawn while it waited
                heapq.heappush(self._queue, self._entries[key])
