"""Small pieces of the page: sections, tables, medians."""

from __future__ import annotations

import re
import statistics
import subprocess
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from page_targets import Target

Row = dict[str, Any]
Rows = list[Row]
NUMBERS = re.compile(r"[-$]?\d[\d.,%/ ()-]*((to|of|s|ms|MiB)[\d.,%/ ()-]*)*")
"""Cells that are numbers, with their units and ranges."""
DATA = Path(__file__).resolve().parents[1]


def _no_targets(*files: Rows) -> Iterable[Target]:
    return ()


@dataclass(frozen=True, slots=True)
class Section:
    """One benchmark. ``files`` are its raw data below ``benchmarks/``; ``body`` makes the text from their lines, in
    that order, and ``targets`` this section's lines of the summary. ``expected`` is the target in words, ``why`` what
    explains a difference to it; empty ones are left out."""

    title: str
    command: str
    files: tuple[str, ...]
    expected: str
    body: Callable[..., str]
    why: str
    targets: Callable[..., Iterable[Target]] = _no_targets


@dataclass(frozen=True, slots=True)
class Part:
    """Sections under one heading."""

    title: str
    sections: tuple[Section, ...]


def raw_files() -> list[str]:
    """Files of raw data that git tracks, below ``benchmarks/``."""
    command = ["git", "ls-files", "-z", "--", "*.jsonl"]
    listed = subprocess.run(command, cwd=DATA, check=True, capture_output=True, text=True, timeout=60).stdout
    return sorted(name for name in listed.split("\0") if name)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table without the columns that are empty in every row; columns of numbers are aligned to the right."""
    cells = [[str(cell) for cell in row] for row in rows]
    known = [n for n in range(len(head)) if any(row[n] for row in cells)]
    right = [all(not row[n] or NUMBERS.fullmatch(row[n]) for row in cells) for n in known]
    lines = [[head[n] for n in known], ["---:" if each else "---" for each in right]]
    lines += [[row[n] for n in known] for row in cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def percent(value: float, digits: int = 1) -> str:
    return f"{value:.{digits}%}"


def spread(values: Sequence[float], unit: str = "", digits: int = 2) -> str:
    """Median, with the least and the most where there are several."""
    middle = f"{statistics.median(values):,.{digits}f}{unit}"
    if len(values) < 2:
        return middle
    return f"{middle} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"
