"""In which order a run sends the calls of its items."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Order(StrEnum):
    ITEM_FIRST = "item-first"
    """Of the calls that wait, those of the item that started first: its own prefix is still cached."""
    STAGE_FIRST = "stage-first"
    """Those that are earliest in their item: what all items' prompts of one stage begin with is still cached."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """``group``: how many items are in flight at most; ``None`` leaves it to the run's own limit. In the order by
    items, fewer start where the capacity does not hold what they need."""

    order: Order = Order.ITEM_FIRST
    group: int | None = None

    def items(self, concurrency: int) -> int:
        """Items in flight at most, of a run that allows ``concurrency``."""
        return concurrency if self.group is None else min(self.group, concurrency)

    def __str__(self) -> str:
        return self.order if self.group is None else f"{self.order}, {self.group} items in flight"


DEFAULT_SCHEDULE = Schedule()
