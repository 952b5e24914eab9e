"""The two ways to run, and the scheduler of each."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from enum import StrEnum

from charter_compiler.cache.interface import FOUND_AT_ONCE
from charter_compiler.executor.scheduler.ended_items import EndedItems
from charter_compiler.executor.scheduler.interface import Scheduler
from charter_compiler.executor.scheduler.pass_through import PassThroughScheduler
from charter_compiler.executor.scheduler.prefix import PrefixScheduler
from charter_compiler.plan.schedule import DEFAULT_SCHEDULE, Schedule


class Mode(StrEnum):
    BASELINE = "baseline"
    """Calls go out as the agent makes them."""
    OPTIMIZED = "optimized"
    """Warm-ups, single-flight of cold prefixes, item-by-item order, admission by capacity."""

    @property
    def warms_up(self) -> bool:
        """Whether the plan's constant prefixes are computed before the first item."""
        return self is Mode.OPTIMIZED


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
