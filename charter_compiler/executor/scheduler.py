"""Which call goes to the target next, and when the next item may start: pure state, without clock, task or socket.

The asyncio run time (``executor.fleet.lane``) and ``predict``, in virtual time, drive the same classes.
"""

from __future__ import annotations

import heapq
from collections import Counter, OrderedDict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from charter_compiler.cache.interface import FOUND_AT_ONCE
from charter_compiler.executor.ended_items import EndedItems
from charter_compiler.executor.in_flight import InFlightLimit
from charter_compiler.executor.live_item import LiveItem
from charter_compiler.plan.schedule import DEFAULT_SCHEDULE, Order, Schedule

WARM_UP_RANK = -1
"""Warm-ups go before every item."""
WINDOW = 32
"""Waiting calls that are looked at for one whose prompt is cached."""
AGE_BOUND = 64
"""Calls that may overtake one that waits: then it is the next to go."""
_Entry = tuple[int, float, int]
"""Stage (0 where it does not count), rank and key of a call that waits; the lowest goes first."""
KNOWN_BLOCKS_WITHOUT_CAPACITY = 1 << 18
"""How many blocks are remembered as cached on a target that does not state its capacity: a bound on memory only."""


class Mode(StrEnum):
    BASELINE = "baseline"
    """Calls go out as the agent makes them."""
    OPTIMIZED = "optimized"
    """Warm-ups, single-flight of cold prefixes, item-by-item order, admission by capacity."""

    @property
    def warms_up(self) -> bool:
        """Whether the plan's constant prefixes are computed before the first item."""
        return self is Mode.OPTIMIZED


@dataclass(frozen=True, slots=True)
class ScheduledCall:
    """One call as the scheduler sees it.

    ``blocks`` are the chained hashes of the prompt's full blocks, the leading one first; empty where the target's
    tokenizer or block size is not known, and then nothing is single-flighted. ``tail_blocks`` counts the blocks of the
    prompt's last, partial block and of the longest output. ``item`` is ``None`` for a warm-up; ``stage`` counts the
    calls that the item made before. ``rank``: its place in line, the lowest first, where that is not its item's.
    """

    key: int
    item: int | None
    blocks: tuple[Hashable, ...] = ()
    tail_blocks: int = 0
    stage: int = 0
    rank: float | None = None


class Scheduler(Protocol):
    """What the run time asks and tells, in this order: ``start_item``; for each of the item's calls ``submit``,
    ``on_first_token``, ``on_done``; at last ``finish_item``, after which only ``on_done`` may still come for it.
    ``ready`` may be asked at any time and hands out each call once. Not thread-safe: one loop owns it.
    """

    def may_start(self) -> bool:
        """May one more item start now? Always true sooner or later once running items finish."""

    def start_item(self, item: int) -> None:
        """The item's agent begins."""

    def finish_item(self, item: int) -> None:
        """The item's agent has returned or failed; it makes no more calls."""

    def submit(self, call: ScheduledCall) -> None:
        """The agent waits for this call."""

    def hurry(self, item: int) -> None:
        """Another item waits for the answer to a call of this one: it is held back no more."""

    def ready(self) -> list[ScheduledCall]:
        """The calls to send now, in this order."""

    def on_first_token(self, key: int) -> None:
        """The call's prompt is computed, so its full blocks are in the target's cache."""

    def on_overload(self, key: int) -> None:
        """The target turned the call away before its first token: it waits again, in its old place. Fewer calls are in
        flight from then on, until answers show that there is room."""

    def on_outage(self, key: int) -> None:
        """The target went away before it had answered the call: it waits again, in its old place. What the target had
        cached is not known any more."""

    def on_done(self, key: int) -> None:
        """The call is over, however it ended; also right for one that was never handed out."""


class PassThroughScheduler:
    """The baseline: every call goes out at once, in the order of arrival; ``concurrency`` items run at once."""

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


class PrefixScheduler:
    """The optimized order.

    - *Single-flight*: of the calls whose leading blocks are not known to be cached, one computes a block first; the
      others that begin with it wait for its first token.
    - *Item by item*: calls of the item that started first go first, warm-ups before them all; or *stage by stage*:
      calls with the fewest calls before them in their item. A call is held back while the calls in flight and it do
      not fit ``capacity_blocks`` together, unless nothing is in flight.
    - *Warm before cold*: among the first ``WINDOW`` calls that wait, of one stage where these count, one whose prompt
      is mostly known to be cached goes before others that are not; but none is overtaken more than ``AGE_BOUND`` times.
    - *In flight*: never more than ``max_in_flight``, and fewer while the target turns calls away.
    - *Admission*: never above ``concurrency`` items; item by item, one starts only while the running items and it are
      expected to fit, judged by the most blocks that the items so far needed at once, with what they came back to
      later; and when its first call shows that it does not fit beside those which have begun, the call waits until
      one of them is over. Stage by stage, an
      item's blocks are not counted on to last until its next call; nor where the calls of the items so far found too
      few of their blocks left by a former call of theirs (``ended_items.WORTH_KEEPING``): then there is little to keep
      between two calls, and fewer items would only mean smaller batches.

    ``items_return``: it is known beforehand that items make more than one call, so that the first ones to be admitted
    leave room for them too. ``found_at_once``: the engine is one of ``cache.interface.FOUND_AT_ONCE``, and nothing is
    single-flighted: what a call computes, those sent after it find. ``expected``: what items will need, where that was
    predicted; it counts as much as the first few that end. ``constant``: blocks that belong to no item, warmed or not.

    What is cached is known from the calls that passed here, forgotten in order of last use beyond the capacity. It
    steers only the order: were the target to evict earlier than that, calls would compute a prefix twice, no more.
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
        self._concurrency = concurrency
        self._capacity = capacity_blocks
        self._found_at_once = found_at_once
        self._by_stage = order is Order.STAGE_FIRST
        self._limit = InFlightLimit(max_in_flight)
        self._live: dict[int, LiveItem] = {}
        self._sizes: Counter[int] = Counter()  # of the live items' footprints: few, however many items there are
        self._started = 0
        self._ended = EndedItems() if expected is None else expected.as_first()
        self._constant = set(constant)
        self._known: OrderedDict[Hashable, None] = OrderedDict()
        self._computing: dict[Hashable, int] = {}
        self._calls: dict[int, ScheduledCall] = {}
        self._in_flight: dict[int, ScheduledCall] = {}
        self._held_blocks: Counter[Hashable] = Counter()
        self._tail_blocks = 0
        self._queue: list[_Entry] = []
        self._behind: dict[int, list[_Entry]] = {}
        self._overtaken: dict[int, int] = {}
        self._entries: dict[int, _Entry] = {}
        self._parked: list[_Entry] = []
        self._items_return = items_return  # or an item was seen that makes more than one call
        self._admitted_items = self._admitted_tails = 0
        self._admitted_blocks: Counter[Hashable] = Counter()

    @property
    def ended(self) -> EndedItems:
        """What the items that are over needed, and what was expected in place of the first of them."""
        return self._ended

    # Items

    def may_start(self) -> bool:
        if len(self._live) >= self._concurrency:
            return False
        if self._capacity is None or not self._live or not self._keeps_between_calls():
            return True
        expected = self._expected_footprint()
        if expected is None:
            return False  # the first item's first call, which comes without waiting for the target, tells its size
        held = sum(max(size, expected) * items for size, items in self._sizes.items())
        return (held + expected) * self._ended.spread <= self._capacity - len(self._constant)

    def _keeps_between_calls(self) -> bool:
        """Whether an item's blocks are to last until its next call."""
        return not self._by_stage and self._ended.keep_between_calls

    def _expected_footprint(self) -> float | None:
        """Blocks of a typical item: the mean of the finished ones, else of the running ones that have made a call.

        Items without a call, or whose calls the memo store answered, say nothing of it; after nothing but such, 0."""
        if self._ended.sized:
            return self._ended.footprints / self._ended.sized
        seen = sum(items for size, items in self._sizes.items() if size)
        if seen:
            return sum(size * items for size, items in self._sizes.items()) / seen
        return 0 if self._ended.items else None

    def start_item(self, item: int) -> None:
        self._live[item] = LiveItem(rank=self._started)
        self._sizes[0] += 1
        self._started += 1

    def finish_item(self, item: int) -> None:
        state = self._live.pop(item)
        self._resize(state.footprint, None)
        if state.admitted:
            self._admit(state, -1)
        self._ended.add(state, self._capacity)

    def _resize(self, old: int, new: int | None) -> None:
        self._sizes[old] -= 1
        if not self._sizes[old]:
            del self._sizes[old]
        if new is not None:
            self._sizes[new] += 1

    # Calls

    def submit(self, call: ScheduledCall) -> None:
        self._calls[call.key] = call
        rank: float = WARM_UP_RANK
        item = None if call.item is None else self._live.get(call.item)
        if call.item is None:
            self._constant.update(call.blocks)
        elif item is None:
            rank = self._started  # its item has finished without it: last in line
        else:
            item.use(call, self._constant)
            self._items_return = self._items_return or len(item.tails) > 1
            rank = item.rank
            item.open_calls[call.key] = call
            # A call larger than the cache is refused by the target; it says nothing of what items need.
            self._measure(item)
        entry = (call.stage if self._by_stage else 0, rank if call.rank is None else call.rank, call.key)
        self._entries[call.key] = entry
        heapq.heappush(self._queue, entry)

    def hurry(self, item: int) -> None:
        state = self._live.get(item)
        if state is None or state.admitted:
            return
        state.admitted = True
        self._admit(state, 1)
        for entry in [entry for entry in self._parked if entry[-1] in state.open_calls]:
            self._parked.remove(entry)
            heapq.heappush(self._queue, entry)
        heapq.heapify(self._parked)

    def _measure(self, item: LiveItem) -> None:
        """What the item's open calls need together, if it is more than they ever did."""
        blocks = {block for call in item.open_calls.values() for block in call.blocks} - self._constant
        tail = sum(call.tail_blocks for call in item.open_calls.values())
        needed = len(blocks) + tail
        footprint = needed if self._capacity is None else min(needed, self._capacity)
        if footprint <= item.footprint:
            return
        self._resize(item.footprint, footprint)
        if item.admitted:
            self._admit(item, -1)
        item.footprint, item.blocks, item.tail = footprint, frozenset(blocks), tail
        if item.admitted:
            self._admit(item, 1)

    def _admit(self, item: LiveItem, sign: int) -> None:
        """Count the item among those that the target has to hold, or no more."""
        self._admitted_items += sign
        self._admitted_tails += sign * item.tail
        counts = self._admitted_blocks
        for block in item.blocks:
            counts[block] += sign
            if not counts[block]:
                counts.pop(block)

    def ready(self) -> list[ScheduledCall]:
        out: list[ScheduledCall] = []
        while self._limit.allows(len(self._in_flight)):
            if self._parked and self._may_begin(self._parked[0]):
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
            cold = self._cold_from(call)
            leader = self._computing.get(call.blocks[cold]) if cold < len(call.blocks) else None
            if leader is not None:
                self._behind.setdefault(leader, []).append(entry)
                continue
            if not self._is_next_to_begin(entry, call) or not self._may_begin(entry):
                heapq.heappush(self._parked, entry)
                continue
            if 2 * cold >= len(call.blocks) and self._fits(call):
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

    def _is_next_to_begin(self, entry: _Entry, call: ScheduledCall) -> bool:
        """Whether no item that has not begun stands before this call's, if that has not begun either."""
        item = None if call.item is None else self._live.get(call.item)
        return item is None or item.admitted or not self._parked or entry < self._parked[0]

    def _may_begin(self, entry: _Entry) -> bool:
        """Whether the call's item has begun, or fits beside those that have."""
        call = self._calls.get(entry[-1])
        item = None if call is None or call.item is None else self._live.get(call.item)
        if item is None or item.admitted or self._capacity is None or not self._admitted_items:
            return True
        if not self._keeps_between_calls():
            return True
        new = sum(1 for block in item.blocks if block not in self._admitted_blocks) + item.tail
        held = len(self._admitted_blocks) + self._admitted_tails
        # Engines evict what was used longest ago. So that a new item evicts what is left of those that are over, and
        # not what one between two calls will need, there is room for one item more.
        spare = new if self._items_return else 0
        return (held + new + spare) * self._ended.spread <= self._capacity - len(self._constant)

    def _cold_from(self, call: ScheduledCall) -> int:
        """How many of its leading blocks are known to be cached."""
        known = self._known
        for index, block in enumerate(call.blocks):
            if block not in known:
                return index
        return len(call.blocks)

    def _fits(self, call: ScheduledCall) -> bool:
        if self._capacity is None or not self._in_flight:
            return True
        new = sum(1 for block in call.blocks if block not in self._held_blocks) + call.tail_blocks
        return len(self._held_blocks) + self._tail_blocks + new <= self._capacity

    def _dispatch(self, call: ScheduledCall) -> None:
        item = None if call.item is None else self._live.get(call.item)
        if item is not None and not item.admitted:
            item.admitted = True
            self._admit(item, 1)
        self._in_flight[call.key] = call
        self._held_blocks.update(call.blocks)
        self._tail_blocks += call.tail_blocks
        if self._found_at_once:
            self._remember(call)
            return
        for block in reversed(call.blocks):  # so that a chain is forgotten from its end, as engines evict
            if block in self._known:
                self._known.move_to_end(block)
            else:
                self._computing.setdefault(block, call.key)

    def on_overload(self, key: int) -> None:
        self._limit.on_overload(len(self._in_flight))
        self._again(key)

    def on_outage(self, key: int) -> None:
        self._known.clear()
        self._again(key)

    def _again(self, key: int) -> None:
        self._release(self._in_flight.pop(key))
        heapq.heappush(self._queue, self._entries[key])

    def on_first_token(self, key: int) -> None:
        call = self._in_flight[key]
        self._limit.on_answer()
        self._remember(call)
        self._stop_leading(call)

    def on_done(self, key: int) -> None:
        call = self._calls.pop(key)
        self._entries.pop(key)
        self._overtaken.pop(key, None)
        item = None if call.item is None else self._live.get(call.item)
        if item is not None:  # else the agent returned without waiting for this call
            item.open_calls.pop(key)
        if self._in_flight.pop(key, None) is not None:
            self._release(call)

    def _release(self, call: ScheduledCall) -> None:
        """It holds nothing at the target any more."""
        held = self._held_blocks
        for block in call.blocks:
            held[block] -= 1
            if not held[block]:
                held.pop(block)
        self._tail_blocks -= call.tail_blocks
        self._stop_leading(call)

    def _remember(self, call: ScheduledCall) -> None:
        bound = KNOWN_BLOCKS_WITHOUT_CAPACITY if self._capacity is None else self._capacity
        for block in reversed(call.blocks):
            self._known[block] = None
            self._known.move_to_end(block)
        while len(self._known) > bound:
            self._known.popitem(last=False)

    def _stop_leading(self, call: ScheduledCall) -> None:
        """Those who waited behind the call are looked at again: its blocks are cached now, or it failed."""
        for block in call.blocks:
            if self._computing.get(block) == call.key:
                del self._computing[block]
        for entry in self._behind.pop(call.key, ()):
            heapq.heappush(self._queue, entry)


def make_scheduler(
    mode: Mode,
    concurrency: int,
    capacity_blocks: int | None,
    schedule: Schedule = DEFAULT_SCHEDULE,
    *,
    engine: str | None = None,
    items_return: bool = False,
    expected: EndedItems | None = None,
    constant: Iterable[Hashable] = (),
) -> Scheduler:
    """The scheduler of a mode; ``capacity_blocks`` is the target's KV capacity, ``None`` where it does not say;
    ``engine`` is whose cache rules hold (``TargetFacts.engine``). The baseline has no ``schedule``, and needs not know
    whether ``items_return``, what they are ``expected`` to need, and which blocks are ``constant``."""
    if mode is Mode.BASELINE:
        return PassThroughScheduler(concurrency)
    return PrefixScheduler(
        schedule.items(concurrency),
        capacity_blocks,
        schedule.order,
        items_return=items_return,
        found_at_once=engine in FOUND_AT_ONCE,
        expected=expected,
        constant=constant,
    )
