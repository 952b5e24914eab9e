"""The messages of a call from the value of its prompt argument."""

from __future__ import annotations

from collections.abc import Iterator

from charter_compiler.diagnostics.span import Span
from charter_compiler.ir.nodes import Message, Repeat, Role, Unknown
from charter_compiler.parser.strings import constant_text
from charter_compiler.parser.templates import unfilled
from charter_compiler.parser.texts import concat, text_of
from charter_compiler.parser.values import (
    Either,
    Input,
    Instance,
    Item,
    Opaque,
    Plain,
    PromptTemplate,
    Record,
    Repeated,
    Result,
    Series,
    Text,
    Value,
    deps_of,
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
    if isinstance(value, PromptTemplate):
        value = unfilled(value, span)
    if isinstance(value, Record) and isinstance(inner := value.get("messages"), Series):
        value = inner
    if isinstance(value, Record | Instance) and _field(value, "role") is not None:
        value = Series((value,))
    if isinstance(value, Series):
        found = [message for item in value.items for message in _messages(item, span)]
        return tuple(found) or (Message("unknown", text_of(Opaque("an empty list of messages"), span).segments),)
    if isinstance(value, Either) and any(isinstance(option, Series) for option in value.options):
        options = [messages_of(option, span, listed=listed) for option in value.options]
        longest = max(options, key=len)
        if all(option == longest[: len(option)] for option in options):
            return longest
        segments = tuple(segment for option in options for message in option for segment in message.segments)
        return (Message("unknown", (Repeat(segments, span),)),)
    segments = text_of(value, span).segments or text_of(Opaque("an empty prompt"), span).segments
    if listed or (isinstance(value, Input) and value.name.rpartition(".")[2] == "messages"):
        return (Message("unknown", segments),)
    return (Message("raw", segments),)


def _messages(item: Item, span: Span) -> Iterator[Message]:
    """The messages that an item of the list stands for; none for one without content (an assistant turn that only
    calls tools)."""
    if isinstance(item, Repeated):
        for inner in item.items:
            for message in _messages(inner, span):
                repeated = all(isinstance(segment, Repeat | Unknown) for segment in message.segments)
                yield message if repeated else Message(message.role, (Repeat(message.segments, span),), message.cached)
        return
    if isinstance(item, Series) and len(item.items) == 2:
        # ("system", "..."): LangChain's short form.
        name, content = item.items
        role = constant_text(name) if isinstance(name, Text) else None
        if role in ROLES and not isinstance(content, Repeated):
            segments = content_of(content, span).segments
            if segments:
                yield Message(ROLES[role], segments, is_cached(content))
            return
    given = _field(item, "content")
    if given is None and isinstance(item, Record):
        given = item.get("parts")
    if not isinstance(item, Record | Instance) or (given is None and getattr(item, "rest", None) is not None):
        yield Message("unknown", text_of(item, span).segments or text_of(Opaque("an empty message"), span).segments)
        return
    name_value = _field(item, "role")
    role_name = (constant_text(name_value) if name_value is not None else None) or ""
    if given is None or given == Plain(None):
        return
    segments = content_of(given, span).segments
    if segments:
        yield Message(ROLES.get(role_name, "unknown"), segments, is_cached(item) or is_cached(given))


def is_cached(value: Item) -> bool:
    """Whether the program marks a message, or the last part of its content, as one to be kept (``cache_control``)."""
    match value:
        case Record():
            return value.get("cache_control") is not None
        case Series(items=(*_, last)):
            return is_cached(last)
    return False


def _field(item: Item, name: str) -> Value | None:
    match item:
        case Record():
            return item.get(name)
        case Instance(attributes=attributes) if attributes is not None:
            return dict(attributes).get(name)
    return None


def content_of(content: Value, span: Span) -> Text:
    """The text of a message's content: a string, or a list of parts of which the text parts count."""
    if isinstance(content, PromptTemplate):
        content = unfilled(content, span)
    if not isinstance(content, Series):
        return text_of(content, span)
    parts: list[Text] = []
    for part in content.items:
        text = part.get("text") if isinstance(part, Record) else part if isinstance(part, Text) else None
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
            return any(_field(item, "role") is not None for item in items)
        case Input(name=name):
            return name.rpartition(".")[2] in ("prompt", "messages")
    return False
