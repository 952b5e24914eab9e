"""Which endpoint an item goes to: consistent hashing by prefix group, with bounded load. Pure.

Items whose prompts begin alike should meet at one endpoint, whose cache then computes that beginning once. Which one is
decided by rendezvous hashing (Thaler and Ravishankar 1998): each group has its own order of all endpoints, so that one
that joins takes only its share from the others, and one that leaves gives its groups to all of them. Load is bounded as
in "Consistent Hashing with Bounded Loads" (Mirrokni, Thorup and Zadimoghaddam 2018): no endpoint takes a group that
would lift it above ``1 + SLACK`` times the mean; the group goes to the next in its order.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

SLACK = 0.1
"""How far above the mean load an endpoint may be lifted. More keeps more groups whole, less keeps endpoints equal."""

Group = tuple[str, ...]
"""What items share, coarsest first: equal first parts stand for an equal start of what is sent, more equal parts for a
longer one. Empty for an item that shares nothing."""


class Placement(StrEnum):
    """How the items of a run are spread over several endpoints."""

    PREFIX = "prefix"
    """Items that share a prefix go to one endpoint, the others by load; an item's calls stay together."""
    LOAD = "load"
    """Each item goes to the endpoint with the least to do; its calls stay together."""
    ROUND_ROBIN = "round-robin"
    """Each call goes to the next endpoint, as a plain load balancer sends it."""


@dataclass(frozen=True, slots=True)
class Placed:
    """An item to be placed. ``weight``: about how many tokens it will make an endpoint process."""

    item: int
    group: Group
    weight: float


def group_of(values: Mapping[str, Any], fields: Iterable[str]) -> Group:
    """The group of a row of the inputs by the fields that the plan groups by (``ExecutionPlan.group_by``): for each one
    a short hash of its value, since values may be whole documents."""
    texts = (json.dumps(values.get(name), sort_keys=True, default=str) for name in fields)
    return tuple(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest() for text in texts)


def order_of(group: Group, endpoints: Iterable[str]) -> list[str]:
    """All endpoints in the order of this group, its home first. It depends on the names alone: without one of them the
    others stay in their order."""
    key = "\x1f".join(group)
    return sorted(endpoints, key=lambda name: (_score(key, name), name))


def _score(key: str, endpoint: str) -> bytes:
    return hashlib.blake2b(f"{endpoint}\x1e{key}".encode("utf-8", "surrogatepass"), digest_size=8).digest()


def place(
    items: Sequence[Placed], loads: Mapping[str, float], *, slack: float = SLACK, by_group: bool = True
) -> dict[int, str]:
    """The endpoint of each item.

    A group goes whole to the first endpoint in its order that has room for it, the largest group first. One for which
    nobody has room is parted, by the next part of its key and at last item by item. Items that share nothing fill what
    is left, the heaviest first. Afterwards no endpoint that was given something has more than ``1 + slack`` times the
    mean load, or else more than the mean before and one item.

    Args:
        items: those to be placed now.
        loads: tokens that each endpoint has still to process; the keys are the endpoints that may be chosen.
        slack: see ``SLACK``.
        by_group: false takes no notice of groups.

    Raises:
        ValueError: there is no endpoint.
    """
    if not loads:
        raise ValueError("no endpoint to place items at")
    placing = _Placing(
        dict(loads), (1 + slack) * (sum(loads.values()) + sum(each.weight for each in items)) / len(loads)
    )
    if by_group:
        placing.place_groups([each for each in items if each.group], depth=1)
    lonely = [each for each in items if not (by_group and each.group)]
    for each in sorted(lonely, key=lambda one: -one.weight):
        placing.give([each], min(placing.loads, key=lambda name: (placing.loads[name], name)))
    return placing.given


class _Placing:
    """The state of one ``place``. ``room``: the load that no endpoint may be lifted above."""

    def __init__(self, loads: dict[str, float], room: float) -> None:
        self.loads = loads
        self.given: dict[int, str] = {}
        self._room = room

    def give(self, items: Iterable[Placed], endpoint: str) -> None:
        for each in items:
            self.given[each.item] = endpoint
            self.loads[endpoint] += each.weight

    def place_groups(self, items: Sequence[Placed], depth: int) -> None:
        """Items that are equal in their first ``depth`` - 1 parts, by the first ``depth``."""
        groups: dict[Group, list[Placed]] = {}
        for each in items:
            groups.setdefault(each.group[:depth], []).append(each)
        for key, members in sorted(groups.items(), key=lambda one: -sum(each.weight for each in one[1])):
            order = order_of(key, self.loads)
            home = self._with_room(order, sum(each.weight for each in members))
            if home is not None:
                self.give(members, home)
            elif any(len(each.group) > depth for each in members):
                self.place_groups(members, depth + 1)
            else:
                self._part(members, order)

    def _part(self, members: Sequence[Placed], order: Sequence[str]) -> None:
        """One endpoint after the other is filled, so that few compute the shared prefix."""
        for each in members:
            home = self._with_room(order, each.weight)
            self.give([each], home or min(order, key=self.loads.__getitem__))

    def _with_room(self, order: Iterable[str], weight: float) -> str | None:
        return next((name for name in order if self.loads[name] + weight <= self._room), None)
