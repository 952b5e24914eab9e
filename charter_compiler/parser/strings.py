"""Strings put together: ``format``, ``join`` and the other methods of ``str`` on symbolic texts."""

from __future__ import annotations

import itertools
import re
import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from charter_compiler.diagnostics.span import Span
from charter_compiler.ir.nodes import CallRef, Const, Param, Segment
from charter_compiler.parser.texts import cause_of, concat, normal, repeat, text_of
from charter_compiler.parser.values import (
    Either,
    Input,
    Instance,
    Item,
    Opaque,
    Plain,
    Record,
    Repeated,
    Result,
    Series,
    Text,
    Value,
    deps_of,
    results_of,
)

PURE_METHODS = frozenset(
    {
        "strip", "lstrip", "rstrip", "lower", "upper", "title", "capitalize", "casefold", "removeprefix",
        "removesuffix", "replace", "expandtabs", "zfill", "center", "ljust", "rjust", "swapcase",
    }
)  # fmt: skip
"""Methods of ``str`` that give a string which depends on nothing but the string and the arguments."""

READING_METHODS = PURE_METHODS | {
    "split",
    "splitlines",
    "partition",
    "rpartition",
    "rsplit",
    "get",
    "items",
    "values",
    "keys",
    "json",
}
"""Methods that read a value from outside, or a result, without changing it; the outcome depends on it alone."""


@dataclass(slots=True)
class Arguments:
    """The evaluated arguments of a call.

    ``rest`` is what ``**`` unpacks, ``open`` whether ``*`` unpacks anything; ``fields`` as for ``entry``.
    """

    positional: list[Value] = field(default_factory=list)
    keywords: dict[str, Value] = field(default_factory=dict)
    spans: dict[int | str, Span] = field(default_factory=dict)
    rest: Value | None = None
    rest_span: Span | None = None
    open: bool = False
    fields: dict[str, str] = field(default_factory=dict)

    def values(self) -> Iterator[Value]:
        yield from self.positional
        yield from self.keywords.values()
        if self.rest is not None:
            yield self.rest


_SHOWN: dict[str, Callable[[object], str]] = {"r": repr, "a": ascii, "s": str}


def constant_text(value: Value) -> str | None:
    """The string, where all of it is constant."""
    if isinstance(value, Text) and all(isinstance(segment, Const) for segment in value.segments):
        return "".join(segment.text for segment in value.segments if isinstance(segment, Const))
    return None


def constant_of(value: Value) -> tuple[bool, object]:
    """(whether the value is a constant, the constant)."""
    if isinstance(value, Plain):
        return True, value.value
    text = constant_text(value)
    return text is not None, text


def format_value(value: Value, conversion: str | None, spec: str | None, span: Span) -> Text:
    """``format(value, spec)`` after ``!r``, ``!s`` or ``!a``; ``spec`` is ``None`` where it is not constant."""
    if conversion in (None, "s") and not spec and spec is not None:
        return text_of(value, span)
    written = f"{'!' + conversion if conversion else ''}{':' + spec if spec else ''}"
    if spec is None:
        return text_of(Opaque("the format specification is made at run time", deps_of(value)), span)
    known, constant = constant_of(value)
    if known:
        shown = _SHOWN[conversion](constant) if conversion else constant
        try:
            return Text(normal((Const(format(shown, spec), span),)))
        except (ValueError, TypeError, OverflowError):
            return text_of(Opaque(f"{constant!r} cannot be formatted with {spec!r}"), span)
    if isinstance(value, Input):
        return text_of(value.shown(value.name + written), span)
    if isinstance(value, Result):
        return text_of(value.part(written), span)
    return text_of(Opaque(f"a value formatted with {written!r}", deps_of(value), cause_of(value)), span)


def format_text(template: Text, arguments: Arguments, span: Span) -> Text:
    """``template.format(...)``: every replacement field becomes the argument of its name or number."""
    parts: list[Text] = []
    numbers = itertools.count()
    for segment in template.segments:
        if not isinstance(segment, Const):
            # str.format would read braces in the value as fields, which cannot be seen from here.
            reason = "a value passes through format(), which reads braces in it as fields"
            parts.append(text_of(Opaque(reason, template.deps), segment.span))
            continue
        try:
            pieces = list(string.Formatter().parse(segment.text))
        except ValueError as error:
            reason = f"format() cannot read the template: {error}"
            return text_of(Opaque(reason, deps_of(template, *arguments.values())), span)
        for literal, name, spec, conversion in pieces:
            parts.append(Text(normal((Const(literal, segment.span),))))
            if name is not None:
                nested = "{" in (spec or "")
                value, place = _field(name or str(next(numbers)), arguments, span)
                parts.append(format_value(value, conversion, None if nested else spec or "", place))
    return concat([*parts, Text((), template.deps)], span)


def _field(name: str, arguments: Arguments, span: Span) -> tuple[Value, Span]:
    """The value of a replacement field and the place of the argument that gave it."""
    first, accesses = _split_field(name)
    value: Value
    if first.isdigit():
        index = int(first)
        if index < len(arguments.positional) and not arguments.open:
            value, place = arguments.positional[index], arguments.spans[index]
        else:
            value, place = Opaque(f"format() is given no constant number of values for {{{name}}}"), span
    elif first in arguments.keywords:
        value, place = arguments.keywords[first], arguments.spans[first]
    elif arguments.rest is not None:
        value, place = entry(arguments.rest, first, arguments.fields), arguments.rest_span or span
    else:
        value, place = Opaque(f"format() is given no value for {{{name}}}"), span
    for attribute, key in accesses:
        if isinstance(value, Input | Result):
            value = value.part(f".{key}" if attribute else f"[{key!r}]")
        elif isinstance(value, Record) and isinstance(key, str) and not attribute:
            value = entry(value, key, arguments.fields)
        else:
            value = Opaque(f"the field {{{name}}} is read at run time", deps_of(value))
    return value, place


def _split_field(name: str) -> tuple[str, list[tuple[bool, str | int]]]:
    """``a.b[0]`` as its first name and the (is an attribute, key) of each access."""
    end = min((position for position in (name.find("."), name.find("[")) if position >= 0), default=len(name))
    accesses: list[tuple[bool, str | int]] = []
    rest = name[end:]
    while rest:
        if rest[0] == ".":
            stop = min(
                (position for position in (rest.find(".", 1), rest.find("[")) if position >= 0), default=len(rest)
            )
            accesses.append((True, rest[1:stop]))
        else:
            stop = rest.find("]") + 1 or len(rest)
            key = rest[1:stop].rstrip("]")
            accesses.append((False, int(key) if key.isdigit() else key))
        rest = rest[stop:]
    return name[:end], accesses


def entry(mapping: Value, key: str, fields: dict[str, str]) -> Value:
    """The value under ``key``: known of a dictionary in the source, an ``Input`` otherwise.

    That is named after the key alone, ``company`` rather than ``row['company']``. ``fields`` keeps for each such name
    in the function what it belongs to: the same key of another mapping must not look like the same value.
    """
    match mapping:
        case Record():
            value = mapping.get(key)
            if mapping.rest is not None:
                rest = entry(mapping.rest, key, fields)
                return rest if value is None else Opaque(f"{key} may be overwritten", deps_of(value, rest))
            return Opaque(f"the dictionary has no constant key {key!r}") if value is None else value
        case Input(name=name):
            part = mapping.part(f"[{key!r}]")
            return part.shown(key) if fields.setdefault(key, name) == name else part
        case Result():
            return mapping.part(f"[{key!r}]")
        case Instance(attributes=attributes) if attributes is not None and key in dict(attributes):
            return dict(attributes)[key]
        case Either(options=options):
            return Either(tuple(entry(option, key, fields) for option in options))
        case Opaque(deps=deps) if not results_of(mapping):
            # What the mapping is cannot be seen; that the field is a value from outside the template can.
            return Input(key, "call", deps=deps)
    return Opaque(f"the value of the field {key} is not known", deps_of(mapping))


def join_text(separator: Text, items: Value, span: Span) -> Text | None:
    """``separator.join(items)`` where the items are those of a list in the source. In a repetition the separator is
    counted after each item."""
    if not isinstance(items, Series):
        return None
    parts: list[Text] = []
    for index, item in enumerate(items.items):
        if isinstance(item, Repeated):
            parts.append(repeat(_repeated(item.items, separator, span), span))
            continue
        parts.append(text_of(item, span))
        if index + 1 < len(items.items):
            parts.append(separator)
    return concat(parts, span)


def _repeated(items: Sequence[Item], separator: Text, span: Span) -> Text:
    parts: list[Text] = []
    for item in items:
        if isinstance(item, Repeated):
            parts.append(repeat(_repeated(item.items, separator, span), span))
        else:
            parts.extend((text_of(item, span), separator))
    return concat(parts, span)


def method_of_text(text: Text, method: str, arguments: Arguments, span: Span) -> Value:
    """What a method of ``str`` gives on a symbolic text."""
    deps = deps_of(text, *arguments.values())
    if method == "format":
        return format_text(text, arguments, span)
    if method == "format_map" and len(arguments.positional) == 1:
        return format_text(text, replace(arguments, positional=[], rest=arguments.positional[0], rest_span=span), span)
    if method == "join" and len(arguments.positional) == 1:
        items = arguments.positional[0]
        joined = join_text(text, items, span)
        if joined is not None:
            return joined
        separator = constant_text(text)
        if isinstance(items, Input) and separator is not None:
            return items.shown(f"{separator!r}.join({items.name})")
        if isinstance(items, Result) and separator is not None:
            return Result(items.call, f"{separator!r}.join({items.path})", items.texts)
        return text_of(Opaque("a list that is made at run time is joined here", deps, cause_of(items)), span)
    constant = constant_text(text)
    known = [constant_of(value) for value in arguments.values()]
    if constant is None and method == "replace" and len(arguments.positional) >= 2:
        replaced = _replaced(text, arguments, span)
        if replaced is not None:
            return replaced
    if constant is not None and method == "replace" and known[0][0] and not known[1][0]:
        return _replaced(text, arguments, span) or text_of(Opaque("replace() is done at run time", deps), span)
    if constant is None and method in _STRIPPING and all(found for found, _ in known):
        return _stripped(text, method, [value for _, value in known])
    if constant is not None and method in _SPLITTING and all(found for found, _ in known) and not arguments.keywords:
        try:
            pieces = getattr(constant, method)(*(value for _, value in known))
        except (TypeError, ValueError, OverflowError):
            return Opaque(f".{method}() fails on this text")
        return Series(tuple(Text(normal((Const(piece, _place(text, span)),))) for piece in pieces))
    if method in PURE_METHODS and constant is not None and all(found for found, _ in known) and not arguments.keywords:
        try:
            return Text(normal((Const(getattr(constant, method)(*(value for _, value in known)), _place(text, span)),)))
        except (TypeError, ValueError, OverflowError, MemoryError):
            return Opaque(f".{method}() fails on this text")
    unknown = Opaque(f".{method}() on a text is done at run time", deps)
    return text_of(unknown, span) if method in PURE_METHODS else unknown


_STRIPPING = frozenset({"strip", "lstrip", "rstrip"})
_SPLITTING = frozenset({"split", "rsplit", "splitlines", "partition", "rpartition"})


def _replaced(text: Text, arguments: Arguments, span: Span) -> Text | None:
    """``text.replace(old, new)`` in the constant parts; ``None`` where ``old`` is not constant. A value that is filled
    in could hold ``old`` as well; that is taken to be what the author did not mean."""
    old = constant_text(arguments.positional[0])
    if not old:
        return None
    new = text_of(arguments.positional[1], span)
    parts: list[Text] = [Text((), text.deps)]
    for segment in text.segments:
        if not isinstance(segment, Const) or old not in segment.text:
            parts.append(Text((segment,)))
            continue
        first, *others = segment.text.split(old)
        parts.append(Text(normal((Const(first, segment.span),))))
        for other in others:
            parts.extend((new, Text(normal((Const(other, segment.span),)))))
    return concat(parts, span)


def _stripped(text: Text, method: str, arguments: list[object]) -> Text:
    """The text with its ends stripped, as far as they are constant."""
    segments = list(text.segments)
    for index, strip in ((0, str.lstrip), (-1, str.rstrip)):
        if method != "strip" and method != strip.__name__:
            continue
        end = segments[index] if segments else None
        if isinstance(end, Const):
            segments[index] = Const(strip(end.text, *arguments), end.span)  # type: ignore[arg-type]
        elif isinstance(end, Param):
            segments[index] = Param(f"{end.name}.{strip.__name__}()", end.span, end.scope)
        elif isinstance(end, CallRef):
            segments[index] = CallRef(end.id, end.span, derived=True)
    return Text(normal(segments), text.deps)


_PERCENT = re.compile(
    r"%(?:\((?P<key>[^)]*)\))?(?P<spec>[#0\- +]*(?:\*|\d+)?(?:\.(?:\*|\d+))?)[hlL]?(?P<kind>[%a-zA-Z])"
)


def percent_text(template: Text, value: Value, fields: dict[str, str], span: Span) -> Text | None:
    """``template % value``; ``None`` where the template has parts that are not constant before a field, or a form that
    is not understood."""
    values = list(value.items) if isinstance(value, Series) else [value]
    position = 0
    parts: list[Text] = [Text((), template.deps)]
    for segment in template.segments:
        if not isinstance(segment, Const):
            parts.append(Text((segment,)))
            continue
        end = 0
        for match in _PERCENT.finditer(segment.text):
            parts.append(Text(normal((Const(segment.text[end : match.start()], segment.span),))))
            end = match.end()
            if match["kind"] == "%":
                parts.append(Text((Const("%", segment.span),)))
                continue
            if match["key"] is not None:
                taken: Item = entry(value, match["key"], fields)
            elif position < len(values):
                taken = values[position]
                position += 1
            else:
                return None
            if isinstance(taken, Repeated):
                return None
            if match["spec"] or match["kind"] != "s":
                known, constant = constant_of(taken)
                if known:
                    try:
                        parts.append(Text(normal((Const(match[0] % constant, segment.span),))))
                    except (TypeError, ValueError, OverflowError, MemoryError):
                        return None
                    continue
                parts.append(_shown_by(match["spec"], match["kind"], taken, span))
                continue
            parts.append(text_of(taken, span))
        parts.append(Text(normal((Const(segment.text[end:], segment.span),))))
    return concat(parts, span)


def _shown_by(spec: str, kind: str, value: Value, span: Span) -> Text:
    """A value in a field such as ``%r`` or ``%d``; one with a width or precision is not the value as it stands."""
    if not spec and kind in "rad" and kind != "d":
        return format_value(value, kind, "", span)
    if not spec and kind in "di":
        return text_of(value, span)
    return text_of(Opaque(f"a value formatted with '%{spec}{kind}'", deps_of(value)), span)


def _place(text: Text, span: Span) -> Span:
    """Where a transformed constant stands: its own place if it has one, else that of the expression."""
    segments: tuple[Segment, ...] = text.segments
    return segments[0].span if len(segments) == 1 else span


def transformed(value: Value, method: str, arguments: Sequence[str], keyword: Mapping[str, Value]) -> Value | None:
    """``value.method(arguments)`` of a value from outside or a result; ``None`` for a method that is not known."""
    if method not in READING_METHODS or keyword:
        return None
    path = f".{method}({', '.join(arguments)})"
    return value.part(path) if isinstance(value, Input | Result) else None
