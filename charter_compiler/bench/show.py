"""Summaries as tables for the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

from rich.table import Table
from rich.text import Text

from charter_compiler.bench.arms import ALL_ARMS, AS_WRITTEN
from charter_compiler.bench.summary import (
    CaseSummary,
    Figure,
    Spread,
    attainable,
    findings,
    hit_rate,
    latency,
    peak,
    ttft,
    wall,
)
from charter_compiler.report.metrics import percent, seconds

Show: TypeAlias = Callable[[float], str]

HEADS = ("", "in flight", "time, as written = 1")
COLUMNS: tuple[tuple[str, Figure, Show], ...] = (
    ("wall time", wall, seconds),
    ("hit rate", hit_rate, percent),
    ("attainable", attainable, percent),
    ("TTFT", ttft, seconds),
    ("latency", latency, seconds),
    ("peak blocks", peak, lambda value: f"{value:.0f}"),
)


def spread_text(value: Spread | None, show: Show) -> str:
    """The median, and the least and the most where there are several."""
    if value is None:
        return ""
    middle = show(value.median)
    if len(value.values) == 1:
        return middle
    return f"{middle} ({show(min(value.values))} to {show(max(value.values))})"


def factor(value: float) -> str:
    """As a factor."""
    return f"{value:.2f}"


def finding_lines(case: CaseSummary) -> Iterator[str]:
    """Ratios first: what was found, in words."""
    for finding in findings(case):
        yield f"{spread_text(finding.value, percent if finding.percent else factor)} {finding.text}"


def arms_table(case: CaseSummary) -> Table:
    """One line an arm: the time as a ratio with its spread, everything else as a median over the rounds."""
    table = Table(title=f"{case.table}: {case.case}", title_justify="left", header_style="bold")
    for name in (*HEADS, *(name for name, _, _ in COLUMNS)):
        table.add_column(name, justify="right" if name else "left")
    for arm in case.arms:
        rows = case.of(arm)
        cells = [
            ", ".join(sorted({str(row["in_flight"]) for row in rows.values()})),
            spread_text(case.ratio(arm, AS_WRITTEN.name), factor),
            *(_median(case.values(arm, figure), show) for _, figure, show in COLUMNS),
        ]
        table.add_row(arm, *map(Text, cells))
    if case.bound is not None:
        table.add_row("bound (computed)", "", "", seconds(case.bound.median))
    return table


def failure_lines(case: CaseSummary) -> Iterator[str]:
    """The runs that failed, and why."""
    for row in case.failed:
        yield f"failed: {row['arm']}, {row['in_flight']} in flight: {row['error']}"


def legend() -> str:
    """What the names of the arms stand for."""
    return "\n".join(f"{arm.name}: {arm.label}" for arm in ALL_ARMS)


def _median(value: Spread | None, show: Show) -> str:
    return "" if value is None else show(value.median)
