"""The abstract values of the interpreter: what is known of a Python value without running the program.

Values that hold others hash by their shape alone: what calls did is looked up by their arguments, and to hash these
through and through would cost more than the few comparisons that a coarse hash leaves.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, TypeAlias

from charter_compiler.diagnostics.span import Span
from charter_compiler.ir.nodes import CallRef, Cause, Choice, Const, Param, Repeat, Scope, Segment, Unknown, walk

if TYPE_CHECKING:
    from charter_compiler.parser.definitions import ClassInfo, FunctionInfo
    from charter_compiler.parser.modules import Module
    from charter_compiler.parser.scope import Environment

FLOW = "\1"
"""What the name of a parameter begins with where it stands among the ``deps`` of a value; see ``Input``."""

SEGMENT_LIMIT = 2000
"""A text of more parts than this is ``Unknown``: such texts come from generated code, and joins would multiply them."""


GIVEN_LIMIT, WEIGHT_LIMIT, PATH_LIMIT = 24, 300, 400
"""Arguments, values in them and characters that an object from outside keeps of how it was made."""


TEXT_LIMIT = 1_000_000
"""Characters of constant text beyond which a text is not spelled out: a few lines can double it again and again."""


CUT_LIMIT = 64
"""Parts of a text that is cut, beyond which nothing of it is kept."""


OPTION_LIMIT = 32
"""More alternatives than this are ``Unknown``: each further branch would compare with all of them."""


@dataclass(frozen=True, slots=True)
class Text:
    """A string. ``deps`` are the calls whose results flow into it, those that segments refer to among them, and the
    parameters (``FLOW``) whose content does."""

    segments: tuple[Segment, ...]
    deps: frozenset[str] = frozenset()

    def __hash__(self) -> int:
        return hash((len(self.segments), self.deps))


@dataclass(frozen=True, slots=True)
class Plain:
    """A constant that is no string: a number, a boolean, ``None``."""

    value: object


@dataclass(frozen=True, slots=True)
class Input:
    """A value from outside, or a part of one: ``root`` is its name, ``path`` the attributes and items taken from it.

    ``touched``: code that is not read here may have changed it in place, so that its parts can differ from one use to
    the next. ``origin`` names the parameter of a function that it is, ``deps`` all parameters whose content it holds;
    ``cls`` is the class of the project that an annotation gives it.
    """

    root: str
    scope: Scope
    path: str = ""
    touched: bool = False
    origin: str = ""
    deps: frozenset[str] = frozenset()
    cls: ClassInfo | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        return self.root + self.path

    def part(self, path: str) -> Input:
        """An attribute or item of it."""
        scope: Scope = "call" if self.touched else self.scope
        return Input(self.root, scope, self.path + path, origin=self.origin, deps=self.deps)

    def shown(self, name: str, scope: Scope | None = None) -> Input:
        """A value computed from it alone, under a name of its own."""
        return Input(name, scope or self.scope, deps=self.deps)


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
    """Something imported: ``openai.OpenAI``; ``openai.OpenAI().chat`` is an attribute of what calling it gave.

    ``given`` are the arguments of that call, for the objects of the SDKs: an agent's instructions, a model's name.
    """

    path: str
    given: tuple[tuple[str | int, Value], ...] = field(default=(), repr=False)
    deps: frozenset[str] = frozenset()

    def __hash__(self) -> int:
        return hash(self.path)

    @classmethod
    def made(cls, path: str, given: Sequence[tuple[str | int, Value]]) -> External:
        """What a call gives. Objects that are made of objects, over and over, keep only what flows into them."""
        deps = deps_of(*(value for _, value in given))
        if len(given) > GIVEN_LIMIT or _weight([value for _, value in given]) > WEIGHT_LIMIT or len(path) > PATH_LIMIT:
            given = ()
        return cls(path[-PATH_LIMIT:], tuple(given), deps)

    def attribute(self, name: str) -> External:
        return External(f"{self.path}.{name}", self.given, self.deps)

    def argument(self, *slots: str | int) -> Value | None:
        """The first of these arguments that was given."""
        return next((value for slot in slots for name, value in self.given if name == slot), None)


@dataclass(frozen=True, slots=True)
class Repeated:
    """Items of a list, any number of times over."""

    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Series:
    """A list or tuple. Mutation makes a new one; names are aliases where they hold the same object."""

    items: tuple[Item, ...]
    _deps: frozenset[str] | None = field(default=None, init=False, repr=False, compare=False)
    _size: int = field(default=0, init=False, repr=False, compare=False)

    def __hash__(self) -> int:
        return hash(("series", len(self.items)))


@dataclass(frozen=True, slots=True)
class Record:
    """A dictionary with the constant string keys of ``entries``; ``rest`` holds unknown further ones, if any."""

    entries: tuple[tuple[str, Value], ...]
    rest: Value | None = None
    _deps: frozenset[str] | None = field(default=None, init=False, repr=False, compare=False)
    _size: int = field(default=0, init=False, repr=False, compare=False)

    def __hash__(self) -> int:
        return hash(tuple(name for name, _ in self.entries))

    def get(self, key: str) -> Value | None:
        return next((value for name, value in reversed(self.entries) if name == key), None)


@dataclass(frozen=True, slots=True)
class Instance:
    """An object of a class of the project. ``attributes`` are those that its constructor set; ``None`` is any object of
    the class, such as ``self``."""

    cls: ClassInfo = field(repr=False)
    attributes: tuple[tuple[str, Value], ...] | None = None
    _deps: frozenset[str] | None = field(default=None, init=False, repr=False, compare=False)
    _size: int = field(default=0, init=False, repr=False, compare=False)

    def __hash__(self) -> int:
        return hash((id(self.cls), None if self.attributes is None else len(self.attributes)))


@dataclass(frozen=True, slots=True)
class ClassRef:
    """A class of the project."""

    cls: ClassInfo = field(repr=False)


@dataclass(frozen=True, slots=True)
class FunctionRef:
    """A function of the project; ``bound`` is the object that it is a method of, ``positional`` and ``keywords`` what
    ``functools.partial`` gave it, ``closure`` the names around a nested one."""

    function: FunctionInfo = field(repr=False)
    bound: Value | None = None
    positional: tuple[Value, ...] = ()
    keywords: tuple[tuple[str, Value], ...] = ()
    closure: Environment | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class ModuleRef:
    """A module of the project."""

    module: Module = field(repr=False)


@dataclass(frozen=True, slots=True)
class Imported:
    """A name of a module of the project, looked up when it is used: imports may be circular."""

    module: Module = field(repr=False)
    name: str


@dataclass(frozen=True, slots=True)
class PromptTemplate:
    """A prompt template: roles and texts, whose fields are written in ``syntax``."""

    messages: tuple[tuple[str, Value], ...]
    syntax: str
    chat: bool = False


@dataclass(frozen=True, slots=True)
class Chain:
    """``prompt | model | parser``."""

    stages: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class FilePath:
    """The path of a file; ``opened``: the open file."""

    path: str
    opened: bool = False


@dataclass(frozen=True, slots=True)
class Either:
    """One of several values, decided at run time."""

    options: tuple[Value, ...]
    _deps: frozenset[str] | None = field(default=None, init=False, repr=False, compare=False)
    _size: int = field(default=0, init=False, repr=False, compare=False)

    def __hash__(self) -> int:
        return hash(("either", len(self.options)))


@dataclass(frozen=True, slots=True)
class Opaque:
    """Not known; ``reason`` says why, ``deps`` which calls' results flow into it; ``cause`` as that of ``Unknown``."""

    reason: str
    deps: frozenset[str] = frozenset()
    cause: Cause = ""


Value: TypeAlias = (
    Text
    | Plain
    | Input
    | Result
    | External
    | Series
    | Record
    | Instance
    | ClassRef
    | FunctionRef
    | ModuleRef
    | Imported
    | PromptTemplate
    | Chain
    | FilePath
    | Either
    | Opaque
)
Item: TypeAlias = Value | Repeated


def deps_of(*values: Item | None) -> frozenset[str]:
    """Every call whose result flows into one of the values, and every parameter (``FLOW``) whose content does."""
    if len(values) == 1:
        return _deps_of(values[0])
    return _NONE.union(*map(_deps_of, values))


_NONE: frozenset[str] = frozenset()


def _deps_of(value: Item | None) -> frozenset[str]:
    if isinstance(value, _FLAT):
        return value.deps
    if isinstance(value, Result):
        return frozenset((value.call,))
    if isinstance(value, _NESTED):
        # Asked again and again, and never another: such values do not change.
        known = value._deps
        if known is None:
            known = _NONE.union(*map(_deps_of, _parts(value)))
            object.__setattr__(value, "_deps", known)
        return known
    if isinstance(value, Repeated | Chain | PromptTemplate | FunctionRef):
        return _NONE.union(*map(_deps_of, _parts(value)))
    return _NONE


# Tuples: a union would be made anew at each of a million calls.
_FLAT = (Text, Opaque, Input, External)
_NESTED = (Series, Record, Either, Instance)
_GROWING = (*_NESTED, Chain)


def _parts(value: Item) -> Iterator[Item]:
    """The values that a value holds."""
    match value:
        case Series(items=items) | Repeated(items=items) | Either(options=items) | Chain(stages=items):
            yield from items
        case Record(entries=entries, rest=rest):
            yield from (entry for _, entry in entries)
            if rest is not None:
                yield rest
        case Instance(attributes=attributes) if attributes:
            yield from (entry for _, entry in attributes)
        case External(given=given):
            yield from (entry for _, entry in given)
        case PromptTemplate(messages=messages):
            yield from (entry for _, entry in messages)
        case FunctionRef(positional=positional, keywords=keywords):
            yield from positional
            yield from (entry for _, entry in keywords)


def bounded(value: Value) -> Value:
    """The value, or what flows into it where it is too large: objects that hold objects that hold objects."""
    if isinstance(value, _GROWING) and _weight([value]) > WEIGHT_LIMIT:
        return Opaque("a structure that is too large to be followed", deps_of(value))
    return value


def repeated(items: Iterable[Item]) -> Repeated:
    """These items any number of times over, however they are nested."""
    flat: list[Item] = []
    for item in items:
        for inner in item.items if isinstance(item, Repeated) else (item,):
            if inner not in flat:
                flat.append(inner)
    return Repeated(tuple(flat))


def _weight(values: Iterable[Item]) -> int:
    """How many values stand in these, each counted up to ``WEIGHT_LIMIT``."""
    count = 0
    for value in values:
        if count > WEIGHT_LIMIT:
            break
        match value:
            case Series() | Record() | Either() | Instance():
                if not value._size:
                    object.__setattr__(value, "_size", 1 + _weight(_parts(value)))
                count += value._size
            case Repeated() | Chain() | External() | PromptTemplate():
                count += 1 + _weight(_parts(value))
            case _:
                count += 1
    return count


def results_of(*values: Item | None) -> frozenset[str]:
    """Every call whose result flows into one of the values, without the parameters. A key decides which element is
    taken, but its content does not flow on: what is looked up by a parameter is not the parameter."""
    return frozenset(dep for dep in deps_of(*values) if not dep.startswith(FLOW))


def text_of(value: Value, span: Span) -> Text:
    """The value as ``str()`` gives it; ``span`` is where it is used, for parts that have no place of their own."""
    match value:
        case Text():
            return value
        case Plain(value=constant):
            return Text(normal((Const(str(constant), span),)))
        case Input(name=name, scope=scope, deps=deps):
            return Text((Param(name, span, scope),), deps)
        case Result(call=call, path=path, texts=texts):
            return Text((CallRef(call, span, derived=not is_text_path(path, texts)),), frozenset({call}))
        case Either(options=options):
            texts_ = [text_of(option, span) for option in options]
            return Text(choice([text.segments for text in texts_], span), deps_of(*texts_))
        case Opaque(reason=reason, deps=deps):
            return Text((Unknown(reason, span, value.cause),), deps)
        case External(path=path, deps=deps):
            return Text((Unknown(f"the value of {path} is not in this project", span, cause_of(value)),), deps)
        case PromptTemplate(messages=((_, text),)):
            return text_of(text, span)
        case Record(entries=entries) if entries:
            return _printed("a dictionary is printed here", [value for _, value in entries], value, span)
        case Series(items=items) if items:
            return _printed("a list is printed here", item_of(items), value, span)
    return Text((Unknown(f"{_KINDS.get(type(value), 'an object')} is printed here", span),), deps_of(value))


def _printed(reason: str, parts: Sequence[Value], value: Value, span: Span) -> Text:
    """A list or dictionary as ``str()`` gives it: its texts in order, and between them what is not spelled out."""
    segments: list[Segment] = [Unknown(reason, span)]
    for part in parts[:PRINTED_LIMIT]:
        if not isinstance(part, Plain):
            segments.extend((*text_of(part, span).segments, Unknown(reason, span)))
    return limited(normal(segments), deps_of(value), span)


PRINTED_LIMIT = 32
"""Parts of a list or dictionary that are shown where it is printed."""


VOLATILE = (
    "time.time", "time.strftime", "time.ctime", "time.localtime", "time.gmtime", "time.monotonic", "time.perf_counter",
    "datetime.datetime.now", "datetime.datetime.utcnow", "datetime.datetime.today", "datetime.date.today", "uuid.uuid",
    "random.", "secrets.", "os.urandom", "os.getpid", "numpy.random.", "arrow.now", "arrow.utcnow", "pendulum.now",
    "django.utils.timezone.now", "shortuuid.", "ulid.",
)  # fmt: skip
"""What is made anew each time it is called, by the beginning of its path."""

UNORDERED = ("os.listdir", "os.scandir", "os.walk", "glob.glob", "glob.iglob")
"""What gives its items in no fixed order."""


def cause_of(value: Item | None) -> Cause:
    """Why text made of the value cannot be told, where a diagnostic needs to know it."""
    match value:
        case Opaque(cause=cause):
            return cause
        case External(path=path) if "()" in path:
            return "volatile" if path.startswith(VOLATILE) else "unordered" if path.startswith(UNORDERED) else ""
        case Text(segments=(Unknown(cause=cause),)):
            return cause
    return ""


def is_text(value: Value) -> bool:
    """Whether the value is a text, or may be one."""
    return isinstance(value, Text) or (isinstance(value, Either) and any(is_text(option) for option in value.options))


def is_text_path(path: str, texts: tuple[str, ...]) -> bool:
    """Whether a part of a result is the generated text itself; ``*`` in ``texts`` stands for any name."""
    if path in texts:
        return True
    return any("*" in text and re.fullmatch(re.escape(text).replace(r"\*", r"\w*"), path) for text in texts)


_KINDS: dict[type, str] = {
    Series: "a list",
    Record: "a dictionary",
    ClassRef: "a class",
    FunctionRef: "a function",
    ModuleRef: "a module",
    PromptTemplate: "a list of messages",
    FilePath: "the path of a file",
}


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
    if sum(len(segment.text) for segment in segments if isinstance(segment, Const)) > TEXT_LIMIT:
        return Text((Unknown(f"a text of more than {TEXT_LIMIT} characters", span),), deps_of(text))
    if next(islice(walk(segments), SEGMENT_LIMIT, None), None) is not None:
        return Text((Unknown(f"a text of more than {SEGMENT_LIMIT} parts", span),), deps_of(text))
    return text


def is_short(segments: tuple[Segment, ...]) -> bool:
    """Whether a text has few enough parts to be kept where it is cut: what is cut over and over would grow for ever."""
    return next(islice(walk(segments), CUT_LIMIT, None), None) is None


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
        elif isinstance(segment, Unknown) and result and result[-1] == segment and segment.reason[0] != "\0":
            continue  # said once; but the marks of a loop (``loops``) are counted
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
    first = values[0]
    if all(value is first for value in values):
        return first
    distinct: list[Value] = []
    for value in values:
        for option in value.options if isinstance(value, Either) else (value,):
            if option not in distinct:
                distinct.append(option)
        if len(distinct) > OPTION_LIMIT:
            return Opaque(f"more than {OPTION_LIMIT} alternatives meet here", deps_of(*values))
    if len(distinct) == 1:
        return distinct[0]
    texts = [value for value in distinct if isinstance(value, Text)]
    if len(distinct) > OPTION_LIMIT or any(_is_wide(text.segments) for text in texts):
        return Opaque(f"more than {OPTION_LIMIT} alternatives meet here", deps_of(*distinct))
    if len(texts) == len(distinct):
        return limited(choice([text.segments for text in texts], span), deps_of(*texts), span)
    if any(isinstance(value, Series) for value in distinct):
        return _join_series(distinct)
    records = [value for value in distinct if isinstance(value, Record)]
    if len(records) == len(distinct) and len({record.rest for record in records}) == 1:
        return _join_records(records, span)
    return Either(tuple(distinct))


def _join_records(records: Sequence[Record], span: Span) -> Value:
    """Dictionaries that meet: a key that only some of them have is taken to be there."""
    keys = dict.fromkeys(key for record in records for key, _ in record.entries)
    entries = []
    for key in keys:
        found = [value for record in records if (value := record.get(key)) is not None]
        entries.append((key, join(found, span)))
    return Record(tuple(entries), records[0].rest)


def _join_series(values: Sequence[Value]) -> Value:
    """Lists that meet: alike items first, then any number of each of the others."""
    lists = [value.items for value in values if isinstance(value, Series)]
    if len(lists) < len(values):
        others = [value for value in values if not isinstance(value, Series)]
        if all(isinstance(value, Plain | Opaque) for value in others):  # None, where no list was made
            lists.append(tuple(value for value in others if not isinstance(value, Plain)))
        else:
            return Either(tuple(values))
    head = 0
    while all(len(items) > head for items in lists) and all(items[head] == lists[0][head] for items in lists):
        head += 1
    rest: list[Item] = []
    for items in lists:
        for item in items[head:]:
            rest.extend(inner for inner in (item.items if isinstance(item, Repeated) else (item,)) if inner not in rest)
    return Series((*lists[0][:head], Repeated(tuple(rest)))) if rest else Series(lists[0][:head])


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
