"""Which item waits or runs at which endpoint: pure state, without clock, task or socket."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from charter_compiler.plan.placement import Group, Placed, Placement, place


@dataclass(slots=True)
class _Desk:
    """What one endpoint has to do. ``load``: tokens of its items that have not finished; ``members`` counts them by
    group; ``begun``: the groups of which it has started an item, until the last one has finished."""

    waiting: dict[int, Placed] = field(default_factory=dict)
    running: dict[int, Placed] = field(default_factory=dict)
    load: float = 0.0
    members: Counter[Group] = field(default_factory=Counter)
    begun: set[Group] = field(default_factory=set)

    def put(self, each: Placed, items: dict[int, Placed]) -> None:
        items[each.item] = each
        self.load += each.weight
        self.members[each.group] += 1

    def take(self, item: int, items: dict[int, Placed]) -> Placed:
        each = items.pop(item)
        self.load -= each.weight
        self.members[each.group] -= 1
        if not self.members[each.group]:
            del self.members[each.group]
            self.begun.discard(each.group)
        return each


class ItemQueues:
    """The items of a run on their way: ``add``ed, they wait at an endpoint; ``start``ed, they run there until they
    ``finish``.

    Items that wait are placed anew when endpoints come or go, but for those of a group that its endpoint has begun:
    what they share is in that one's cache. An endpoint that runs out of work takes a group that was not
    begun from the one with the most.
    """

    def __init__(self, placement: Placement = Placement.PREFIX) -> None:
        self._by_group = placement is Placement.PREFIX
        self._desks: dict[str, _Desk] = {}
        self._gone: dict[str, _Desk] = {}
        self._at: dict[int, str] = {}
        self._homeless: list[Placed] = []
        self._line: dict[int, int] = {}  # the place of an item that waits among those that came
        self._places = itertools.count()

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Those that are given items."""
        return tuple(self._desks)

    @property
    def waiting(self) -> int:
        """Items that have not started."""
        return len(self._homeless) + sum(len(desk.waiting) for desk in self._desks.values())

    @property
    def loads(self) -> Mapping[str, float]:
        """Outstanding tokens of each endpoint that is given items."""
        return {name: desk.load for name, desk in self._desks.items()}

    def is_waiting(self, item: int) -> bool:
        """Whether the item was added and has not started."""
        return item in self._line

    def of(self, item: int) -> str:
        """The endpoint where a started item is; it may be one that is given no more. Raises KeyError."""
        return self._at[item]

    def join(self, endpoint: str) -> None:
        """It takes items from now on: its share of those that wait, and its groups come back to it."""
        desk = self._desks[endpoint] = self._gone.pop(endpoint) if endpoint in self._gone else _Desk()
        desk.begun.clear()  # whatever it had computed may be gone
        movable = self._homeless
        self._homeless = []
        for desk in self._desks.values():
            free = [item for item, each in desk.waiting.items() if each.group not in desk.begun]
            movable = [*movable, *(desk.take(item, desk.waiting) for item in free)]
        self._place_anew(movable)

    def leave(self, endpoint: str) -> None:
        """It is given no more items, and those that wait there go elsewhere; those that run there stay."""
        desk = self._desks.pop(endpoint)
        movable = [desk.take(item, desk.waiting) for item in list(desk.waiting)]
        self._gone[endpoint] = desk
        self._place_anew(movable)

    def add(self, items: Sequence[Placed]) -> None:
        """Items that are to run, in the order in which they should start."""
        self._line.update((each.item, next(self._places)) for each in items)
        self._place(items)

    def _place(self, items: Sequence[Placed]) -> None:
        if not self._desks:
            self._homeless.extend(items)
            return
        if len(self._desks) == 1:  # no choice, which each item of most runs would be asked for
            homes = dict.fromkeys((each.item for each in items), next(iter(self._desks)))
        else:
            homes = place(items, self.loads, by_group=self._by_group)
        for each in items:
            desk = self._desks[homes[each.item]]
            desk.put(each, desk.waiting)

    def _place_anew(self, items: Sequence[Placed]) -> None:
        self._place(sorted(items, key=lambda each: self._line[each.item]))
        for desk in self._desks.values():
            desk.waiting = dict(sorted(desk.waiting.items(), key=lambda one: self._line[one[0]]))

    def next_of(self, endpoint: str) -> int | None:
        """The item that this endpoint starts next; ``None`` where none is left that it should."""
        desk = self._desks[endpoint]
        if not desk.waiting:
            self._take_over(endpoint)
        return next(iter(desk.waiting), None)

    def _take_over(self, endpoint: str) -> None:
        """A whole group, the last in line, where that leaves the other with no less than this one gets."""
        own = self._desks[endpoint]
        for other in sorted(self._desks.values(), key=lambda desk: -desk.load):
            groups: dict[object, list[Placed]] = {}
            for each in other.waiting.values():
                if each.group not in other.begun or each.group in own.begun:
                    groups.setdefault(each.group or each.item, []).append(each)
            for members in reversed(groups.values()):
                weight = sum(each.weight for each in members)
                if own.load + weight <= other.load - weight:
                    for each in members:
                        own.put(other.take(each.item, other.waiting), own.waiting)
                    return

    def start(self, item: int) -> str:
        """The item begins where it waits; gives that endpoint."""
        name, desk = next((name, desk) for name, desk in self._desks.items() if item in desk.waiting)
        self._run(desk.waiting[item], desk)
        desk.take(item, desk.waiting)  # only now, so that its group does not count as over
        del self._line[item]
        self._at[item] = name
        return name

    def _run(self, item: Placed, desk: _Desk) -> None:
        desk.put(item, desk.running)
        if item.group:
            desk.begun.add(item.group)

    def begin(self, item: int) -> str:
        """An item that nobody added, such as a request that is of no row, begins where the least is to be done."""
        self.add([Placed(item, (), 1.0)])
        return self.start(item)

    def move(self, item: int) -> str:
        """A started item goes on at another endpoint than where it is, if there is one; gives where it is now."""
        name = self._at[item]
        others = {other: load for other, load in self.loads.items() if other != name}
        if not others:
            return name
        desk = self._desk(name)
        moved = desk.take(item, desk.running)
        home = place([moved], others, by_group=self._by_group)[item]
        self._run(moved, self._desks[home])
        self._at[item] = home
        return home

    def finish(self, item: int) -> None:
        """A started item is over."""
        desk = self._desk(self._at.pop(item))
        desk.take(item, desk.running)

    def _desk(self, endpoint: str) -> _Desk:
        return self._desks.get(endpoint) or self._gone[endpoint]
