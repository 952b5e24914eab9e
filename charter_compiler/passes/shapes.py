"""Prompts without places in the source: the same for prompts that are sent alike."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from charter_compiler.ir.nodes import Call, Const, Segment
from charter_compiler.passes.layout import texts


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
