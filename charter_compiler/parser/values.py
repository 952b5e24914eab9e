"""The abstract values of the interpreter: what is known of a Python value without running the program.

Values that hold others hash by their shape alone: what calls did is looked up by their arguments, and to hash these
through and through would cost more than the few comparisons that a coarse hash leaves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from charter_compiler.ir.nodes import Cause, Scope, Segment

if TYPE_CHECKING:
    from charter_compiler.parser.definitions import ClassInfo, FunctionInfo
    from charter_compiler.parser.modules import Module
    from charter_compiler.parser.scope import Environment

FLOW = "\1"
"""What the name of a parameter begins with where it stands among the ``deps`` of a value; see ``Input``."""

GIVEN_LIMIT, WEIGHT_LIMIT, PATH_LIMIT = 24, 300, 400
"""Arguments, values in them and characters that an object from outside keeps of how it was made."""


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


def is_text(value: Value) -> bool:
    """Whether the value is a text, or may be one."""
    return isinstance(value, Text) or (isinstance(value, Either) and any(is_text(option) for option in value.options))


def item_of(items: Iterable[Item]) -> list[Value]:
    """The values that an element of the list can have, each once."""
    found: list[Value] = []
    for item in items:
        options = item_of(item.items) if isinstance(item, Repeated) else [item]
        found.extend(option for option in options if option not in found)
    return found
