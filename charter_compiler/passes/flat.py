"""A message as one string in which each hole is one private-use character, and back to segments with their spans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from charter_compiler.ir.nodes import Const, Message, Segment

FIRST_HOLE, LAST_HOLE = 0xE000, 0xF8FF
"""Unicode's private-use area: no text of a source is expected to hold it, and a message that does is left alone."""


def is_hole(char: str) -> bool:
    return FIRST_HOLE <= ord(char) <= LAST_HOLE


def hole_index(char: str) -> int:
    return ord(char) - FIRST_HOLE


def has_hole(text: str) -> bool:
    return any(is_hole(char) for char in text)


@dataclass(frozen=True, slots=True)
class FlatMessage:
    """``text``: constants as they are, hole ``i`` as the character ``FIRST_HOLE + i``. ``holes``: their segments.
    ``origin``: for each character the constant that it comes from, ``None`` for a hole."""

    text: str
    holes: tuple[Segment, ...]
    origin: tuple[Const | None, ...]

    def segments(self, start: int, end: int) -> tuple[Segment, ...]:
        """The segments of a range of ``text``; a constant that is cut keeps the span of the whole."""
        found: list[Segment] = []
        position = start
        while position < end:
            source = self.origin[position]
            if source is None:
                found.append(self.holes[hole_index(self.text[position])])
                position += 1
                continue
            stop = position
            while stop < end and self.origin[stop] is source:
                stop += 1
            found.append(Const(self.text[position:stop], source.span))
            position = stop
        return tuple(found)


def flatten(message: Message) -> FlatMessage | None:
    """The flat form; ``None`` where a constant holds private-use characters, or there are too many holes."""
    text: list[str] = []
    holes: list[Segment] = []
    origin: list[Const | None] = []
    for segment in message.segments:
        if isinstance(segment, Const):
            if has_hole(segment.text):
                return None
            text.append(segment.text)
            origin.extend([segment] * len(segment.text))
        else:
            if len(holes) > LAST_HOLE - FIRST_HOLE:
                return None
            text.append(chr(FIRST_HOLE + len(holes)))
            holes.append(segment)
            origin.append(None)
    return FlatMessage("".join(text), tuple(holes), tuple(origin))


def merge_constants(segments: Sequence[Segment]) -> tuple[Segment, ...]:
    """Neighbouring constants of one place in the source as one."""
    merged: list[Segment] = []
    for segment in segments:
        last = merged[-1] if merged else None
        if isinstance(segment, Const) and isinstance(last, Const) and last.span == segment.span:
            merged[-1] = Const(last.text + segment.text, segment.span)
        else:
            merged.append(segment)
    return tuple(merged)
