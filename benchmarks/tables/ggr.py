"""GGR, the published baseline, written from the paper's Algorithm 1: Greedy Group Recursion.

Liu et al., "Optimizing LLM Queries in Relational Data Analytics Workloads", MLSys 2025.

As published it counts squared lengths, takes one value's rows at a time, and puts the fields that depend on the chosen
one beside it. The paper stops early, by depth and by the hit count of the best group, and then orders the rest by
statistics of the table: fields by mean squared length over the number of distinct values, rows sorted. Here: at a row
depth or column depth that the caller sets, and where no group shares anything.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.int64]


class GGR:
    """One run. ``row_depth`` and ``column_depth``: recursions among the other rows, and into a group, before the rest
    is ordered by statistics."""

    def __init__(self, rows: Sequence[Mapping[str, str]], row_depth: int, column_depth: int) -> None:
        self.fields = list(rows[0])
        self.codes: list[Array] = []
        self.lengths: list[npt.NDArray[np.float64]] = []
        for name in self.fields:
            numbers: dict[str, int] = {}
            self.codes.append(np.array([numbers.setdefault(row[name], len(numbers)) for row in rows]))
            self.lengths.append(np.array([float(len(value)) ** 2 for value in numbers]))
        self.row_depth, self.column_depth = row_depth, column_depth
        self.inferred = {c: [d for d in range(len(self.fields)) if d != c and self._depends(c, d)]
                         for c in range(len(self.fields))}  # fmt: skip
        self.out: list[tuple[int, tuple[int, ...]]] = []

    def _depends(self, c: int, d: int) -> bool:
        """Functional dependencies in both directions, as the paper's groups of fields."""
        pairs = len(np.unique(self.codes[c] * (int(self.codes[d].max()) + 1) + self.codes[d]))
        return pairs == len(self.lengths[c]) == len(self.lengths[d])

    def run(self) -> list[tuple[int, tuple[int, ...]]]:
        """(row, order of its fields), in the order in which rows are sent."""
        sys.setrecursionlimit(100_000)
        self._solve(np.arange(len(self.codes[0])), tuple(range(len(self.fields))), (), 0, 0)
        return self.out

    def _solve(self, rows: Array, columns: tuple[int, ...], prefix: tuple[int, ...], deep: int, wide: int) -> None:
        while True:
            if len(rows) == 0:
                return
            if len(rows) == 1 or not columns:
                self.out += [(int(row), (*prefix, *columns)) for row in rows]
                return
            if deep >= self.column_depth or wide >= self.row_depth:
                self._by_statistics(rows, columns, prefix)
                return
            best, value, field = 0.0, -1, -1
            for c in columns:
                counts = np.bincount(self.codes[c][rows], minlength=len(self.lengths[c]))
                length = self.lengths[c].copy()
                for d in self.inferred[c]:
                    if d in columns:
                        first = np.zeros(len(length), dtype=np.int64)
                        first[self.codes[c][rows]] = self.codes[d][rows]
                        length += self.lengths[d][first]
                score = length * (counts - 1)
                at = int(score.argmax())
                if score[at] > best:
                    best, value, field = float(score[at]), at, c
            if field < 0:
                self._by_statistics(rows, columns, prefix)
                return
            inside = self.codes[field][rows] == value
            chosen = (field, *(d for d in self.inferred[field] if d in columns))
            rest = tuple(c for c in columns if c not in chosen)
            self._solve(rows[inside], rest, (*prefix, *chosen), deep + 1, 0)
            rows, wide = rows[~inside], wide + 1

    def _by_statistics(self, rows: Array, columns: tuple[int, ...], prefix: tuple[int, ...]) -> None:
        def worth(c: int) -> float:
            codes = self.codes[c][rows]
            return float(self.lengths[c][codes].mean()) / len(np.unique(codes))

        order = tuple(sorted(columns, key=worth, reverse=True))
        rows = rows[np.lexsort([self.codes[c][rows] for c in reversed(order)])]
        self.out += [(int(row), (*prefix, *order)) for row in rows]


def hit_rate(rows: Sequence[Mapping[str, str]], sent: Sequence[Sequence[tuple[str, str]]], names: bool) -> float:
    """Characters of each row, written as one text, that the row before begins with, over all; ``names``: fields' names
    are written too."""
    texts = ["".join(f"{name}: {value}\n" if names else value for name, value in row) for row in sent]
    shared = 0
    for one, other in itertools.pairwise(texts):
        limit = min(len(one), len(other))
        at, step = 0, 1
        while at < limit and one[at : at + step] == other[at : at + step] and at + step <= limit:
            at, step = at + step, step * 2
        while at < limit and one[at] == other[at]:
            at += 1
        shared += at
    return shared / sum(map(len, texts))


def ggr_rows(rows: Sequence[Mapping[str, str]], row_depth: int, column_depth: int) -> list[list[tuple[str, str]]]:
    """The rows in GGR's order."""
    search = GGR(rows, row_depth, column_depth)
    return [[(search.fields[c], rows[row][search.fields[c]]) for c in fields] for row, fields in search.run()]
