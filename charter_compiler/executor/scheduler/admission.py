"""Admission: how many items run at once, judged by what they need of the cache."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable

from charter_compiler.executor.scheduler.ended_items import EndedItems
from charter_compiler.executor.scheduler.held_blocks import HeldBlocks
from charter_compiler.executor.scheduler.interface import ScheduledCall
from charter_compiler.executor.scheduler.live_item import LiveItem

WARM_UP_RANK = -1
"""Warm-ups go before every item."""


class Admission:
    """The items between start and finish. There are never more than ``concurrency``, and it is asked twice for each:

    - ``may_start``: whether its agent may begin. Where items keep blocks between their calls, only while the running
      items and it are expected to fit, judged by the most blocks that the items so far needed at once, with what they
      came back to later.
    - ``may_admit``: whether its first call, which shows what it does need, may go to the target. If it does not fit
      beside the items admitted before, the call waits until one of them is over.

    Stage by stage, an item's blocks are not counted on to last until its next call; nor where the calls of the items so
    far found too few of their blocks left by a former call of theirs (``ended_items.WORTH_KEEPING``): then there is
    little to keep between two calls, and fewer items would only mean smaller batches.

    Args:
        concurrency: items at most.
        capacity_blocks: the target's KV capacity; ``None`` where it does not say, and then only ``concurrency`` counts.
        by_stage: calls go stage by stage.
        items_return: it is known beforehand that items make more than one call, so that the first ones to be admitted
            leave room for them too.
        expected: what items will need, where that was predicted; it counts as much as the first few that end.
        constant: blocks that belong to no item, warmed or not.
    """

    def __init__(
        self,
        concurrency: int,
        capacity_blocks: int | None,
        *,
        by_stage: bool,
        items_return: bool,
        expected: EndedItems | None,
        constant: Iterable[Hashable],
    ) -> None:
        self._concurrency = concurrency
        self._capacity = capacity_blocks
        self._by_stage = by_stage
        self._items_return = items_return  # or an item was seen that makes more than one call
        self._constant = set(constant)
        self._live: dict[int, LiveItem] = {}
        self._sizes: Counter[int] = Counter()  # of the live items' footprints: few, however many items there are
        self._started = 0
        self._admitted = 0
        self._held = HeldBlocks()  # by the admitted items
        self.ended = EndedItems() if expected is None else expected.as_first()

    # Items

    def may_start(self) -> bool:
        """May one more item start now?"""
        if len(self._live) >= self._concurrency:
            return False
        if self._capacity is None or not self._live or not self._keeps_between_calls():
            return True
        expected = self._expected_footprint()
        if expected is None:
            return False  # the first item's first call, which comes without waiting for the target, tells its size
        held = sum(max(size, expected) * items for size, items in self._sizes.items())
        return (held + expected) * self.ended.spread <= self._capacity - len(self._constant)

    def may_admit(self, item: LiveItem | None) -> bool:
        """May a call of this item go to the target, by what the item needs? ``None`` for a call of none."""
        if item is None or item.admitted or self._capacity is None or not self._admitted:
            return True
        if not self._keeps_between_calls():
            return True
        new = self._held.missing(item.blocks, item.tail)
        # Engines evict what was used longest ago. So that a new item evicts what is left of those that are over, and
        # not what one between two calls will need, there is room for one item more.
        spare = new if self._items_return else 0
        return (len(self._held) + new + spare) * self.ended.spread <= self._capacity - len(self._constant)

    def _keeps_between_calls(self) -> bool:
        """Whether an item's blocks are to last until its next call."""
        return not self._by_stage and self.ended.keep_between_calls

    def _expected_footprint(self) -> float | None:
        """Blocks of a typical item: the mean of the finished ones, else of the running ones that have made a call.

        Items without a call, or whose calls the memo store answered, say nothing of it; after nothing but such, 0."""
        if self.ended.sized:
            return self.ended.footprints / self.ended.sized
        seen = sum(items for size, items in self._sizes.items() if size)
        if seen:
            return sum(size * items for size, items in self._sizes.items()) / seen
        return 0 if self.ended.items else None

    def start(self, number: int) -> None:
        """The item's agent begins."""
        self._live[number] = LiveItem(rank=self._started)
        self._sizes[0] += 1
        self._started += 1

    def admit(self, item: LiveItem) -> None:
        """The target has to hold the item's blocks from now on, until it is finished."""
        item.admitted = True
        self._admitted += 1
        self._held.hold(item.blocks, item.tail)

    def finish(self, number: int) -> None:
        """The item makes no more calls."""
        item = self._live.pop(number)
        self._resize(item.footprint, None)
        if item.admitted:
            self._admitted -= 1
            self._held.release(item.blocks, item.tail)
        self.ended.add(item, self._capacity)

    def _resize(self, old: int, new: int | None) -> None:
        self._sizes[old] -= 1
        if not self._sizes[old]:
            del self._sizes[old]
        if new is not None:
            self._sizes[new] += 1

    # Calls

    def live(self, number: int | None) -> LiveItem | None:
        """The item of this number; ``None`` for a warm-up's, or one that is over."""
        return None if number is None else self._live.get(number)

    def submit(self, call: ScheduledCall) -> int:
        """Count a call to its item; gives the call's place in line by its item, the lowest first."""
        if call.item is None:
            self._constant.update(call.blocks)
            return WARM_UP_RANK
        item = self._live.get(call.item)
        if item is None:
            return self._started  # its item has finished without it: last in line
        item.use(call, self._constant)
        self._items_return = self._items_return or len(item.tails) > 1
        item.open_calls[call.key] = call
        # A call larger than the cache is refused by the target; it says nothing of what items need.
        self._measure(item)
        return item.rank

    def done(self, call: ScheduledCall) -> None:
        """The call is over, however it ended."""
        item = self.live(call.item)
        if item is not None:  # else the agent returned without waiting for this call
            item.open_calls.pop(call.key)

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
            self._held.release(item.blocks, item.tail)
        item.footprint, item.blocks, item.tail = footprint, frozenset(blocks), tail
        if item.admitted:
            self._held.hold(item.blocks, item.tail)
