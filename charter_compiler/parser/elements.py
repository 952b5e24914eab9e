"""Elements: what ``value[key]`` is, for every kind of value."""

from __future__ import annotations

from collections.abc import Iterable

from charter_compiler.diagnostics.span import Span
from charter_compiler.ir.nodes import Const
from charter_compiler.parser import sdk
from charter_compiler.parser.joins import join
from charter_compiler.parser.scope import Frame
from charter_compiler.parser.strings import constant_text, entry
from charter_compiler.parser.texts import is_short, normal, text_of
from charter_compiler.parser.values import (
    ClassRef,
    Either,
    External,
    Input,
    Item,
    Opaque,
    Record,
    Repeated,
    Result,
    Series,
    Text,
    Value,
    deps_of,
    item_of,
    repeated,
    results_of,
)


def part_of(value: Value, written: str | None, key: object, parts: list[Value], frame: Frame) -> Value:
    """``value[...]``; ``written`` is the key as text where it is constant."""
    match value:
        case Input() | Result() if written is not None:
            return value.part(f"[{written}]")
        case Record() if isinstance(key, str):
            return entry(value, key, frame.fields)
        case Record(entries=entries, rest=None) if entries and written is None:
            return join([each for _, each in entries], entries_span(entries, frame))
        case Series(items=items) if isinstance(key, int) and not any(isinstance(item, Repeated) for item in items):
            if -len(items) <= key < len(items):
                picked = items[key]
                if not isinstance(picked, Repeated):
                    return picked
        case Series(items=items) if isinstance(key, int) and (at_end := _at_an_end(items, key)) is not None:
            return at_end
        case Series(items=items) if items and (key is None or isinstance(key, int)) and written != ":":
            if len(parts) == 1 and not isinstance(parts[0], Series):
                return join(item_of(items), entries_span((), frame))
            return Series((repeated(item_of(items)),))
        case Series():
            return Series(value.items)
        case Text(segments=segments) if (
            constant_text(value) is None and key is None and segments and is_short(segments)
        ):
            return Text((*segments, *text_of(Opaque("the text is cut here"), segments[-1].span).segments), value.deps)
        case Text() if (constant := constant_text(value)) is not None and isinstance(key, int):
            if -len(constant) <= key < len(constant):
                return Text(normal((Const(constant[key], value.segments[0].span),)))
        case ClassRef(cls=cls):  # an enumeration, by name; or a generic class
            named = cls.constant(key) if isinstance(key, str) else None
            return named if named is not None else value
        case External() if value.path.startswith(("typing.", "builtins.")):
            return value
        case External(path=path) if value.given or sdk.is_module(path.partition(".")[0]):
            return External(f"{path}[]", value.given, value.deps)
        case Either(options=options):
            return Either(tuple(part_of(option, written, key, parts, frame) for option in options))
    return Opaque("an element is picked at run time", deps_of(value) | results_of(*parts))


def _at_an_end(items: tuple[Item, ...], key: int) -> Value | None:
    """The element that a number picks where only items further inside are repeated."""
    passed = items[: key + 1] if key >= 0 else items[key:]
    if len(passed) != (key + 1 if key >= 0 else -key) or any(isinstance(item, Repeated) for item in passed):
        return None
    picked = items[key]
    return None if isinstance(picked, Repeated) else picked


def entries_span(entries: Iterable[tuple[str, Value]], frame: Frame) -> Span:
    """A place for a choice among the values of a dictionary: that of the first text in it, else the file's start."""
    for _, value in entries:
        if isinstance(value, Text) and value.segments:
            return value.segments[0].span
    return Span(frame.module.label, 1, 1, 1, 1)
