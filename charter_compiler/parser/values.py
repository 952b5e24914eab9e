"""The abstract values of the interpreter: what is known of a Python value without running the program."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, TypeAlias

from charter_compiler.diagnostics.span import Span
from charter_compiler.ir.nodes import CallRef, Choice, Const, Param, Repeat, Scope, Segment, Unknown, walk

if TYPE_CHECKING:
    from charter_compiler.parser.classes import ClassInfo

SEGMENT_LIMIT = 2000
"""A text of more parts than this is ``Unknown``: such texts come from generated code, and joins would multiply them."""


OPTION_LIMIT = 32
"""More alternatives than this are ``Unknown``: each further branch would compare with all of them."""


@dataclass(frozen=True, slots=True)
class Text:
    """A string. ``deps`` are calls whose results flow into it where no segment refers to them."""

    segments: tuple[Segment, ...]
    deps: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Plain:
    """A constant that is no string: a number, a boolean, ``None``."""

    value: object


@dataclass(frozen=True, slots=True)
class Input:
    """A value from outside, or a part of one: ``root`` is its name, ``path`` the attributes and items taken from it.

    ``touched``: code that is not read here may have changed it in place, so that its parts can differ from one use to
    the next.
    """

    root: str
    scope: Scope
    path: str = ""
    touched: bool = False

    @property
    def name(self) -> str:
        return self.root + self.path

    def part(self, path: str) -> Input:
        """An attribute or item of it."""
        return Input(self.root, "call" if self.touched else self.scope, self.path + path)


@dataclass(frozen=True, slots=True)
class Result:
    """What a model call returned, or a part of it (``path``). ``texts`` are the paths that hold the generated text."""

    call: str
    path: str = ""
    texts: tuple[str, ...] = ("",)

    def part(self, path: str) -> Result:
        """Something read from it."""
        return Result(self.call, self.path + path, self.texts)


@dataclass(frozen=True, slots=True)
class External:
    """Something imported: ``openai.OpenAI``; ``openai.OpenAI().chat`` is an attribute of what calling it gave."""

    path: str


@dataclass(frozen=True, slots=True)
class Repeated:
    """Items of a list, any number of times over."""

    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Series:
    """A list or tuple. Mutation makes a new one; names are aliases where they hold the same object."""

    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Record:
    """A dictionary with the constant string keys of ``entries``; ``rest`` holds unknown further ones, if any."""

    entries: tuple[tuple[str, Value], ...]
    rest: Value | None = None

    def get(self, key: str) -> Value | None:
        return next((value for name, value in reversed(self.entries) if name == key), None)


@dataclass(frozen=True, slots=True)
class Instance:
    """``self`` of a class of this file."""

    cls: ClassInfo = field(repr=False)


@dataclass(frozen=True, slots=True)
class ClassRef:
    """A class of this file."""

    cls: ClassInfo = field(repr=False)


@dataclass(frozen=True, slots=True)
class Either:
    """One of several values, decided at run time."""

    options: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Opaque:
    """Not known; ``reason`` says why, ``deps`` which calls' results flow into it."""

    reason: str
    deps: frozenset[str] = frozenset()


Value: TypeAlias = Text | Plain | Input | Result | External | Series | Record | Instance | ClassRef | Either | Opaque
Item: TypeAlias = Value | Repeated


def deps_of(*values: Item | None) -> frozenset[str]:
    """Every call whose result flows into one of the values."""
    found: set[str] = set()
    for value in values:
        match value:
            case Text(segments=segments, deps=deps):
                found |= deps
                found.update(segment.id for segment in walk(segments) if isinstance(segment, CallRef))
            case Result(call=call):
                found.add(call)
            case Series(items=items) | Repeated(items=items) | Either(options=items):
                found |= deps_of(*items)
            case Record(entries=entries, rest=rest):
                found |= deps_of(rest, *(entry for _, entry in entries))
            case Opaque(deps=deps):
                found |= deps
    return frozenset(found)


def text_of(value: Value, span: Span) -> Text:
    """The value as ``str()`` gives it; ``span`` is where it is used, for parts that have no place of their own."""
    match value:
        case Text():
            return value
        case Plain(value=constant):
            return Text(normal((Const(str(constant), span),)))
        case Input(name=name, scope=scope):
            return Text((Param(name, span, scope),))
        case Result(call=call, path=path, texts=texts):
            return Text((CallRef(call, span, derived=path not in texts),))
        case Either(options=options):
            texts_ = [text_of(option, span) for option in options]
            return Text(choice([text.segments for text in texts_], span), deps_of(*texts_))
        case Opaque(reason=reason, deps=deps):
            return Text((Unknown(reason, span),), deps)
        case External(path=path):
            return Text((Unknown(f"the value of {path} is not in this file", span),))
    kind = {Series: "a list", Record: "a dictionary", Instance: "an object", ClassRef: "a class"}[type(value)]
    return Text((Unknown(f"{kind} is printed here", span),), deps_of(value))


def concat(texts: Iterable[Text], span: Span) -> Text:
    """The texts one after the other."""
    segments: list[Segment] = []
    deps: set[str] = set()
    for text in texts:
        segments.extend(text.segments)
        deps |= text.deps
    return limited(normal(segments), frozenset(deps), span)


def limited(segments: tuple[Segment, ...], deps: frozenset[str], span: Span) -> Text:
    """A text, or an unknown one where it has more than ``SEGMENT_LIMIT`` parts."""
    text = Text(segments, deps)
    if next(islice(walk(segments), SEGMENT_LIMIT, None), None) is not None:
        return Text((Unknown(f"a text of more than {SEGMENT_LIMIT} parts", span),), deps_of(text))
    return text


def normal(segments: Iterable[Segment]) -> tuple[Segment, ...]:
    """Without empty constants, and with neighbouring constants of one place joined."""
    result: list[Segment] = []
    for segment in segments:
        if isinstance(segment, Const):
            if not segment.text:
                continue
            last = result[-1] if result else None
            if isinstance(last, Const) and last.span == segment.span:
                result[-1] = Const(last.text + segment.text, last.span)
                continue
        result.append(segment)
    return tuple(result)


def choice(options: Sequence[tuple[Segment, ...]], span: Span) -> tuple[Segment, ...]:
    """One of the sequences: what all begin and end with is said once, the rest becomes a ``Choice``."""
    distinct = list(dict.fromkeys(alternative for option in options for alternative in _alternatives(option)))
    if len(distinct) == 1:
        return distinct[0]
    shortest = min(len(option) for option in distinct)
    head = 0
    while head < shortest and len({option[head] for option in distinct}) == 1:
        head += 1
    tail = 0
    while tail < shortest - head and len({option[-1 - tail] for option in distinct}) == 1:
        tail += 1
    first = distinct[0]
    middle = tuple(option[head : len(option) - tail] for option in distinct)
    return (*first[:head], Choice(middle, span), *first[len(first) - tail :])


def _is_wide(segments: tuple[Segment, ...]) -> bool:
    return any(isinstance(segment, Choice) and len(segment.options) > OPTION_LIMIT for segment in segments)


def _alternatives(option: tuple[Segment, ...]) -> tuple[tuple[Segment, ...], ...]:
    """An option that is itself nothing but a choice counts as the options of that."""
    match option:
        case (Choice(options=options),):
            return options
    return (option,)


def join(values: Sequence[Value], span: Span) -> Value:
    """The value where several paths of the program meet at ``span``."""
    distinct: list[Value] = []
    for value in values:
        for option in value.options if isinstance(value, Either) else (value,):
            if option not in distinct:
                distinct.append(option)
    if len(distinct) == 1:
        return distinct[0]
    texts = [value for value in distinct if isinstance(value, Text)]
    if len(distinct) > OPTION_LIMIT or any(_is_wide(text.segments) for text in texts):
        return Opaque(f"more than {OPTION_LIMIT} alternatives meet here", deps_of(*distinct))
    if len(texts) == len(distinct):
        return limited(choice([text.segments for text in texts], span), deps_of(*texts), span)
    if any(isinstance(value, Series) for value in distinct):
        return _join_series(distinct)
    return Either(tuple(distinct))


def _join_series(values: Sequence[Value]) -> Value:
    """Lists that meet: alike items first, then the rest, of which only the calls that flow into it are kept."""
    lists = [value.items for value in values if isinstance(value, Series)]
    reason = "the list differs from branch to branch"
    if len(lists) < len(values):
        return Opaque(reason, deps_of(*values))
    head = 0
    while all(len(items) > head for items in lists) and all(items[head] == lists[0][head] for items in lists):
        head += 1
    rest = Opaque(reason, deps_of(*(item for items in lists for item in items[head:])))
    return Series((*lists[0][:head], Repeated((rest,))))


def repeat(text: Text, span: Span) -> Text:
    """The text any number of times."""
    return Text((Repeat(text.segments, span),), text.deps) if text.segments else text


def item_of(items: Iterable[Item]) -> list[Value]:
    """The values that an element of the list can have, each once."""
    found: list[Value] = []
    for item in items:
        options = item_of(item.items) if isinstance(item, Repeated) else [item]
        found.extend(option for option in options if option not in found)
    return found
