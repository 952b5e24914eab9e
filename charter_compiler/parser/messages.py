"""The messages of a call from the value of its prompt argument."""

from __future__ import annotations

from charter_compiler.diagnostics.span import Span
from charter_compiler.ir.nodes import Message, Role
from charter_compiler.parser.strings import constant_text
from charter_compiler.parser.values import (
    Input,
    Item,
    Opaque,
    Plain,
    Record,
    Repeated,
    Result,
    Series,
    Text,
    Value,
    concat,
    deps_of,
    text_of,
)

ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "ai": "assistant",
    "model": "assistant",
    "tool": "tool",
    "function": "tool",
}
"""Role names of the SDKs, as the IR names them."""


def messages_of(value: Value, span: Span, *, listed: bool) -> tuple[Message, ...]:
    """Messages from a list of dictionaries, or one from a text. ``listed``: the API takes nothing but a list, so that a
    value that is not visibly one is a message of unknown role."""
    if isinstance(value, Series):
        found = [message for item in value.items if (message := _message(item, span)) is not None]
        return tuple(found) or (Message("unknown", text_of(Opaque("an empty list of messages"), span).segments),)
    segments = text_of(value, span).segments or text_of(Opaque("an empty prompt"), span).segments
    if listed or (isinstance(value, Input) and value.name.rpartition(".")[2] == "messages"):
        return (Message("unknown", segments),)
    return (Message("raw", segments),)


def _message(item: Item, span: Span) -> Message | None:
    """One message; ``None`` for one without content (an assistant turn that only calls tools)."""
    if isinstance(item, Repeated):
        reason = "messages that are added in a loop or on a branch"
        return Message("unknown", text_of(Opaque(reason, deps_of(item)), span).segments)
    if not isinstance(item, Record) or item.rest is not None:
        return Message("unknown", text_of(item, span).segments or text_of(Opaque("an empty message"), span).segments)
    name = item.get("role")
    role = ROLES.get((constant_text(name) if name is not None else None) or "", "unknown")
    content = item.get("content")
    if content is None or content == Plain(None):
        return None
    segments = content_of(content, span).segments
    return Message(role, segments) if segments else None


def content_of(content: Value, span: Span) -> Text:
    """The text of a message's content: a string, or a list of parts of which the text parts count."""
    if not isinstance(content, Series):
        return text_of(content, span)
    parts: list[Text] = []
    for part in content.items:
        text = part.get("text") if isinstance(part, Record) else None
        if text is not None:
            parts.append(text_of(text, span))
        else:
            parts.append(text_of(Opaque("a part that is no text", deps_of(part)), span))
    return concat(parts, span)


def looks_like_prompt(value: Value) -> bool:
    """Whether a value is visibly text or a list of messages; needed where the callee's name alone does not convince."""
    match value:
        case Text() | Result():
            return True
        case Series(items=items):
            return any(isinstance(item, Record) and item.get("role") is not None for item in items)
        case Input(name=name):
            return name.rpartition(".")[2] in ("prompt", "messages")
    return False
