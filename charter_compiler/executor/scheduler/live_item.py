"""What the scheduler knows of an item between its start and its end."""

from __future__ import annotations

import itertools
from collections.abc import Container, Hashable
from dataclasses import dataclass, field

from charter_compiler.executor.scheduler.interface import ScheduledCall


@dataclass(slots=True)
class LiveItem:
    """An item between start and finish. ``footprint``: the most private blocks that its open calls needed at once;
    ``blocks`` are those of them that have names, ``tail`` counts the others. ``admitted``: one of its calls has gone to
    the target, which from then on has to hold them. ``uses``: which of its calls, counted from 0, were the first and
    the last one to begin with a private block; ``tails``: of each call. ``begun_with`` counts the private blocks of all
    calls, ``found`` those among them that a former call had left."""

    rank: int
    footprint: int = 0
    blocks: frozenset[Hashable] = frozenset()
    tail: int = 0
    admitted: bool = False
    open_calls: dict[int, ScheduledCall] = field(default_factory=dict)
    uses: dict[Hashable, tuple[int, int]] = field(default_factory=dict)
    tails: list[int] = field(default_factory=list)
    begun_with: int = 0
    found: int = 0

    def use(self, call: ScheduledCall, constant: Container[Hashable]) -> None:
        """Note one more call."""
        number = len(self.tails)
        self.tails.append(call.tail_blocks)
        for block in call.blocks:
            if block in constant:
                continue
            former = self.uses.get(block)
            self.uses[block] = (number if former is None else former[0], number)
            self.begun_with += 1
            self.found += former is not None

    def needed(self) -> int:
        """The most blocks that a cache must have held at once for its calls to find all that former ones left: those
        of a call, and those that a call before it used and one after it uses again."""
        if len(self.tails) <= 1:
            return self.footprint
        change = [0] * (len(self.tails) + 1)
        for first, last in self.uses.values():
            change[first] += 1
            change[last + 1] -= 1
        named = itertools.accumulate(change[:-1])
        return max(self.footprint, *(blocks + tail for blocks, tail in zip(named, self.tails, strict=True)))
