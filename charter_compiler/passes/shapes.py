"""Prompts without places in the source: the same for prompts that are sent alike."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from charter_compiler.ir.nodes import Call, Const, Segment


def texts(messages: Iterable[Sequence[Segment]]) -> tuple[tuple[str | Segment, ...], ...]:
    """The messages without the spans of constants, which are merged; holes as they are."""
    found = []
    for segments in messages:
        merged: list[str | Segment] = []
        for segment in segments:
            last = merged[-1] if merged else None
            if isinstance(segment, Const) and isinstance(last, str):
                merged[-1] = last + segment.text
            else:
                merged.append(segment.text if isinstance(segment, Const) else segment)
        found.append(tuple(merged))
    return tuple(found)


def plain(call: Call) -> list[list[object]]:
    """The messages of a call without places."""
    return shapes(message.segments for message in call.messages)


def shapes(messages: Iterable[Sequence[Segment]]) -> list[list[object]]:
    """Messages without places: the same for prompts that are sent alike."""
    return [[part if isinstance(part, str) else _shape(part) for part in message] for message in texts(messages)]


def _shape(segment: Segment) -> object:
    names = [type(segment).__name__, getattr(segment, "name", ""), getattr(segment, "id", "")]
    inner = getattr(segment, "segments", ()) or [each for option in getattr(segment, "options", ()) for each in option]
    return (*names, *(part.text if isinstance(part, Const) else _shape(part) for part in inner))
