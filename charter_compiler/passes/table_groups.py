"""Rows in groups that share cells, each group with an order of fields of its own.

The search is greedy, as in GGR (Liu et al., "Optimizing LLM Queries in Relational Data Analytics Workloads", MLSys
2025): take the value whose rows would share most, put its field first in these rows, and do the same within them and
among the others. Three things differ. Every cell that a group has in common comes first at once, whether or not the
field depends on the chosen one in the whole table. A field that repeats no value in a group is never looked at again
below it. And the counts of a level are made once and corrected as groups leave, instead of made anew for each group.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from charter_compiler.passes.table_codes import CodedTable, Codes, Lengths

SMALL = 48
"""Groups of fewer rows are searched without NumPy, whose calls cost more than they do there."""
SAMPLE = 500


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that are sent one after the other, with one order of their fields."""

    rows: Sequence[int]
    fields: tuple[int, ...]


class GroupSearch:
    """One search. ``weights``: of each field's values in the choice of groups: the lengths of cells are what the cache
    saves; the squared lengths of values alone, as GGR takes them, prefer long ones."""

    def __init__(self, table: CodedTable, weights: Sequence[Lengths]) -> None:
        self._table = table
        self._weights = weights
        self._follow = dependent_fields(table)
        self._lists: list[list[int]] = [codes.tolist() for codes in table.codes]
        self._weight_lists: list[list[float]] = [weights.tolist() for weights in weights]

    def run(self) -> Iterator[Group]:
        """The groups in the order in which they are sent."""
        every = np.arange(self._table.rows)
        yield from self._groups(every, (), tuple(range(len(self._table.fields))), ())

    def _groups(
        self, rows: Codes, done: tuple[int, ...], open_fields: tuple[int, ...], unique: tuple[int, ...]
    ) -> Iterator[Group]:
        """``done``: fields that all of the rows share, in their order. ``unique``: fields without repetition here."""
        if len(rows) < SMALL:
            yield from self._small(rows.tolist(), done, open_fields, unique)
            return
        shared = [f for f in open_fields if (codes := self._table.codes[f][rows])[0] == codes[-1] and _constant(codes)]
        done = (*done, *shared)
        open_fields = tuple(f for f in open_fields if f not in shared)
        level = _Level(self._table, self._weights, self._follow, rows, open_fields)
        unique = (*unique, *(f for f in open_fields if f not in level.fields))
        # Groups of one field side by side, in the order of its texts: they share its name and part of the value.
        for field, _, members in sorted(level.take_groups(), key=lambda group: group[:2]):
            rest = tuple(f for f in level.fields if f != field)
            yield from self._groups(members, (*done, field), rest, unique)
        left = level.left()
        if len(left):
            fields = (*done, *level.fields, *unique)
            by_text = left if not level.fields else left[np.argsort(self._table.codes[level.fields[0]][left])]
            yield Group(by_text.tolist(), fields)

    def _small(
        self, rows: list[int], done: tuple[int, ...], open_fields: tuple[int, ...], unique: tuple[int, ...]
    ) -> Iterator[Group]:
        lists = self._lists
        kept: list[int] = []
        counts: dict[tuple[int, int], int] = {}
        for field in open_fields:
            column = lists[field]
            seen = Counter([column[row] for row in rows])
            if len(seen) == 1:
                done = (*done, field)
            elif len(seen) == len(rows):
                unique = (*unique, field)
            else:
                kept.append(field)
                for value, count in seen.items():
                    if count > 1:
                        counts[field, value] = count
        if not kept or len(rows) == 1:
            yield Group(rows, (*done, *kept, *unique))
            return
        alive = dict.fromkeys(rows)
        groups: list[tuple[int, int, list[int]]] = []
        while counts:
            best, best_score = None, 0.0
            for key, count in counts.items():
                score = (count - 1) * self._weight_lists[key[0]][key[1]]
                if score > best_score:
                    best, best_score = key, score
            if best is None:
                break
            field, value = best
            column = lists[field]
            members = [row for row in alive if column[row] == value]
            for row in members:
                del alive[row]
                for other in kept:
                    key = (other, lists[other][row])
                    count = counts.get(key, 0) - 1
                    if count > 1:
                        counts[key] = count
                    else:
                        counts.pop(key, None)
            groups.append((field, value, members))
        for field, _, members in sorted(groups):
            rest = tuple(other for other in kept if other != field)
            yield from self._small(members, (*done, field), rest, unique)
        if alive:
            yield Group(list(alive), (*done, *kept, *unique))


def _constant(codes: Codes) -> bool:
    return bool((codes == codes[0]).all())


class _Level:
    """The rows of one group, of which smaller groups are taken, the one that shares most first."""

    def __init__(
        self,
        table: CodedTable,
        weights: Sequence[Lengths],
        follow: dict[int, tuple[int, ...]],
        rows: Codes,
        fields: Sequence[int],
    ) -> None:
        self._rows = rows
        self._alive = np.ones(len(rows), dtype=bool)
        self._codes: dict[int, Codes] = {}
        self._counts: dict[int, Codes] = {}
        self._order: dict[int, Codes] = {}
        self._starts: dict[int, Codes] = {}
        self._weights: dict[int, Lengths] = {}
        self._values: dict[int, Codes] = {}
        for field in fields:
            values, codes, counts = np.unique(table.codes[field][rows], return_inverse=True, return_counts=True)
            if len(values) == len(rows):
                continue
            self._values[field] = values
            self._codes[field], self._counts[field] = codes, counts
            self._order[field] = np.argsort(codes, kind="stable")
            self._starts[field] = np.concatenate(([0], np.cumsum(counts)))
        self.fields = tuple(self._codes)
        for field, values in self._values.items():
            weights_here = weights[field][values].copy()
            first = self._order[field][self._starts[field][:-1]]
            for other in follow.get(field, ()):
                if other in self._codes:
                    weights_here += weights[other][table.codes[other][rows[first]]]
            self._weights[field] = weights_here

    def take_groups(self) -> Iterator[tuple[int, int, Codes]]:
        """Field, number of the value, and rows of each group."""
        heap: list[tuple[float, int, int]] = []
        for field in self.fields:
            scores = (self._counts[field] - 1) * self._weights[field]
            heap += [(-float(scores[value]), field, int(value)) for value in np.flatnonzero(scores > 0)]
        heapq.heapify(heap)
        while heap:
            score, field, value = heapq.heappop(heap)
            now = float((self._counts[field][value] - 1) * self._weights[field][value])
            if now <= 0:
                continue
            if now < -score:  # rows have left since; look again in its turn
                heapq.heappush(heap, (-now, field, value))
                continue
            start, end = self._starts[field][value], self._starts[field][value + 1]
            members = self._order[field][start:end]
            members = members[self._alive[members]]
            self._alive[members] = False
            for other in self.fields:
                gone = self._codes[other][members]
                if len(gone) * 8 < len(self._counts[other]):
                    np.subtract.at(self._counts[other], gone, 1)
                else:
                    self._counts[other] = self._counts[other] - np.bincount(gone, minlength=len(self._counts[other]))
            yield field, int(self._values[field][value]), self._rows[members]

    def left(self) -> Codes:
        found: Codes = self._rows[self._alive]
        return found


def dependent_fields(table: CodedTable) -> dict[int, tuple[int, ...]]:
    """For each field those whose value it determines in every row. A sample rules most pairs out."""
    count = table.rows
    sample = np.arange(0, count, max(1, count // SAMPLE))
    found: dict[int, tuple[int, ...]] = {}
    distinct = [len(lengths) for lengths in table.lengths]
    for field, codes in enumerate(table.codes):
        if distinct[field] == count:
            continue
        follows = []
        for other, others in enumerate(table.codes):
            if other == field or distinct[other] > distinct[field]:
                continue
            if _determines(codes[sample], others[sample]) and _determines(codes, others):
                follows.append(other)
        if follows:
            found[field] = tuple(follows)
    return found


def _determines(codes: Codes, others: Codes) -> bool:
    first = np.full(int(codes.max()) + 1, -1, dtype=np.int64)
    first[codes] = others  # the last row of each value
    return bool((first[codes] == others).all())


def sorted_groups(table: CodedTable) -> Iterator[Group]:
    """One order of fields for all rows, each next field the one that adds most to what neighbours share; then the rows
    sorted by it."""
    count = table.rows
    ids = np.zeros(count, dtype=np.int64)
    left = list(range(len(table.fields)))
    order: list[int] = []
    groups = 1
    while left and groups < count:
        best, best_gain, best_ids, best_groups = left[0], -1.0, ids, groups
        for field in left:
            combined = ids * len(table.lengths[field]) + table.codes[field]
            values, first, inverse = np.unique(combined, return_index=True, return_inverse=True)
            lengths = table.cell_lengths(field)
            gain = float(lengths.sum() - lengths[first].sum())
            if gain > best_gain:
                best, best_gain, best_ids, best_groups = field, gain, inverse, len(values)
        if best_gain <= 0:
            break
        order.append(best)
        left.remove(best)
        ids, groups = best_ids, best_groups
    rows = np.lexsort([table.codes[field] for field in reversed(order)]) if order else np.arange(count)
    yield Group(rows.tolist(), (*order, *left))
