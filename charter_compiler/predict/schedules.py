"""Which order of calls, and how many items at once, a run is best scheduled with: each is simulated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from charter_compiler.analysis.prompt_text import engine_calls
from charter_compiler.executor.scheduler.mode import Mode
from charter_compiler.ir.nodes import Call
from charter_compiler.plan.schedule import DEFAULT_SCHEDULE, Order, Schedule
from charter_compiler.predict.control_flow import ItemTrace
from charter_compiler.predict.grouping import shared_fields
from charter_compiler.predict.prediction import Prediction, Simulation, summarize

ENOUGH = 0.995
"""Of the attainable hit rate. A run whose own schedule reaches that is not simulated with others."""
NEAR = 0.01
"""Schedules whose computed prompt tokens, or seconds, differ by less than this share count as equal."""
SAMPLE = 256
"""Items at most that the choice is made on; the first ones."""


@dataclass(frozen=True, slots=True)
class TriedSchedule:
    """A schedule as simulated. ``computed_tokens``: prompt tokens that were not cached. ``seconds``: virtual time,
    ``None`` where the target was not calibrated."""

    schedule: Schedule
    computed_tokens: int
    seconds: float | None


@dataclass(frozen=True, slots=True)
class ScheduleChoice:
    """The chosen schedule, and all that were tried, the run's own first; only this one where it is good enough."""

    schedule: Schedule
    tried: tuple[TriedSchedule, ...]

    @property
    def by_time(self) -> bool:
        """Whether predicted seconds decided, not computed tokens."""
        return all(each.seconds is not None for each in self.tried)

    @property
    def why(self) -> str:
        """What the chosen schedule is the best at, for a note."""
        return "it takes the least time" if self.by_time else "it computes the fewest prompt tokens"


def computed_tokens(prediction: Prediction) -> int:
    """Prompt tokens that are not taken from the cache, warm-ups included."""
    return (prediction.prompt_tokens or 0) - (prediction.cached_tokens or 0)


def reuses_enough(prediction: Prediction) -> bool:
    """Whether no other schedule could reuse more that is worth looking for."""
    return (prediction.hit_rate or 0.0) >= ENOUGH * (prediction.attainable_hit_rate or 0.0)


def fields_in_order(calls: Iterable[Call], rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The fields that items of the first call may be sorted by, see ``grouping.shared_fields``. ``calls`` are as they
    are sent."""
    first = next(iter(engine_calls(calls)), None)
    return () if first is None else shared_fields(first, rows)


def schedules(fields: tuple[str, ...] = (), groups: int = 1) -> Iterator[Schedule]:
    """Those worth trying: both orders, each with the items sorted by ``fields`` too, and by items ever fewer than
    ``groups`` in flight."""
    yield DEFAULT_SCHEDULE
    if fields:
        yield Schedule(sort_by=fields)
    yield Schedule(Order.STAGE_FIRST)
    if fields:
        yield Schedule(Order.STAGE_FIRST, sort_by=fields)
    group = groups // 2
    while group:
        yield Schedule(Order.ITEM_FIRST, group, fields)
        group //= 2


def choose_schedule(simulation: Simulation, traces: Sequence[ItemTrace], calls: Iterable[Call] = ()) -> ScheduleChoice:
    """The schedule with the least predicted time where the target was calibrated, fewer items in flight among those
    tried. Else, since fewer in flight may save tokens and yet take longer, of the orders alone the one that computes
    the fewest prompt tokens. Within ``NEAR`` the one that comes first in ``schedules``. Tried without warm-ups: whether
    they pay is judged afterwards. ``calls``: those of the agent as they are sent, to know what items may be sorted by.

    Raises:
        TokenizerError: a chat, for which the tokenizer has no template.
    """
    sample = list(traces[:SAMPLE])
    options = replace(simulation.options, mode=Mode.OPTIMIZED)
    fields = fields_in_order(calls, [trace.values for trace in sample])
    tried: list[TriedSchedule] = []
    for schedule in schedules(fields, 1 if simulation.costs is None else options.concurrency):
        replay = replace(simulation, options=replace(options, schedule=schedule)).replay()
        found = summarize(len(sample), replay.run(sample))
        tried.append(
            TriedSchedule(schedule, computed_tokens(found), None if simulation.costs is None else replay.seconds)
        )
        if schedule == DEFAULT_SCHEDULE and reuses_enough(found):
            break
    choice = ScheduleChoice(DEFAULT_SCHEDULE, tuple(tried))
    return replace(choice, schedule=_best(choice))


def _best(choice: ScheduleChoice) -> Schedule:
    costs = [(each.seconds or 0.0) if choice.by_time else float(each.computed_tokens) for each in choice.tried]
    good = min(costs) * (1 + NEAR)
    return next(each.schedule for each, cost in zip(choice.tried, costs, strict=True) if cost <= good)
