"""A table as integers: one column of codes a field, and the length of each distinct cell."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt

Codes = npt.NDArray[np.int64]
Lengths = npt.NDArray[np.float64]

MISSING = object()
"""Stands for the value of a field that a row does not have; such a cell has no length and is not sent."""

SAMPLE_FACTOR = 3
"""So many times the square root of the rows are looked at before anything else is done."""
SAMPLE_RUN = 16
"""Neighbours that are looked at together: they are near in memory, and in many tables the likeliest to be alike."""


@dataclass(frozen=True, slots=True)
class CodedTable:
    """``codes[f][r]``: the number of row ``r``'s value among the distinct ones of field ``f``, in the order of the
    texts where values repeat. ``lengths[f][v]``: what a cell with value ``v`` measures, name and value together;
    ``values[f][v]``: the value alone."""

    fields: tuple[str, ...]
    codes: tuple[Codes, ...]
    lengths: tuple[Lengths, ...]
    values: tuple[Lengths, ...]

    @property
    def rows(self) -> int:
        return len(self.codes[0]) if self.codes else 0

    def cell_lengths(self, field: int) -> Lengths:
        """What the cells of a field measure, row by row."""
        found: Lengths = self.lengths[field][self.codes[field]]
        return found


def encode_table(rows: Sequence[Mapping[str, str]], measure: Callable[[str], int]) -> CodedTable:
    """Number the values; each distinct one is measured once."""
    fields = tuple(dict.fromkeys(name for row in rows for name in row))
    codes, lengths, values = [], [], []
    for name in fields:
        numbers: dict[Any, int] = {}
        column = [numbers.setdefault(row.get(name, MISSING), len(numbers)) for row in rows]
        coded, texts = np.array(column, dtype=np.int64), list(numbers)
        if len(texts) <= len(rows) // 2:
            # Neighbours in the order of texts often share the beginning of a cell, too.
            texts.sort(key=lambda value: "" if value is MISSING else value)
            rank = np.empty(len(texts), dtype=np.int64)
            rank[[numbers[value] for value in texts]] = np.arange(len(texts))
            coded = rank[coded]
        alone = np.array([0 if value is MISSING else measure(value) for value in texts], dtype=float)
        around = np.array([value is not MISSING for value in texts]) * measure(f"{name}: \n")
        codes.append(coded)
        lengths.append(alone + around)
        values.append(alone)
    return CodedTable(fields, tuple(codes), tuple(lengths), tuple(values))


def repeats_something(rows: Sequence[Mapping[str, str]]) -> bool:
    """Whether some field has the same value twice among a sample of the rows.

    To look at all rows costs more than a table without repetition is worth. With ``3 * sqrt(n)`` of ``n`` rows, values
    of which a part ``f`` of a field's rows has one twin each, spread by chance, show up ``4.5 * f`` times on average;
    so what is missed repeats little.
    """
    count = len(rows)
    runs = max(1, math.ceil(SAMPLE_FACTOR * math.sqrt(count) / SAMPLE_RUN))
    step = max(SAMPLE_RUN, count // runs)
    chosen = [row for start in range(0, count, step) for row in rows[start : start + SAMPLE_RUN]]
    if not chosen:
        return False
    for name in chosen[0]:
        try:
            values = set(map(itemgetter(name), chosen))
        except KeyError:
            return True  # rows of several forms: worth a full look
        if len(values) < len(chosen):
            return True
    return False
