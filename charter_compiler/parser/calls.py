"""Calls of the project's own functions: which of them carry a prompt to a model, and what they return.

A function is read on its own, with its parameters as values from outside: that finds its call sites, which parameters
travel to a model (``FunctionInfo.prompts``), and what it returns in general. ``Instantiation`` puts the arguments of a
call into that. Only where it loses something is the function read again for the call, inline (``inlining``), bounded by
depth and by the number of statements.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from charter_compiler.diagnostics.span import Span
from charter_compiler.ir.nodes import CallRef, Choice, Const, Param, Repeat, Segment, walk
from charter_compiler.parser import sdk
from charter_compiler.parser.definitions import FunctionInfo
from charter_compiler.parser.sdk.injected import is_client_name
from charter_compiler.parser.strings import Arguments
from charter_compiler.parser.texts import choice, normal, text_of
from charter_compiler.parser.values import (
    Chain,
    ClassRef,
    Either,
    External,
    FunctionRef,
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
    bounded,
    deps_of,
    results_of,
)

DEPTH_LIMIT = 2
"""Functions inside functions that are read inline; of those further in, what they do in general counts."""

NESTING_LIMIT = 14
"""Functions inside functions in all, what they do in general being found out in between: each takes some of Python's
own stack."""

BUDGET = 20_000
"""Statements that are read inline for a whole project, besides one for each of its lines."""

FUEL = 1500
"""Statements that are read inline for one function that is analyzed on its own."""


@dataclass(frozen=True, slots=True)
class Bound:
    """The arguments of a call by the names of the parameters; ``places`` is where each stands."""

    values: dict[str, Value]
    places: dict[str, Span]


def bind(ref: FunctionRef, arguments: Arguments, span: Span) -> Bound:
    """Give the arguments to the parameters. A parameter that gets nothing is left out: its default counts."""
    node = ref.function.node
    positional = ref.function.positional
    bound = Bound({}, {})
    given: list[tuple[Value, Span]] = []
    if ref.bound is not None and positional:
        given.append((ref.bound, span))
    given.extend((value, span) for value in ref.positional)
    given.extend((value, arguments.spans.get(index, span)) for index, value in enumerate(arguments.positional))
    if arguments.open and given:
        # What `*` unpacks may fill any of the parameters from there on.
        value, place = given[-1]
        elements = list(value.items) if isinstance(value, Series) else []
        given.pop()
        if isinstance(value, Series) and not any(isinstance(each, Repeated) for each in elements):
            given.extend((each, place) for each in elements if not isinstance(each, Repeated))
        else:
            rest = value if isinstance(value, Input) else Opaque("unpacked from a list", deps_of(value))
            given.extend((rest, place) for _ in range(max(0, len(positional) - len(given))))
    for name, (value, place) in zip(positional, given, strict=False):
        bound.values[name], bound.places[name] = bounded(value), place
    if node.args.vararg is not None:
        extra = given[len(positional) :]
        bound.values[node.args.vararg.arg] = Series(tuple(value for value, _ in extra))
        bound.places[node.args.vararg.arg] = extra[0][1] if extra else span
    names = ref.function.named
    keywords = {**dict(ref.keywords), **arguments.keywords}
    others: list[tuple[str, Value]] = []
    for name, value in keywords.items():
        if name in names:
            bound.values[name], bound.places[name] = bounded(value), arguments.spans.get(name, span)
        else:
            others.append((name, value))
    if arguments.rest is not None:
        for name in names - set(bound.values):
            bound.values[name] = _part(arguments.rest, name)
            bound.places[name] = arguments.rest_span or span
    if node.args.kwarg is not None:
        bound.values[node.args.kwarg.arg] = Record(tuple(others), arguments.rest)
        bound.places[node.args.kwarg.arg] = arguments.spans.get(others[0][0], span) if others else span
    return bound


def _part(mapping: Value, name: str) -> Value:
    match mapping:
        case Record() if (value := mapping.get(name)) is not None:
            return value
        case Input():
            return mapping.part(f"[{name!r}]")
    return Opaque(f"{name} is unpacked from a dictionary", deps_of(mapping))


def carried_prompts(function: FunctionInfo, bound: Bound) -> list[tuple[str, Value, Span]]:
    """(role, value, place) of the arguments whose content travels to a model, in the order of the parameters."""
    found: list[tuple[str, Value, Span]] = []
    for parameter in function.parameters:
        role = function.prompts.get(parameter.arg)
        value = bound.values.get(parameter.arg)
        if role is None or value is None or not has_content(value):
            continue
        place = bound.places[parameter.arg]
        if parameter is function.node.args.vararg and isinstance(value, Series):
            each = [item for item in value.items if not isinstance(item, Repeated) and has_content(item)]
            found.extend((role, item, place) for item in each)
        else:
            found.append((role, value, place))
    # What is sent as the system's message comes first, wherever the parameter stands.
    return sorted(found, key=lambda each: each[0] != "system")


NO_CONTENT = frozenset(
    {
        "client", "model", "model_name", "model_id", "engine", "temperature", "max_tokens", "top_p", "n", "seed",
        "api_key", "tokenizer", "verbose", "logger", "stop", "provider", "timeout", "stream", "cls",
    }
)  # fmt: skip
"""Parameters that by their name set up a call and are no part of its prompt."""


def is_content(info: FunctionInfo, name: str) -> bool:
    """Whether a parameter can be a part of a prompt: not a setting by its name, nor a number or a flag by its
    annotation or default."""
    if name in NO_CONTENT or name == info.own or is_client_name(name):
        return False
    arguments = info.node.args
    for parameter in info.parameters:
        if parameter.arg == name:
            match parameter.annotation:
                case ast.Name(id="int" | "float" | "bool"):
                    return False
            positional = [*arguments.posonlyargs, *arguments.args]
            default: ast.expr | None = None
            if parameter in positional:
                index = positional.index(parameter) - (len(positional) - len(arguments.defaults))
                default = arguments.defaults[index] if index >= 0 else None
            elif parameter in arguments.kwonlyargs:
                default = arguments.kw_defaults[arguments.kwonlyargs.index(parameter)]
            return not (isinstance(default, ast.Constant) and isinstance(default.value, int | float))
    return True


def has_content(value: Value) -> bool:
    """Whether a value can be a part of a prompt: no function, no number, nothing empty."""
    match value:
        case Plain() | Instance(attributes=None) | FunctionRef():
            return False
        case Series(items=()) | Record(entries=(), rest=None) | Text(segments=()):
            return False
        case Instance(attributes=attributes) if attributes is not None:
            return bool(deps_of(value)) or any(has_content(each) for _, each in attributes)
        case Either(options=options):
            return any(has_content(option) for option in options)
    return True


def seen_from_outside(value: Value, outer: Value, known: frozenset[str]) -> Value:
    """A value that a wrapper returned, as its caller sees it: results of calls inside are the result ``outer`` of the
    call of the wrapper. ``known`` are the results that were handed in."""
    if not isinstance(outer, Result):
        return value
    inner = results_of(value) - known
    if not inner:
        # Nothing of the model's text could be followed to what is returned: take it that it is there.
        return value if value == Plain(None) else outer
    return _renamed(value, inner, outer)


def _renamed(value: Value, inner: frozenset[str], outer: Result) -> Value:
    def again(each: Value) -> Value:
        return _renamed(each, inner, outer)

    def item(each: Item) -> Item:
        return Repeated(tuple(item(one) for one in each.items)) if isinstance(each, Repeated) else again(each)

    def keys(deps: frozenset[str]) -> frozenset[str]:
        return (deps - inner) | {outer.call} if deps & inner else deps

    match value:
        case Result(call=call) if call in inner:
            return Result(outer.call, value.path, value.texts)
        case Text(segments=segments, deps=deps):
            return Text(tuple(_segment(segment, inner, outer) for segment in segments), keys(deps))
        case Opaque(deps=deps):
            return Opaque(value.reason, keys(deps))
        case Input(deps=deps):
            return replace(value, deps=keys(deps))
        case Series(items=items):
            return Series(tuple(item(each) for each in items))
        case Record(entries=entries, rest=rest):
            return Record(tuple((name, again(each)) for name, each in entries), None if rest is None else again(rest))
        case Either(options=options):
            return Either(tuple(again(option) for option in options))
        case Instance(attributes=attributes) if attributes:
            return Instance(value.cls, tuple((name, again(each)) for name, each in attributes))
    return Opaque("made from what a call returned", keys(deps_of(value))) if deps_of(value) & inner else value


def _segment(segment: Segment, inner: frozenset[str], outer: Result) -> Segment:
    match segment:
        case CallRef(id=call) if call in inner:
            return replace(segment, id=outer.call)
        case Choice(options=options):
            return replace(
                segment, options=tuple(tuple(_segment(each, inner, outer) for each in option) for option in options)
            )
        case Repeat(segments=segments):
            return replace(segment, segments=tuple(_segment(each, inner, outer) for each in segments))
    return segment


_CALLABLE = (FunctionRef, Instance, Either, External, ClassRef, Chain)


def interesting(value: Value) -> Iterable[Value]:
    """What a parameter may be called as, or have methods of: functions, objects and clients."""
    return _interesting(value) if isinstance(value, _CALLABLE) else ()


def _interesting(value: Value) -> Iterator[Value]:
    match value:
        case FunctionRef(bound=bound):
            owner = Instance(bound.cls) if isinstance(bound, Instance) else bound
            yield replace(value, closure=None, bound=owner)
        case Instance(cls=cls):
            yield Instance(cls)
        case Either(options=options):
            for option in options:
                yield from interesting(option)
        case External(path=path) if path.endswith("()") and sdk.is_module(path.partition(".")[0]):
            yield value
        case ClassRef() | Chain():
            yield value


class Instantiation:
    """What a function does in general, for the arguments of one call: its parameters become these.

    ``lost`` is set where reading the function again for these arguments could tell more: where it takes a text, a list
    or an object apart that the call spells out.
    """

    def __init__(self, info: FunctionInfo, bound: Bound) -> None:
        self._name = info.name
        self._flows = info.flows
        self._values = bound.values
        self.lost = False

    def value(self, value: Value) -> Value:
        """The value with the arguments in it."""
        match value:
            case Plain():
                return value
            case Input(origin=origin, path=path) if origin in self._flows:
                return self._part(self._flows[origin], path)
            case Input(deps=deps) if deps & self._flows.keys():
                self._note(deps)
                return Opaque(f"{value.name} of {self._name}()", self._deps(deps))
            case Opaque(deps=deps):
                self._note(deps)
                return Opaque(value.reason, self._deps(deps))
            case Text(segments=segments, deps=deps):
                if not deps & self._flows.keys() and not _has_param(segments):
                    return value
                return Text(normal(self._segments(segments)), self._deps(deps))
            case Series(items=items):
                return Series(tuple(self._item(each) for each in items))
            case Record(entries=entries, rest=rest):
                changed = tuple((name, self.value(each)) for name, each in entries)
                return Record(changed, None if rest is None else self.value(rest))
            case Either(options=options):
                return Either(tuple(self.value(option) for option in options))
            case Instance(attributes=attributes) if attributes:
                return Instance(value.cls, tuple((name, self.value(each)) for name, each in attributes))
            case External(given=given) if value.deps & self._flows.keys():
                return External.made(value.path, tuple((slot, self.value(each)) for slot, each in given))
            case PromptTemplate(messages=messages):
                changed = tuple((role, self.value(each)) for role, each in messages)
                return PromptTemplate(changed, value.syntax, value.chat)
            case Chain(stages=stages):
                return Chain(tuple(self.value(each) for each in stages))
        if deps_of(value) & self._flows.keys():
            self.lost = True
        return value

    def _item(self, item: Item) -> Item:
        if isinstance(item, Repeated):
            return Repeated(tuple(self._item(each) for each in item.items))
        return self.value(item)

    def _part(self, name: str, path: str) -> Value:
        value = self._values.get(name)
        if value is None:
            self.lost = True  # its default is known when the function is read
            return Opaque(f"{name}{path} of {self._name}()")
        if not path:
            return value
        if isinstance(value, Input | Result):
            return value.part(path)
        self.lost |= is_rich(value)
        return Opaque(f"{name}{path} of {self._name}()", deps_of(value))

    def _note(self, deps: frozenset[str]) -> None:
        for flow in deps & self._flows.keys():
            value = self._values.get(self._flows[flow])
            self.lost |= value is None or is_rich(value)

    def _deps(self, deps: frozenset[str]) -> frozenset[str]:
        flows = deps & self._flows.keys()
        if not flows:
            return deps
        return (deps - flows) | deps_of(*(self._values.get(self._flows[flow]) for flow in flows))

    def _segments(self, segments: Iterable[Segment]) -> Iterator[Segment]:
        for segment in segments:
            match segment:
                case Param(name=name, span=span):
                    root, path = _split(name, self._flows.values())
                    if root is None:
                        yield segment
                    else:
                        yield from text_of(self._part(root, path), span).segments
                case Choice(options=options):
                    changed = [normal(self._segments(option)) for option in options]
                    yield from choice(changed, segment.span)
                case Repeat(segments=inner, span=span):
                    repeated = normal(self._segments(inner))
                    if repeated:
                        yield Repeat(repeated, span)
                case _:
                    yield segment


def _split(name: str, parameters: Iterable[str]) -> tuple[str | None, str]:
    """A value named after a parameter, as the parameter and what is read from it."""
    for parameter in parameters:
        if name == parameter:
            return parameter, ""
        if name.startswith((f"{parameter}.", f"{parameter}[")):
            return parameter, name[len(parameter) :]
    return None, ""


def is_rich(value: Value) -> bool:
    """Whether the call spells out what a function could take apart."""
    match value:
        case Text(segments=segments):
            return any(isinstance(segment, Const) for segment in segments)
        case Series(items=items):
            return bool(items)
        case Record(entries=entries):
            return bool(entries)
        case Instance(attributes=attributes):
            return bool(attributes)
        case Either(options=options):
            return any(is_rich(option) for option in options)
        case PromptTemplate() | Chain() | FunctionRef() | ClassRef():
            return True
    return False


def _has_param(segments: tuple[Segment, ...]) -> bool:
    return any(isinstance(segment, Param) for segment in walk(segments))
