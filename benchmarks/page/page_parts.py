"""Small pieces of the page: sections, tables, medians."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

Row = dict[str, Any]
Rows = list[Row]


@dataclass(frozen=True, slots=True)
class Section:
    """One benchmark. ``files`` are its raw data below ``benchmarks/``; ``body`` makes the text from their lines, in
    that order. ``expected`` is the target, ``why`` what explains a difference to it."""

    title: str
    command: str
    files: tuple[str, ...]
    expected: str
    body: Callable[..., str]
    why: str


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Columns whose cells are numbers are aligned to the right."""
    cells = [[str(cell) for cell in row] for row in rows]
    right = [all(not row[n] or row[n][0] in "-0123456789$" for row in cells) for n in range(len(head))]
    marks = ["---:" if each else "---" for each in right]
    return "\n".join("| " + " | ".join(row) + " |" for row in [list(head), marks, *cells])


def percent(value: float, digits: int = 1) -> str:
    return f"{value:.{digits}%}"


def spread(values: Sequence[float], unit: str = "", digits: int = 2) -> str:
    """Median, with the least and the most where there are several."""
    middle = f"{statistics.median(values):,.{digits}f}{unit}"
    if len(values) < 2:
        return middle
    return f"{middle} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def conditions(row: Row) -> str:
    """When, on what and at which commit."""
    environment = row.get("environment", {})
    machine = [environment.get("processor"), f"{environment['cores']} cores" if "cores" in environment else None]
    python = environment.get("Python") or environment.get("python")
    parts = [
        str(row.get("measured", ""))[:10],
        *machine,
        f"Python {python}" if python else None,
        f"commit {row['commit'][:9]}" if "commit" in row else None,
        f"load average {row['load_average']:.1f}" if "load_average" in row else None,
    ]
    return ", ".join(str(part) for part in parts if part)
