"""The order of a table's rows and fields in which neighbouring prompts share most.

An agent that asks about each row of a table sends the row's fields in the order of the table. Rows that share values
share no prefix unless those values come first and the rows stand together. Here both are chosen; results come back in
the table's own order.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar, overload

from charter_compiler.passes.table_codes import CodedTable, encode_table, repeats_something
from charter_compiler.passes.table_groups import Group, GroupSearch, sorted_groups

T = TypeVar("T")


class OrderedRows(Sequence[list[tuple[str, str]]]):
    """The rows in their new order, each a list of (field, value); made when they are asked for."""

    def __init__(
        self, rows: Sequence[Mapping[str, str]], order: Sequence[int], fields: Sequence[tuple[str, ...]] | None
    ) -> None:
        self._rows = rows
        self._order = order
        self._fields = fields

    def __len__(self) -> int:
        return len(self._order)

    @overload
    def __getitem__(self, index: int) -> list[tuple[str, str]]: ...
    @overload
    def __getitem__(self, index: slice) -> list[list[tuple[str, str]]]: ...
    def __getitem__(self, index: int | slice) -> list[tuple[str, str]] | list[list[tuple[str, str]]]:
        if isinstance(index, slice):
            return [self._row(i) for i in range(*index.indices(len(self)))]
        return self._row(range(len(self))[index])

    def __iter__(self) -> Iterator[list[tuple[str, str]]]:
        return map(self._row, range(len(self)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(list.__eq__, self, other))

    __hash__ = None  # type: ignore[assignment]  # like a list

    def _row(self, position: int) -> list[tuple[str, str]]:
        row = self._rows[self._order[position]]
        if self._fields is None:
            return list(row.items())
        return [(name, row[name]) for name in self._fields[position] if name in row]


@dataclass(frozen=True, slots=True)
class TableOrder:
    """``rows``: the table's rows in the order in which to send them, each a list of (field, value). ``order``: their
    indices in the table. ``hit_rate``: of all that is sent, names and values, the part that the row before begins
    with, in whole cells; in characters, or in what ``measure`` counts."""

    rows: OrderedRows
    order: Sequence[int]
    hit_rate: float

    def restore(self, results: Iterable[T]) -> list[T]:
        """Results of ``rows``, in their order, put back into the order of the table.

        Raises:
            ValueError: there are not as many results as rows.
        """
        found = list(results)
        if len(found) != len(self.order):
            raise ValueError(f"{len(found)} results for {len(self.order)} rows")
        restored = list(found)
        for place, result in zip(self.order, found, strict=True):
            restored[place] = result
        return restored


def order_rows(rows: Sequence[Mapping[str, str]], *, measure: Callable[[str], int] = len) -> TableOrder:
    """The best order found, by three searches: groups of rows with orders of their own, choosing by the length of cells
    and by the squared length of values, and one order for all rows; judged with and without the fields' names. A table
    that repeats nothing comes back as it is, after a look at a sample.

    Args:
        rows: the table; a row may lack fields.
        measure: the length of a text: characters, or for instance ``lambda text: len(tokenizer.encode(text))``. Each
            distinct value is measured once, with its field's name beside it.
    """
    if len(rows) < 2 or not repeats_something(rows):
        return TableOrder(OrderedRows(rows, range(len(rows)), None), range(len(rows)), 0.0)
    table = encode_table(rows, measure)
    weightings = (table.lengths, [lengths**2 for lengths in table.values])
    searches: list[Iterator[Group]] = [GroupSearch(table, weights).run() for weights in weightings]
    candidates = [list(groups) for groups in (*searches, sorted_groups(table))]
    best, (rate, _) = max(((groups, _rates(table, groups)) for groups in candidates), key=lambda found: sum(found[1]))
    order = [row for group in best for row in group.rows]
    names = {group.fields: tuple(table.fields[field] for field in group.fields) for group in best}
    fields = list(itertools.chain.from_iterable(itertools.repeat(names[g.fields], len(g.rows)) for g in best))
    return TableOrder(OrderedRows(rows, order, fields), tuple(order), rate)


def _rates(table: CodedTable, groups: Sequence[Group]) -> list[float]:
    """Hit rates of cells and of values alone."""
    rates = []
    for lengths, shared in zip((table.lengths, table.values), shared_lengths(table, groups), strict=True):
        total = sum(float(of[codes].sum()) for of, codes in zip(lengths, table.codes, strict=True))
        rates.append(shared / total if total else 0.0)
    return rates


def shared_lengths(table: CodedTable, groups: Sequence[Group]) -> tuple[float, float]:
    """What neighbouring rows have in common at their beginnings, in whole cells: names and values, and values alone."""
    codes = [column.tolist() for column in table.codes]
    lengths = [column.tolist() for column in table.lengths]
    values = [column.tolist() for column in table.values]
    cells = alone = 0.0
    last: tuple[int, tuple[int, ...]] | None = None
    for group in groups:
        fields = group.fields
        for row in group.rows:
            if last is not None:
                before, others = last
                for field, other in zip(fields, others, strict=True):
                    code = codes[field][row]
                    if field != other or codes[field][before] != code:
                        break
                    cells += lengths[field][code]
                    alone += values[field][code]
            last = (row, fields)
    return cells, alone
