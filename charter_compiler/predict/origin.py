"""Which part of the program put a character into a prompt: a constant, an input, another call's output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from charter_compiler.diagnostics.span import Span
from charter_compiler.ir.nodes import Call, CallRef, Const, Message, Param, Segment
from charter_compiler.tokens.tokenizer import Tokenizer

RECOGNIZED = 16
"""Characters by which a value is recognized that does not stand in the prompt whole."""


@dataclass(frozen=True, slots=True)
class Origin:
    """``what`` in words, such as "input document"; ``file`` and ``line`` are where the source puts it into the prompt,
    or ``None`` where only the value was recognized. ``offset`` counts characters from its start."""

    what: str
    file: str | None
    line: int | None
    offset: int

    def __str__(self) -> str:
        place = "" if self.file is None else f" at {self.file}:{self.line}"
        return f"{self.what}{place}"


@dataclass(frozen=True, slots=True)
class Values:
    """What is known of an item at a call: its inputs by name, and the outputs of its earlier calls with their site."""

    inputs: Mapping[str, Any]
    outputs: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class _Piece:
    segment: Segment
    start: int
    stop: int


def origin_at(
    text: str,
    position: int,
    call: Call | None,
    contents: Sequence[str],
    values: Values,
    site_place: tuple[str, int] | None,
) -> Origin:
    """What put the character at ``position`` into the prompt ``text``.

    Args:
        call: the call site in the IR, whose segments are laid along the prompt; ``None`` if it was not found.
        contents: the contents of the prompt's messages, in order; of a completion, the prompt itself.
        site_place: file and line of the call, for text whose origin is not found.
    """
    index, start = _message_at(text, position, contents)
    if index is None:
        return Origin("the chat template", None, None, position)
    inside = position - start
    if call is not None and index < len(call.messages):
        found = _in_message(call.messages[index], contents[index], inside, values)
        if found is not None:
            return found
    recognized = _recognized(contents[index], inside, values)
    if recognized is not None:
        return recognized
    file, line = site_place or (None, None)
    return Origin("the prompt made for the call", file, line, inside)


def borders(text: str, call: Call | None, contents: Sequence[str], values: Values) -> list[int]:
    """The characters of the prompt ``text`` at which a message, or a segment of its template, begins; ascending, as far
    as the template was found in it."""
    found: set[int] = set()
    start = 0
    for index, content in enumerate(contents):
        start = text.find(content, start)
        if start < 0:
            break
        found |= {start, start + len(content)}
        if call is not None and index < len(call.messages):
            found |= {start + piece.start for piece in _align(call.messages[index].segments, content, values)}
        start += len(content)
    return sorted(found)


def _message_at(text: str, position: int, contents: Sequence[str]) -> tuple[int | None, int]:
    """Number of the message that the position lies in, and where its content starts."""
    start = 0
    for index, content in enumerate(contents):
        start = text.find(content, start)
        if start < 0:
            return None, 0
        if start <= position < start + len(content):
            return index, start
        start += len(content)
    return None, 0


def _in_message(message: Message, content: str, position: int, values: Values) -> Origin | None:
    piece = next((p for p in _align(message.segments, content, values) if p.start <= position < p.stop), None)
    if piece is None:
        return None
    span, offset = _span(piece.segment), position - piece.start
    match piece.segment:
        case Const(text, _):
            # The line within a text of several lines: the span is that of the whole literal.
            line = span.line + (text[:offset].count("\n") if span.end_line > span.line else 0)
            return Origin("constant text", span.file, min(line, span.end_line), offset)
        case Param(name, _, _):
            return Origin(f"input {name}", span.file, span.line, offset)
        case CallRef(call_id, _, _):
            return Origin(f"the output of {call_id.rpartition('/')[2]}", span.file, span.line, offset)
    recognized = _recognized(content, position, values)
    return Origin("a value" if recognized is None else recognized.what, span.file, span.line, offset)


def _span(segment: Segment) -> Span:
    return segment.span


def _align(segments: Sequence[Segment], content: str, values: Values) -> list[_Piece]:
    """The segments along the text; nothing from the first constant that does not fit there."""
    pieces: list[_Piece] = []
    position = 0
    for index, segment in enumerate(segments):
        if isinstance(segment, Const):
            if not content.startswith(segment.text, position):
                break
            stop = position + len(segment.text)
        else:
            stop = _hole_end(segment, segments[index + 1 :], content, position, values)
        pieces.append(_Piece(segment, position, stop))
        position = stop
    return pieces


def _hole_end(hole: Segment, rest: Sequence[Segment], content: str, position: int, values: Values) -> int:
    known = values.inputs.get(hole.name) if isinstance(hole, Param) else None
    if isinstance(known, str) and known and content.startswith(known, position):
        return position + len(known)
    if isinstance(hole, CallRef) and not hole.derived:
        output = next((text for site, text in reversed(values.outputs) if site == hole.id), None)
        if output and content.startswith(output, position):
            return position + len(output)
    following = next((segment.text for segment in rest if isinstance(segment, Const)), None)
    found = -1 if following is None else content.find(following, position)
    return len(content) if found < 0 else found


def _recognized(content: str, position: int, values: Values) -> Origin | None:
    """An input or an earlier output that stands in the prompt, around the position, as it is; else one that has the
    characters from the position on, since it was cut, joined or stripped on its way."""
    named = [(f"input {name}", value) for name, value in _texts(values.inputs)]
    named += [(f"the output of {site.rpartition('/')[2]}", text.strip()) for site, text in values.outputs]
    for what, value in named:
        start = content.find(value) if len(value) > 1 else -1
        while start >= 0 and start <= position:
            if position < start + len(value):
                return Origin(what, None, None, position - start)
            start = content.find(value, start + 1)
    cut = content[position : position + RECOGNIZED]
    if len(cut.strip()) < RECOGNIZED // 2:
        return None
    part = next((what for what, value in named if cut in value), None)
    return None if part is None else Origin(f"part of {part}", None, None, 0)


def _texts(inputs: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = []
    for name, value in inputs.items():
        parts = value if isinstance(value, list) else [value]
        found += [
            (name, str(part)) for part in parts if isinstance(part, str | int | float) and not isinstance(part, bool)
        ]
    return found


def character_of(tokenizer: Tokenizer, text: str, token: int) -> int:
    """Where in a text its ``token``-th token begins, in characters."""
    starts = tokenizer.token_starts(text)
    return starts[token] if token < len(starts) else len(text)
