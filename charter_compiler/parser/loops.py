"""Loops: what a name holds at the start of any turn.

The body is read twice. The first reading starts with a mark in each name that the loop changes; where the mark stands
afterwards tells what a turn does: the text only grew at its end (the start, then a repetition), or it was replaced (the
start, or what the turn before left). Anything else is unknown. The second reading starts from that.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from charter_compiler.diagnostics.span import Span
from charter_compiler.ir.nodes import Choice, Param, Repeat, Segment, Unknown
from charter_compiler.parser.expressions import Evaluator
from charter_compiler.parser.joins import join
from charter_compiler.parser.scope import Environment, Frame, LoopExits, changed_names, used_objects
from charter_compiler.parser.texts import concat, text_of
from charter_compiler.parser.values import (
    Chain,
    Either,
    External,
    FunctionRef,
    Input,
    Instance,
    Item,
    Opaque,
    PromptTemplate,
    Record,
    Repeated,
    Series,
    Text,
    Value,
    deps_of,
)

if TYPE_CHECKING:
    from charter_compiler.parser.interpreter import Interpreter

DEPTH_LIMIT = 5
"""Loops nested deeper are read once, without what earlier turns leave: each level doubles the work."""


class StatementReader(Protocol):
    """What a loop needs of the executor of statements."""

    evaluator: Evaluator
    interpreter: Interpreter

    @property
    def env(self) -> Environment: ...

    @property
    def frame(self) -> Frame: ...

    def block(self, body: list[ast.stmt]) -> bool: ...

    def meet(self, branches: Sequence[Environment | None], span: Span) -> bool: ...


@dataclass(frozen=True, slots=True)
class Head:
    """What a name holds at the ``start`` of any turn, and at the ``end`` of the loop."""

    start: Value
    end: Value

    @classmethod
    def of(cls, value: Value) -> Head:
        """The same at both."""
        return cls(value, value)


LoopNode = ast.For | ast.AsyncFor | ast.While


def interpret_loop(
    executor: StatementReader, node: LoopNode, header: Span, start: Callable[[], None], *, endless: bool
) -> bool:
    """Read a loop. ``start`` reads the condition, or binds the target to the next item; returns whether the end of the
    statement is reached."""
    before = executor.env
    heads = _heads(executor, node, header, start)
    executor.evaluator.env = Environment(before)
    executor.env.names.update({name: head.start for name, head in heads.items()})
    exits, ended = _turn(executor, node, header, start)
    executor.evaluator.env = before
    left: list[Environment | None] = [_outside(path, before) for path in exits.breaks]
    if not endless:
        normal = Environment(before)
        normal.names.update({name: head.end for name, head in heads.items()})
        # Names that only the body binds hold what its last turn left.
        for path in (ended, *exits.continues):
            for name, value in _outside(path, before).names.items() if path is not None else ():
                if before.get(name) is None:
                    normal.names.setdefault(name, value)
        executor.evaluator.env = normal
        reached = executor.block(node.orelse)
        executor.evaluator.env = before
        left.append(normal if reached else None)
    return executor.meet(left, header)


def _turn(
    executor: StatementReader, node: LoopNode, header: Span, start: Callable[[], None]
) -> tuple[LoopExits, Environment | None]:
    """Read the body once: where it was left early, and its end if that is reached."""
    exits = LoopExits()
    executor.frame.exits.append(exits)
    executor.frame.loops.append(header)
    start()
    reached = executor.block(node.body)
    ended = executor.env if reached else None
    executor.frame.loops.pop()
    executor.frame.exits.pop()
    return exits, ended


def _heads(executor: StatementReader, node: LoopNode, header: Span, start: Callable[[], None]) -> dict[str, Head]:
    """What each name that the loop changes holds at the start of any turn, and after the last."""
    if executor.interpreter.rough:
        return {}
    names = changed_names(node, executor.frame.own)
    initial = {name: value for name in names if (value := executor.env.get(name)) is not None}
    # An object may be changed by any of its methods: after the first turn, nothing of how it was made is certain.
    objects = {
        name: Head.of(Instance(value.cls))
        for name in used_objects(node, executor.frame.own)
        if isinstance(value := executor.env.get(name), Instance) and value.attributes is not None
    }
    initial = {name: value for name, value in initial.items() if name not in objects}
    if not initial:
        return objects
    if len(executor.frame.loops) >= DEPTH_LIMIT:
        reason = f"changed in a loop inside {DEPTH_LIMIT} others"
        return objects | {name: Head.of(Opaque(reason, deps_of(value))) for name, value in initial.items()}
    before = executor.env
    base = Environment(before)
    base.names.update((name, head.start) for name, head in objects.items())
    marks = {name: f"\0{name}\0{header.line}:{header.column}" for name in initial}
    for name, value in initial.items():
        base.set(name, _marked(value, marks[name], header))
    executor.evaluator.env = Environment(base)
    with executor.interpreter.collecting():
        # The sites of this reading are not kept: its names hold marks.
        exits, ended = _turn(executor, node, header, start)
    merged = Environment(base)
    executor.evaluator.env = merged
    paths = [path.onto(merged, since=base) for path in (ended, *exits.continues) if path is not None]
    executor.meet(paths, header)
    executor.evaluator.env = before
    return objects | {
        name: _head(name, value, merged.get(name), marks[name], header) for name, value in initial.items()
    }


def _marked(value: Value, mark: str, span: Span) -> Value:
    if isinstance(value, Text):
        return Text((Unknown(mark, span),))
    if isinstance(value, Series):
        return Series((Opaque(mark),))
    return Opaque(mark)


def _head(name: str, initial: Value, after: Value | None, mark: str, span: Span) -> Head:
    """What a name holds, from its value before the loop and what a turn made of the mark."""
    marked = _marked(initial, mark, span)
    if after is None or after == marked:
        return Head.of(initial)
    if not _holds(after, mark):
        return Head(join([initial, previous_turn(after)], span), join([initial, last_turn(after)], span))
    match initial, after:
        case Text(), Text(segments=(first, *rest)) if Text((first,)) == marked:
            growth = Text(tuple(rest), after.deps)
            if not _holds(growth, mark):
                return Head.of(concat([initial, Text((Repeat(tuple(rest), span),), after.deps)], span))
        case Series(items=items), Series(items=(first_item, *rest_items)) if Series((first_item,)) == marked:
            if not any(_holds(item, mark) for item in rest_items):
                return Head.of(Series((*items, Repeated(tuple(rest_items)))))
    reason = f"{name} is rewritten from its own value in each turn of the loop in line {span.line}"
    return Head.of(Opaque(reason, deps_of(initial, after)))


def _holds(value: Item | None, mark: str) -> bool:
    """Whether the mark stands anywhere in the value."""
    match value:
        case Text(segments=segments):
            return any(_segment_holds(segment, mark) for segment in segments)
        case Opaque(reason=reason):
            return mark in reason
        case Series(items=items) | Repeated(items=items) | Either(options=items):
            return any(_holds(item, mark) for item in items)
        case Record(entries=entries, rest=rest):
            return _holds(rest, mark) or any(_holds(item, mark) for _, item in entries)
        case External(given=entries):
            return any(_holds(item, mark) for _, item in entries)
        case Instance(attributes=entries) if entries:
            return any(_holds(item, mark) for _, item in entries)
        case FunctionRef(positional=items, keywords=entries):
            return any(_holds(item, mark) for item in (*items, *(item for _, item in entries)))
        case PromptTemplate(messages=messages):
            return any(_holds(item, mark) for _, item in messages)
        case Chain(stages=items):
            return any(_holds(item, mark) for item in items)
    return False


def _segment_holds(segment: Segment, mark: str) -> bool:
    match segment:
        case Unknown(reason=reason):
            return mark in reason
        case Choice(options=options):
            return any(_segment_holds(inner, mark) for option in options for inner in option)
        case Repeat(segments=segments):
            return any(_segment_holds(inner, mark) for inner in segments)
    return False


def previous_turn(value: Value) -> Value:
    """A value that the turn before left: its loop items are not those of this turn."""
    return _with_inputs(value, lambda item: Opaque(f"{item.name} of the turn before"))


def last_turn(value: Value) -> Value:
    """A value that the last turn left, as seen after the loop: which of the items it holds, the name does not say."""
    return _with_inputs(value, lambda item: replace(item, scope="call"))


def _outside(path: Environment | None, before: Environment) -> Environment:
    """What a path through the body bound, as seen after the loop."""
    result = Environment(before)
    if path is not None:
        for name, value in path.since(before).items():
            result.set(name, last_turn(value))
    return result


def _with_inputs(value: Value, change: Callable[[Input], Value]) -> Value:
    """The value with each loop-scoped input in it changed, inside texts as well."""
    match value:
        case Input(scope="loop"):
            return change(value)
        case Text(segments=segments, deps=deps):
            return Text(tuple(_with_params(segments, change)), deps)
        case Series(items=items):
            return Series(tuple(_item_with_inputs(item, change) for item in items))
        case Either(options=options):
            return Either(tuple(_with_inputs(option, change) for option in options))
        case Record(entries=entries, rest=rest):
            return Record(
                tuple((key, _with_inputs(item, change)) for key, item in entries),
                None if rest is None else _with_inputs(rest, change),
            )
    return value


def _item_with_inputs(item: Item, change: Callable[[Input], Value]) -> Item:
    # Inside a repetition an item is that of the repetition.
    return item if isinstance(item, Repeated) else _with_inputs(item, change)


def _with_params(segments: tuple[Segment, ...], change: Callable[[Input], Value]) -> list[Segment]:
    result: list[Segment] = []
    for segment in segments:
        match segment:
            case Param(name=name, scope="loop", span=span):
                result.extend(text_of(change(Input(name, "loop")), span).segments)
            case Choice(options=options, span=span):
                result.append(Choice(tuple(tuple(_with_params(option, change)) for option in options), span))
            case _:
                result.append(segment)
    return result
