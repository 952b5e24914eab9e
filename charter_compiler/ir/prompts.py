"""Questions about the prompt of a call."""

from __future__ import annotations

from charter_compiler.ir.nodes import Call, Const, Segment


def leading_text(call: Call) -> str:
    """The constant text that the first message begins with; constants from several places are joined."""
    text = ""
    for segment in call.messages[0].segments:
        if not isinstance(segment, Const):
            break
        text += segment.text
    return text


def segments_of(call: Call) -> tuple[Segment, ...]:
    """The segments of all messages in the order in which they are sent."""
    return tuple(segment for message in call.messages for segment in message.segments)
