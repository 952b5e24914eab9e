"""Reader of the text form of the IR (see ``text``)."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NoReturn, cast, get_args

from charter_compiler.diagnostics.errors import IRSyntaxError
from charter_compiler.diagnostics.span import Span
from charter_compiler.ir.nodes import (
    Agent,
    Call,
    CallRef,
    Cause,
    Choice,
    Const,
    Message,
    Param,
    Repeat,
    Role,
    Scope,
    Segment,
    Unknown,
)

_STRING = r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\""
_SPAN = re.compile(rf"@(?:(?P<file>{_STRING}):)?(?P<numbers>\d+:\d+-\d+:\d+)")
_TOKEN = re.compile(rf"{_SPAN.pattern}|{_STRING}|[^\s@'\"]+")
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    line: int
    column: int


def _fail(message: str, line: int, column: int) -> NoReturn:
    raise IRSyntaxError(message, place=f"{line}:{column}")


class _Line:
    """One line of input: its indent in levels, and its tokens, which are taken from the left."""

    def __init__(self, number: int, text: str) -> None:
        body = text.lstrip(" ")
        indent = len(text) - len(body)
        self.number = number
        self.level, odd = divmod(indent, 2)
        if odd:
            _fail("the indent is not a multiple of two spaces", number, indent)
        self._end = len(text) + 1
        self._tokens: list[_Token] = []
        position = indent
        while position < len(text):
            if text[position] == " ":
                position += 1
                continue
            match = _TOKEN.match(text, position)
            if match is None:
                _fail(f"cannot read {text[position]!r} here", number, position + 1)
            self._tokens.append(_Token(match[0], number, position + 1))
            position = match.end()

    def peek(self) -> str:
        return self._tokens[0].text if self._tokens else ""

    def take(self, expected: str) -> _Token:
        """The next token; ``expected`` names it in the error if the line ends here."""
        if not self._tokens:
            _fail(f"expected {expected}", self.number, self._end)
        return self._tokens.pop(0)

    def word(self, *allowed: str) -> str:
        token = self.take(" or ".join(allowed))
        if token.text not in allowed:
            _fail(f"expected {' or '.join(allowed)}, not {token.text}", token.line, token.column)
        return token.text

    def string(self) -> str:
        token = self.take("a string")
        return _unquote(token.text, token)

    def number_of(self, kind: Callable[[str], Any]) -> Any:
        token = self.take("a number")
        try:
            return kind(token.text)
        except ValueError:
            _fail(f"expected a number, not {token.text}", token.line, token.column)

    def span(self, file: str | None) -> Span:
        token = self.take("a span")
        match = _SPAN.fullmatch(token.text)
        if match is None:
            _fail(f"expected a span, not {token.text}", token.line, token.column)
        if match["file"] is not None:
            file = _unquote(match["file"], token)
        if file is None:
            _fail("the span of a call names its file", token.line, token.column)
        line, column, end_line, end_column = (int(number) for number in _NUMBER.findall(match["numbers"]))
        return Span(file, line, column, end_line, end_column)

    def end(self) -> None:
        if self._tokens:
            token = self._tokens[0]
            _fail(f"unexpected {token.text}", token.line, token.column)


def _unquote(text: str, token: _Token) -> str:
    try:
        value = ast.literal_eval(text)
    except (SyntaxError, ValueError):
        value = None
    if not isinstance(value, str):
        _fail(f"expected a string, not {text}", token.line, token.column)
    return value


class _Reader:
    def __init__(self, text: str) -> None:
        lines = enumerate(text.split("\n"), start=1)
        self.lines = [_Line(number, line) for number, line in lines if line.strip(" ")]
        self.next = 0
        self.file = ""

    def at(self, level: int) -> _Line | None:
        """The next line if it has that level, and then it is consumed; a deeper line is an error."""
        if self.next == len(self.lines):
            return None
        line = self.lines[self.next]
        if line.level > level:
            _fail("unexpected indent", line.number, 1)
        if line.level < level:
            return None
        self.next += 1
        return line

    def agent(self) -> Agent:
        line = self.at(0)
        if line is None:
            _fail("expected agent", 1, 1)
        line.word("agent")
        name = line.string()
        line.end()
        calls = []
        while (line := self.at(0)) is not None:
            calls.append(self.call(line))
        return Agent(name, tuple(calls))

    def call(self, first: _Line) -> Call:
        first.word("call")
        call_id, span = first.string(), first.span(None)
        first.end()
        self.file = span.file
        fields: dict[str, Any] = {}
        lists: dict[str, list[Any]] = {key: [] for key in ("loop", "arm", *_NAMES, "message")}
        while (line := self.at(1)) is not None:
            key = line.word(*_FIELDS, *lists)
            if _RENAMED.get(key, key) in fields:
                _fail(f"{key} stands twice", line.number, 1)
            if key == "message":
                role = line.word(*get_args(Role))
                cached = self.flag(line, "cached")
                line.end()
                lists[key].append(Message(cast("Role", role), self.segments(2), cached))
                continue
            if key in lists:
                lists[key].append(line.string() if key in _NAMES else line.span(self.file))
            else:
                fields[_RENAMED.get(key, key)] = _FIELDS[key](line)
            line.end()
        for required in ("function", "kind", "api", "callee"):
            if required not in fields:
                _fail(f"the call has no {required}", first.number, 1)
        return Call(
            id=call_id,
            span=span,
            messages=tuple(lists["message"]),
            loops=tuple(lists["loop"]),
            arms=tuple(lists["arm"]),
            effects=tuple(lists["effect"]),
            depends_on=tuple(lists["depends_on"]),
            arrives=tuple(lists["arrives"]),
            returns=tuple(lists["returns"]),
            settings=tuple(lists["setting"]),
            **fields,
        )

    def segments(self, level: int) -> tuple[Segment, ...]:
        found = []
        while (line := self.at(level)) is not None:
            segment = self.segment(line, line.word("const", "param", "call", "choice", "repeat", "unknown"), level)
            line.end()
            found.append(segment)
        return tuple(found)

    def segment(self, line: _Line, kind: str, level: int) -> Segment:
        if kind == "const":
            span = line.span(self.file)
            return Const("".join(self.strings(level + 1)), span)
        if kind == "param":
            name, scope = line.string(), line.word(*get_args(Scope))
            return Param(name, line.span(self.file), cast("Scope", scope))
        if kind == "call":
            call_id = line.string()
            derived = self.flag(line, "derived")
            return CallRef(call_id, line.span(self.file), derived)
        if kind == "choice":
            span = line.span(self.file)
            return Choice(tuple(self.options(level + 1)), span)
        if kind == "repeat":
            span = line.span(self.file)
            return Repeat(self.segments(level + 1), span)
        reason = line.string()
        cause = next((each for each in get_args(Cause) if each and self.flag(line, each)), "")
        return Unknown(reason, line.span(self.file), cast("Cause", cause))

    @staticmethod
    def flag(line: _Line, word: str) -> bool:
        """Whether the line goes on with that word, which is then taken."""
        return line.peek() == word and bool(line.word(word))

    def options(self, level: int) -> list[tuple[Segment, ...]]:
        found = []
        while (line := self.at(level)) is not None:
            line.word("option")
            line.end()
            found.append(self.segments(level + 1))
        return found

    def strings(self, level: int) -> list[str]:
        found = []
        while (line := self.at(level)) is not None:
            found.append(line.string())
            line.end()
        return found


def _kind(line: _Line) -> Literal["root", "wrapper"]:
    return cast("Literal['root', 'wrapper']", line.word("root", "wrapper"))


_FIELDS: dict[str, Callable[[_Line], Any]] = {
    "function": _Line.string,
    "kind": _kind,
    "api": _Line.string,
    "callee": _Line.string,
    "forward": lambda line: True,
    "model": _Line.string,
    "max_tokens": lambda line: line.number_of(int),
    "temperature": lambda line: line.number_of(float),
    "loop_depth": lambda line: line.number_of(int),
    "awaited": lambda line: True,
    "unused": lambda line: False,
    "again": lambda line: True,
}
"""The fields of a call that hold one value, and how to read it."""

_NAMES = ("effect", "depends_on", "arrives", "returns", "setting")
"""Fields of a call that stand once for each of their texts."""

_RENAMED = {"unused": "used"}


def parse_agent(text: str) -> Agent:
    """Read the text form. Illegal IR is read as well, so that a dump of it can be; ``ir.verify`` tells.

    Raises:
        IRSyntaxError: with ``line:column`` of what cannot be read.
    """
    return _Reader(text).agent()
