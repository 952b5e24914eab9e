"""Spans of syntax nodes in characters, the same on every Python version."""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator

from charter_compiler.diagnostics.span import Span

_LINE_END = re.compile(r"\r\n|\r|\n")
_OPEN, _CLOSE = "([{", ")]}"


class Positions:
    """Turns the positions of ``ast`` (byte columns) into spans (character columns) of one file."""

    def __init__(self, file: str, source: str) -> None:
        self.file = file
        self._lines = [] if source.isascii() else _LINE_END.split(source)
        self._source_lines: list[str] | None = None
        self._source = source
        # A body is read many times; by identity, since the tree outlives this object's use.
        self._spans: dict[int, tuple[ast.AST, Span]] = {}
        self._fstrings: dict[int, tuple[ast.AST, list[Span]]] = {}

    def column(self, line: int, byte: int) -> int:
        """Column, from 1, of the character at that byte of the line's UTF-8 form."""
        if 0 < line <= len(self._lines):
            text = self._lines[line - 1]
            if not text.isascii():
                return len(text.encode("utf-8", "surrogatepass")[:byte].decode("utf-8", "ignore")) + 1
        return byte + 1

    def of(self, node: ast.expr | ast.stmt | ast.keyword | ast.arg) -> Span:
        """Span of a node."""
        known = self._spans.get(id(node))
        if known is None:
            known = self._spans[id(node)] = node, self._of(node)
        return known[1]

    def _of(self, node: ast.expr | ast.stmt | ast.keyword | ast.arg) -> Span:
        end_line = node.end_lineno or node.lineno
        end_byte = node.col_offset if node.end_col_offset is None else node.end_col_offset
        return Span(
            self.file,
            node.lineno,
            self.column(node.lineno, node.col_offset),
            end_line,
            self.column(end_line, end_byte),
        )

    def between(self, first: ast.expr, last: ast.expr) -> Span:
        """From the start of one node to the end of another."""
        start, end = self.of(first), self.of(last)
        return Span(self.file, start.line, start.column, end.end_line, end.end_column)

    def of_fstring(self, node: ast.JoinedStr) -> list[Span]:
        """Span of each of ``node.values``: a field with its braces, a constant from the field before to the next.

        Before Python 3.12 ``ast`` gives no usable positions inside an f-string: there the fields are found in the
        source text. Where even that fails (a nested f-string of a shape not foreseen), every part has the span of the
        whole, which is true, if wide.
        """
        known = self._fstrings.get(id(node))
        if known is None:
            known = self._fstrings[id(node)] = node, self._of_fstring(node)
        return known[1]

    def _of_fstring(self, node: ast.JoinedStr) -> list[Span]:
        whole = self.of(node)
        fields = [value for value in node.values if isinstance(value, ast.FormattedValue)]
        if sys.version_info >= (3, 12):
            spans = [self.of(field) for field in fields]
        else:
            spans = list(self._fields(whole))
        if len(spans) != len(fields):
            return [whole] * len(node.values)
        result = []
        start, upcoming = (whole.line, whole.column), iter(spans)
        following = next(upcoming, None)
        for value in node.values:
            if isinstance(value, ast.FormattedValue) and following is not None:
                result.append(following)
                start, following = (following.end_line, following.end_column), next(upcoming, None)
            else:
                end = (whole.end_line, whole.end_column) if following is None else (following.line, following.column)
                result.append(Span(self.file, *start, *end))
        return result

    def _fields(self, whole: Span) -> Iterator[Span]:
        """The replacement fields of the f-strings in a range of the source, by scanning its text (Python 3.11)."""
        if self._source_lines is None:
            self._source_lines = _LINE_END.split(self._source)
        lines = self._source_lines[whole.line - 1 : whole.end_line]
        lines[-1] = lines[-1][: whole.end_column - 1]
        lines[0] = lines[0][whole.column - 1 :]
        # Parentheses keep the parts of an implicit concatenation in one logical line.
        text = "(" + "\n".join(lines) + ")"
        try:
            tokens = list(tokenize.generate_tokens(io.StringIO(text, newline="").readline))
        except (tokenize.TokenError, SyntaxError):
            return
        for token in tokens:
            prefix = re.match(r"[A-Za-z]*", token.string)
            if token.type != tokenize.STRING or prefix is None or "f" not in prefix[0].lower():
                continue
            body = token.string
            quotes = 3 if body[prefix.end() : prefix.end() + 3] in ('"""', "'''") else 1
            raw = "r" in prefix[0].lower()
            for start, end in _replacement_fields(body, prefix.end() + quotes, len(body) - quotes, raw):
                yield self._span_at(whole, token.start, body, start, end)

    def _span_at(self, whole: Span, token: tuple[int, int], body: str, start: int, end: int) -> Span:
        """Span of ``body[start:end]``; body starts at ``token`` (row from 1, column from 0) of the wrapped text."""

        def place(offset: int) -> tuple[int, int]:
            before = body[:offset]
            row = token[0] + before.count("\n")
            column = offset - (before.rfind("\n") + 1)
            if row == token[0]:
                column += token[1]
            # The wrapping parenthesis shifted the first row by one.
            return (whole.line + row - 1, whole.column + column - 1 if row == 1 else column + 1)

        return Span(self.file, *place(start), *place(end))


def _replacement_fields(body: str, start: int, end: int, raw: bool) -> Iterator[tuple[int, int]]:
    """(start, end) of each ``{...}`` of an f-string's body that is not an escaped brace."""
    position = start
    while position < end:
        if body.startswith(("{{", "}}"), position):
            position += 2
        elif not raw and body.startswith("\\N{", position):
            position = body.find("}", position) + 1 or end
        elif not raw and body[position] == "\\":
            position += 2 if body[position + 1 : position + 2] not in "{}" else 1
        elif body[position] == "{":
            close = _field_end(body, position, end)
            yield position, close
            position = close
        else:
            position += 1


def _field_end(body: str, start: int, end: int) -> int:
    """Offset just past the brace that closes the field opened at ``start``; strings in it may hold braces."""
    depth, position, quote = 0, start, ""
    while position < end:
        character = body[position]
        if quote:
            if body.startswith(quote, position):
                position += len(quote)
                quote = ""
                continue
        elif character in "'\"":
            quote = character * 3 if body.startswith(character * 3, position) else character
            position += len(quote)
            continue
        elif character in _OPEN:
            depth += 1
        elif character in _CLOSE:
            depth -= 1
            if depth == 0:
                return position + 1
        position += 1
    return end
