"""The endpoints of one run: which item is at which, and a lane of calls to each."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from charter_compiler.diagnostics.errors import TargetError
from charter_compiler.executor.fleet.lane import Lane
from charter_compiler.executor.fleet.queues import ItemQueues
from charter_compiler.executor.types import AsyncTarget, TargetFacts
from charter_compiler.plan.placement import Placed, Placement

WINDOW = 1024
"""Items that are read ahead, and so can be placed together; a bound on what a run keeps in memory."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One server of a run. ``name`` is ``None`` where it is the only one from beginning to end."""

    name: str | None
    target: AsyncTarget
    facts: TargetFacts


class Fleet:
    """Starts items at endpoints and routes their calls. Owned by one event loop; ``Routes`` of a dispatcher.

    Args:
        make_lane: the lane of an endpoint, with a scheduler of its own.
        placement: how items, and with ``ROUND_ROBIN`` calls, are spread.
        on_lost: told of an endpoint that went away or cannot be used, while others answer, and why.
    """

    def __init__(
        self,
        make_lane: Callable[[Endpoint], Lane],
        placement: Placement = Placement.PREFIX,
        on_lost: Callable[[str, TargetError], None] = lambda name, why: None,
    ) -> None:
        self._make_lane = make_lane
        self._in_turn = placement is Placement.ROUND_ROBIN
        self._on_lost = on_lost
        self._queues = ItemQueues(placement)
        self._lanes: dict[str, Lane] = {}
        self._lost: set[Lane] = set()
        self._scheduled_at: dict[int, Lane] = {}
        self._hurried: set[int] = set()
        self._turns: Iterator[int] = itertools.count()

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """Of the endpoints that are given items."""
        return tuple(self._lanes[name] for name in self._queues.endpoints)

    @property
    def wants(self) -> int:
        """How many more items should be read. One endpoint needs no choice: then rows are read as they start."""
        ahead = 1 if len(self._queues.endpoints) == 1 else WINDOW
        waiting = self._queues.waiting
        return ahead - waiting if waiting <= ahead // 2 else 0

    @property
    def waiting(self) -> int:
        """Items that were read and have not started."""
        return self._queues.waiting

    # Endpoints

    def join(self, endpoint: Endpoint) -> Lane:
        """It is given items from now on. One that was lost comes back so, with a new scheduler: what it had cached is
        not known any more."""
        name = _name(endpoint.name)
        lane = self._lanes[name] = self._make_lane(endpoint)
        self._queues.join(name)
        return lane

    def leave(self, name: str) -> bool:
        """It is given no more items; those that run there go on there. False for the last one, which stays."""
        others = [other for other in self._queues.endpoints if other != name]
        if others and name in self._queues.endpoints:
            self._queues.leave(name)
        return bool(others)

    def lost(self, lane: Lane, why: TargetError) -> bool:
        """A call found the endpoint away or of no use. True if there are others: then it is given nothing more, and
        its calls are to be sent to them."""
        name, given = _name(lane.name), self._queues.endpoints
        if lane in self._lost:
            return True
        if given == (name,):
            return False
        self._lost.add(lane)
        lane.abandon()
        if name in given:
            self._queues.leave(name)
            self._on_lost(name, why)
        return True

    def close(self) -> None:
        """The run is over."""
        for lane in {*self._lanes.values(), *self._lost}:
            lane.close()

    # Items

    def add(self, items: Sequence[Placed]) -> None:
        """Items that are to run, in the order in which they should start."""
        self._queues.add(items)

    def next_item(self) -> int | None:
        """An item that may start now, by its endpoint's scheduler."""
        for name in self._queues.endpoints:
            if self._lanes[name].scheduler.may_start() and (item := self._queues.next_of(name)) is not None:
                return item
        return None

    def start_item(self, item: int) -> None:
        """The item's agent begins; one that was not added, where the least is to be done."""
        name = self._queues.start(item) if self._queues.is_waiting(item) else self._queues.begin(item)
        self._enter(item, name)

    def finish_item(self, item: int) -> None:
        """The item's agent has returned or failed."""
        self._queues.finish(item)
        self._hurried.discard(item)
        self._scheduled_at.pop(item).finish_item(item)

    def hurry(self, item: int) -> None:
        """See ``Routes``. It holds wherever the item goes on: who waits does not ask again."""
        lane = self._scheduled_at.get(item)
        if lane is not None:  # else its agent has returned, and nothing holds its call back
            self._hurried.add(item)
            lane.hurry(item)

    def lane_of(self, item: int) -> Lane:
        """See ``Routes``. An item whose endpoint was lost moves, with all the calls that it makes from then on."""
        if self._in_turn:
            lanes = self.lanes
            return lanes[next(self._turns) % len(lanes)]
        lane = self._scheduled_at.get(item)
        if lane is None:  # its agent has returned without waiting for this call
            return self.lanes[0]
        if lane in self._lost:
            lane.finish_item(item)
            name = self._queues.of(item)
            back = name in self._queues.endpoints  # with another lane than the lost one
            lane = self._enter(item, name if back else self._queues.move(item))
        return lane

    def _enter(self, item: int, name: str) -> Lane:
        lane = self._scheduled_at[item] = self._lanes[name]
        lane.scheduler.start_item(item)
        if item in self._hurried:
            lane.scheduler.hurry(item)
        return lane


def _name(name: str | None) -> str:
    return "" if name is None else name
