"""String literals of a Python file, character by character: what each stands for, and where in the source it is.

LibCST finds them; it is imported where it is needed, so that the core installs without it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from charter_compiler.diagnostics.errors import SourceError, UsageError
from charter_compiler.diagnostics.span import Span

_ESCAPE = re.compile(r"\\(?:\r\n|[0-7]{1,3}|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|N\{[^}]*\}|.)", re.DOTALL)
_LINE_END = re.compile(r"\r\n|\r|\n")
_FIELD = re.compile(r"\{[^{}]*\}")


@dataclass(frozen=True, slots=True)
class Piece:
    """One character of the text, or one hole (``text`` is ``None``): an expression or a field of ``format``. ``start``
    and ``end`` are offsets into the source."""

    text: str | None
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Part:
    """One literal of those that stand side by side: offsets, prefix ("f", "r", ...) and quotes."""

    start: int
    end: int
    prefix: str
    quote: str

    @property
    def formatted(self) -> bool:
        return "f" in self.prefix.lower()


@dataclass(frozen=True, slots=True)
class Literal:
    """A string expression. ``start`` and ``end``: offsets into the source; ``span``: the same as a place."""

    start: int
    end: int
    span: Span
    parts: tuple[Part, ...]
    pieces: tuple[Piece, ...]
    template: tuple[Piece, ...]
    """The pieces where the text is given to ``format``: the same for an f-string."""


class SourceText:
    """A file's text as lines, to turn places into offsets. Columns count characters from 0, lines from 1."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._starts = [0]
        self._starts += [match.end() for match in _LINE_END.finditer(text)]

    def offset(self, line: int, column: int) -> int:
        return self._starts[line - 1] + column


def literals_of(text: str, file: str) -> list[Literal]:
    """Every string expression of a file, literals that stand side by side as one; bytes are left out.

    Raises:
        SourceError: LibCST cannot parse the file, or would not print it as it is.
        UsageError: LibCST is not installed.
    """
    cst, metadata = libcst()
    wrapper = read_module(text, file)
    module = wrapper.module
    ranges = wrapper.resolve(metadata.PositionProvider)
    source = SourceText(text)
    found: list[Literal] = []

    def offsets(node: Any) -> tuple[int, int]:
        place = ranges[node]
        start = source.offset(place.start.line, place.start.column)
        return start, source.offset(place.end.line, place.end.column)

    def visit(node: Any) -> None:
        kinds = (cst.SimpleString, cst.FormattedString, cst.ConcatenatedString)
        if isinstance(node, kinds):
            simple = list(_flat(cst, node))
            if not any("b" in part.prefix.lower() for part in simple) and all(
                isinstance(part, cst.SimpleString | cst.FormattedString) for part in simple
            ):
                found.append(_literal(cst, module, simple, offsets, ranges[node], file, text))
            for part in simple:
                for child in part.children:
                    visit(child)
            return
        for child in node.children:
            visit(child)

    visit(module)
    return found


def read_module(text: str, file: str) -> Any:
    """A file as LibCST reads it, in the wrapper that knows where each node stands.

    Raises:
        SourceError: LibCST cannot parse the file, or would not print it as it is.
        UsageError: LibCST is not installed.
    """
    cst, metadata = libcst()
    try:
        module = cst.parse_module(text)
    except cst.ParserSyntaxError as error:
        raise SourceError(f"cannot be parsed: {error.message}", place=f"{file}:{error.raw_line}") from error
    if module.code != text:
        raise SourceError("would not be printed as it is written", place=file)
    return metadata.MetadataWrapper(module, unsafe_skip_copy=True)


def libcst() -> tuple[Any, Any]:
    """LibCST and its metadata. Raises UsageError where it is not installed."""
    try:
        import libcst
        from libcst import metadata
    except ImportError as error:
        raise UsageError(
            "LibCST is not installed, which rewrites sources", remedy="pip install '.[source]' in the checkout"
        ) from error
    return libcst, metadata


def _flat(cst: Any, node: Any) -> Iterator[Any]:
    if isinstance(node, cst.ConcatenatedString):
        yield from _flat(cst, node.left)
        yield from _flat(cst, node.right)
    else:
        yield node


def _literal(cst: Any, module: Any, simple: Sequence[Any], offsets: Any, place: Any, file: str, text: str) -> Literal:
    parts: list[Part] = []
    pieces: list[Piece] = []
    template: list[Piece] = []
    for node in simple:
        start, end = offsets(node)
        raw = text[start:end]
        opened = re.match(r"[A-Za-z]*(\"\"\"|'''|\"|')", raw)
        assert opened is not None, "a string literal begins with its quotes"
        prefix, quote = opened[0][: -len(opened[1])], opened[1]
        # LibCST counts a parenthesis around a literal to the literal's node only in `lpar`; the range leaves it out.
        parts.append(Part(start, end, prefix, quote))
        position = start + len(opened[0])
        if isinstance(node, cst.FormattedString):
            for child in node.parts:
                code = module.code_for_node(child)
                stop = position + len(code)
                if isinstance(child, cst.FormattedStringText):
                    chars = _double(list(_characters(text, position, stop, prefix)))
                else:
                    chars = [Piece(None, position, stop)]
                pieces += chars
                template += chars
                position = stop
        else:
            chars = list(_characters(text, position, end - len(quote), prefix))
            pieces += chars
            template += _fields(chars)
    span = Span(file, place.start.line, place.start.column + 1, place.end.line, place.end.column + 1)
    first, last = parts[0].start, parts[-1].end
    return Literal(first, last, span, tuple(parts), tuple(pieces), tuple(template))


def _characters(text: str, start: int, end: int, prefix: str) -> Iterator[Piece]:
    """The characters of a literal's inside; escapes are read unless it is raw."""
    raw = "r" in prefix.lower()
    position = start
    while position < end:
        if text[position] == "\\" and not raw:
            match = _ESCAPE.match(text, position, end)
            assert match is not None, "Python has parsed it"
            quoted = _LINE_END.sub("\n", match[0])
            value = "" if quoted == "\\\n" else ast.literal_eval(f'"""{quoted}"""' if quoted != '\\"' else r'"\""')
            # An escape for nothing (a line continued) belongs to the character that follows.
            yield from (Piece(char, position, match.end()) for char in value)
            position = match.end()
        elif text[position] == "\r":  # Python reads every line end as one line feed
            width = 2 if text.startswith("\r\n", position) else 1
            yield Piece("\n", position, position + width)
            position += width
        else:
            yield Piece(text[position], position, position + 1)
            position += 1


def _double(chars: list[Piece]) -> list[Piece]:
    """Doubled braces as one."""
    found: list[Piece] = []
    index = 0
    while index < len(chars):
        one = chars[index]
        if one.text in ("{", "}") and index + 1 < len(chars) and chars[index + 1].text == one.text:
            found.append(Piece(one.text, one.start, chars[index + 1].end))
            index += 2
        else:
            found.append(one)
            index += 1
    return found


def _fields(chars: list[Piece]) -> list[Piece]:
    """Fields of ``format`` as holes, doubled braces as one."""
    found: list[Piece] = []
    index = 0
    text = "".join(piece.text or "" for piece in chars)
    while index < len(chars):
        char = text[index]
        if char in "{}" and text[index + 1 : index + 2] == char:
            found.append(Piece(char, chars[index].start, chars[index + 1].end))
            index += 2
            continue
        field = _FIELD.match(text, index) if char == "{" else None
        if field is not None:
            found.append(Piece(None, chars[index].start, chars[field.end() - 1].end))
            index = field.end()
            continue
        found.append(chars[index])
        index += 1
    return found
