"""A range of source text."""

from __future__ import annotations

import ast
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """Half-open range of characters in a file; lines and columns count from 1, as editors and SARIF do.

    ``end_column`` is the column just past the last character.
    """

    file: str
    line: int
    column: int
    end_line: int
    end_column: int

    @classmethod
    def of(cls, file: str, node: ast.AST) -> Span:
        """Span of an ``ast`` node that carries a position (every ``ast.expr`` and ``ast.stmt``)."""
        line: int = node.lineno  # type: ignore[attr-defined]  # ast.AST does not declare positions; expr and stmt do
        column: int = node.col_offset  # type: ignore[attr-defined]  # as above
        end_line = getattr(node, "end_lineno", None) or line
        end_column = getattr(node, "end_col_offset", None)
        return cls(file, line, column + 1, end_line, (column if end_column is None else end_column) + 1)

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"
