"""In which order a run sends the calls of its items."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Any, TypeVar

from charter_compiler.diagnostics.errors import PlanError

T = TypeVar("T")

WINDOW = 1024
"""Items that are put into another order together: a bound on what a run keeps in memory."""


class Order(StrEnum):
    ITEM_FIRST = "item-first"
    """Of the calls that wait, those of the item that started first: its own prefix is still cached."""
    STAGE_FIRST = "stage-first"
    """Those that are earliest in their item: what all items' prompts of one stage begin with is still cached."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """``group``: how many items are in flight at most; ``None`` leaves it to the run's own limit. In the order by
    items, fewer start where the capacity does not hold what they need. ``sort_by``: items with the same values of these
    fields start one after the other, the first field's first; none leaves them in the order of the inputs."""

    order: Order = Order.ITEM_FIRST
    group: int | None = None
    sort_by: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.group is not None and self.group < 1:
            raise PlanError(f"a schedule of {self.group} items in flight starts none", remedy="give 1 or more")

    def items(self, concurrency: int) -> int:
        """Items in flight at most, of a run that allows ``concurrency``."""
        return concurrency if self.group is None else min(self.group, concurrency)

    def arrange(self, items: Iterable[T], values: Callable[[T], Mapping[str, Any]]) -> Iterator[T]:
        """The items in the order in which they start, ``WINDOW`` at a time; groups in the order of their first one."""
        coming = iter(items)
        if not self.sort_by:
            yield from coming
            return
        while window := list(islice(coming, WINDOW)):
            keys = [self._key(values(item)) for item in window]
            # Each field's values in the order in which they first come: the first item stays the first.
            first: dict[tuple[str, ...], int] = {}
            for place, key in enumerate(keys):
                for length in range(1, len(key) + 1):
                    first.setdefault(key[:length], place)
            places = [tuple(first[key[:length]] for length in range(1, len(key) + 1)) for key in keys]
            yield from (window[at] for at in sorted(range(len(window)), key=places.__getitem__))

    def _key(self, values: Mapping[str, Any]) -> tuple[str, ...]:
        return tuple(json.dumps(values.get(name), sort_keys=True, default=str) for name in self.sort_by)

    def __str__(self) -> str:
        parts: list[str] = [self.order]
        if self.sort_by:
            parts.append(f"items with the same {', '.join(self.sort_by)} together")
        if self.group is not None:
            parts.append(f"{self.group} items in flight")
        return ", ".join(parts)


DEFAULT_SCHEDULE = Schedule()
