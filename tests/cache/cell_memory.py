"""A memory of KV cells for tests: which cells each sequence holds, and for which tokens they were computed."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

Prefix = tuple[int, ...]


@dataclass(eq=False)
class Cell:
    """The KV of one position depends on every token up to it: ``prefix``."""

    prefix: Prefix


@dataclass
class CellMemory:
    """Implements ``SequenceMemory`` as llama.cpp's unified cache does: a cell lives while a sequence holds it."""

    cells: dict[int, dict[int, Cell]] = field(default_factory=lambda: defaultdict(dict))

    def copy_range(self, source: int, target: int, start: int, stop: int) -> None:
        for position in range(start, stop):
            assert position not in self.cells[target], "a sequence would hold two cells for one position"
            self.cells[target][position] = self.cells[source][position]

    def drop_range(self, sequence: int, start: int, stop: int | None) -> None:
        held = self.cells[sequence]
        for position in [p for p in held if p >= start and (stop is None or p < stop)]:
            del held[position]

    def compute(self, sequence: int, tokens: list[int], start: int, stop: int) -> None:
        for position in range(start, stop):
            assert position not in self.cells[sequence]
            assert position == 0 or self.cells[sequence][position - 1].prefix == tuple(tokens[:position])
            self.cells[sequence][position] = Cell(tuple(tokens[: position + 1]))

    def holds(self, sequence: int, tokens: list[int] | Prefix) -> bool:
        """Whether the sequence holds exactly the cells of these tokens."""
        return {p: c.prefix for p, c in self.cells[sequence].items()} == {
            p: tuple(tokens[: p + 1]) for p in range(len(tokens))
        }

    @property
    def live(self) -> int:
        return len({id(cell) for held in self.cells.values() for cell in held.values()})
