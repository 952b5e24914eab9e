"""Summaries as tables for the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

from rich.table import Table
from rich.text import Text

from charter_compiler.bench.arms import ALL_ARMS, AS_WRITTEN
from charter_compiler.bench.rows import SESSION, Row
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

COLUMNS: tuple[tuple[str, Figure, Show], ...] = (
    ("wall time", wall, seconds),
    ("hit rate", hit_rate, percent),
    ("attainable", attainable, percent),
    ("TTFT", ttft, seconds),
    ("latency", latency, seconds),
    ("peak blocks", peak, lambda value: f"{value:.0f}"),
)
"""Medians over the arm's rounds: seconds for all items, rates, the median call's seconds, KV blocks held at once."""
HEADS = ("", "in flight", "rounds", "time, as written = 1", *(name for name, _, _ in COLUMNS))
"""The ratio is of the rounds that have both runs: where an arm has fewer rounds, it is not that of the medians."""


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


def arm_lines(case: CaseSummary) -> Iterator[tuple[str, ...]]:
    """One line an arm, with a cell for each of ``HEADS``; the computed bound is the last line."""
    for arm in case.arms:
        in_flight = sorted({int(row["in_flight"]) for row in case.of(arm).values()})
        yield (
            arm,
            ", ".join(map(str, in_flight)),
            str(len(case.of(arm))),
            spread_text(case.ratio(arm, AS_WRITTEN.name), factor),
            *("" if value is None else show(value.median) for value, show in _figures(case, arm)),
        )
    if case.bound is not None:
        yield (
            "bound",
            "",
            str(len(case.bound.values)),
            spread_text(case.bound_ratio, factor),
            seconds(case.bound.median),
            *[""] * (len(COLUMNS) - 1),
        )


def _figures(case: CaseSummary, arm: str) -> Iterator[tuple[Spread | None, Show]]:
    for _, figure, show in COLUMNS:
        yield case.values(arm, figure), show


def arms_table(case: CaseSummary) -> Table:
    """The same for the terminal, without the columns of which nothing is known."""
    table = Table(title=f"{case.table}: {case.case}", title_justify="left", header_style="bold")
    lines = list(arm_lines(case))
    known = [number for number in range(len(HEADS)) if any(cells[number] for cells in lines)]
    for number in known:
        table.add_column(HEADS[number], justify="right" if number else "left", no_wrap=number == 0)
    for cells in lines:
        table.add_row(*(Text(cells[number]) for number in known))
    return table


def run_line(row: Row) -> str:
    """What to say when a row has been made."""
    if row["kind"] == SESSION:
        return f"{row['table']}, commit {row['commit']}"
    result = row.get("error") or f"{row['metrics']['wall_s']:.2f} s"
    return f"{row['case']}: {row['arm']}, {row['in_flight']} in flight: {result}"


def failure_lines(case: CaseSummary) -> Iterator[str]:
    """The runs that failed, and why."""
    for row in case.failed:
        yield f"failed: {row['arm']}, {row['in_flight']} in flight: {row['error']}"


def legend() -> str:
    """What the names of the arms stand for."""
    return "\n".join(f"{arm.name}: {arm.label}" for arm in ALL_ARMS)
