"""Lines of the summary: a target, and what the raw rows say of it. Nothing here is typed: limits and measured figures
are compared as numbers, and the words follow from that."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

Cases = Mapping[str, Sequence[float]]
"""What was measured of each case, one value a round; a case without values was not measured."""


@dataclass(frozen=True, slots=True)
class Target:
    """``reached`` is ``None`` where what the target asks for was not measured; ``unknown`` counts the cases of which
    that is so though others were measured."""

    what: str
    wanted: str
    measured: str = ""
    reached: bool | None = None
    unknown: int = 0

    @property
    def verdict(self) -> str:
        if self.reached and self.unknown:
            return "reached where measured"
        return {True: "reached", False: "**missed**", None: "not measured"}[self.reached]


@dataclass(frozen=True, slots=True)
class Unit:
    """How figures of a kind are written: measured ones, limits, and the word behind either."""

    measured: str
    limit: str
    word: str = ""


SHARE = Unit("{:.1%}", "{:.0%}")
RATIO = Unit("{:.2f}", "{:.2f}")
TIMES = Unit("{:.2f}", "{:g}", " times")
POINTS = Unit("{:.2f}", "{:.1f}", " points")
SECONDS = Unit("{:.2f}", "{:g}", " s")
MICROSECONDS = Unit("{:.0f}", "{:,g}", " µs")
PER_SECOND = Unit("{:,.0f}", "{:,g}", " a second")


def at_least(what: str, least: float, cases: Cases, unit: Unit = SHARE) -> Target:
    """Reached where the median of every case is not less."""
    wanted = f"at least {unit.limit.format(least)}{unit.word}"
    return _judged(what, wanted, cases, unit, lambda value: value >= least, min)


def at_most(what: str, most: float, cases: Cases, unit: Unit = SHARE) -> Target:
    """Reached where the median of every case is not more."""
    wanted = f"at most {unit.limit.format(most)}{unit.word}"
    return _judged(what, wanted, cases, unit, lambda value: value <= most, max)


def none_of(what: str, wanted: str, found: int, of: int) -> Target:
    """Reached where nothing of what must not be was found."""
    return Target(what, wanted, f"{found:,} of {of:,}", found == 0) if of else Target(what, wanted)


def all_of(what: str, wanted: str, good: Sequence[bool], more: str = "") -> Target:
    """Reached where each of these is as it should be."""
    return Target(what, wanted, f"{sum(good):,} of {len(good):,}{more}", all(good)) if good else Target(what, wanted)


def _judged(
    what: str,
    wanted: str,
    cases: Cases,
    unit: Unit,
    good: Callable[[float], bool],
    worst_of: Callable[..., str],
) -> Target:
    """By the median of each case; of several cases the worst is named."""
    medians = {case: median(values) for case, values in cases.items() if values}
    if not medians:
        return Target(what, wanted)
    worst = worst_of(medians, key=lambda case: medians[case])
    shown = _spread(cases[worst], unit)
    right = sum(map(good, medians.values()))
    unknown = len(cases) - len(medians)
    if len(cases) > 1:
        shown = f"{shown} at worst ({worst}); {right} of {len(medians)} cases reach it"
    if unknown:
        shown = f"{shown}; unknown of {unknown} more"
    return Target(what, wanted, shown, right == len(medians), unknown)


def _spread(values: Sequence[float], unit: Unit) -> str:
    """The median, with the least and the most where they differ as written."""
    middle, least, most = (unit.measured.format(value) for value in (median(values), min(values), max(values)))
    return f"{middle}{unit.word}" + ("" if least == most else f" ({least} to {most})")
