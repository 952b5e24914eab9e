"""Reading the body of a function: from values of its parameters to what it returns, and what it leaves."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from charter_compiler.diagnostics.span import Span
from charter_compiler.parser.calls import Bound
from charter_compiler.parser.definitions import FunctionInfo
from charter_compiler.parser.expressions import Evaluator
from charter_compiler.parser.joins import join
from charter_compiler.parser.scope import Environment, Frame
from charter_compiler.parser.statements import Executor
from charter_compiler.parser.values import Input, Opaque, Plain, Record, Repeated, Series, Value, bounded


@dataclass(frozen=True, slots=True)
class Effect:
    """What a call does: the value that it returns, what ``self`` holds afterwards, and the lists and dictionaries among
    its arguments that it changed."""

    value: Value
    state: dict[str, Value] = field(default_factory=dict)
    changed: dict[str, Value] = field(default_factory=dict)


class _Reading:
    """The evaluator reads in a frame and its names, inside ``with``. A class, since this happens for every call."""

    __slots__ = ("_before", "_evaluator", "_now")

    def __init__(self, evaluator: Evaluator, frame: Frame, env: Environment) -> None:
        self._evaluator = evaluator
        self._now = env, frame

    def __enter__(self) -> None:
        self._before = self._evaluator.env, self._evaluator.frame
        self._evaluator.env, self._evaluator.frame = self._now

    def __exit__(self, *_: object) -> None:
        self._evaluator.env, self._evaluator.frame = self._before


class Bodies:
    """The part of the interpreter that reads bodies of functions."""

    evaluator: Evaluator
    executor: Executor

    def __init__(self) -> None:
        self._stack: list[FunctionInfo] = []
        self._depth = 0

    def _reading(self, frame: Frame, env: Environment) -> _Reading:
        return _Reading(self.evaluator, frame, env)

    @contextmanager
    def _inside_of(self, info: FunctionInfo) -> Iterator[None]:
        self._stack.append(info)
        self._depth += 1
        try:
            yield
        finally:
            self._stack.pop()
            self._depth -= 1

    def mark(self) -> None:
        """A model is called in each of the functions that are being read."""
        for info in self._stack:
            info.reaches = True

    def _read(self, frame: Frame, base: Environment, info: FunctionInfo, bound: Bound) -> Effect:
        """Execute the body of a function with these values of its parameters, those that are missing by default."""
        with self._reading(frame, base), self._inside_of(info):
            for parameter in info.parameters:
                base.set(parameter.arg, bound.values.get(parameter.arg) or self.default(info, parameter))
            frame.parameters = frozenset(parameter.arg for parameter in info.parameters)
            frame.fields.update((name, name) for name in frame.parameters)
            body = info.node.body
            if isinstance(body, list):
                if self.executor.block(body):
                    frame.ends.append(self.evaluator.env)
                    if not frame.yields:
                        frame.returns.append(Plain(None))
            else:
                frame.returns.append(self.evaluator.evaluate(body))
                frame.ends.append(self.evaluator.env)
        span = Span(info.module.label, info.node.lineno, 1, info.node.end_lineno or info.node.lineno, 1)
        value: Value
        if frame.yields:
            value = Series((Repeated(tuple(dict.fromkeys(frame.yields))),))
        else:
            returned = list(dict.fromkeys(frame.returns))
            value = join(returned, span) if returned else Plain(None)
        after = self._state_after(frame, base, span)
        return Effect(bounded(value), after, self._changed_arguments(frame, bound, span))

    def _state_after(self, frame: Frame, base: Environment, span: Span) -> dict[str, Value]:
        """What ``self`` holds where the function ends."""
        names: dict[str, list[Value]] = {}
        for end in frame.ends:
            for name, value in end.since(base.parent).items():
                if name.startswith("self."):
                    names.setdefault(name, []).append(value)
        return {name[5:]: bounded(join(values, span)) for name, values in names.items()}

    @staticmethod
    def _changed_arguments(frame: Frame, bound: Bound, span: Span) -> dict[str, Value]:
        """Lists and dictionaries that the function was given and has changed in place."""
        changed: dict[str, Value] = {}
        for name, value in bound.values.items():
            if not isinstance(value, Series | Record) or not frame.ends or frame.info is None:
                continue
            after = [each for end in frame.ends if (each := end.get(name)) is not None]
            different = [each for each in after if each is not value]
            in_place = all(isinstance(each, Series | Record | Opaque) for each in different)
            if different and in_place and name not in frame.info.rebinds:
                changed[name] = join(after, span)
        return changed

    @staticmethod
    def default_node(info: FunctionInfo, parameter: ast.arg) -> ast.expr | None:
        arguments = info.node.args
        positional = [*arguments.posonlyargs, *arguments.args]
        if parameter in positional:
            index = positional.index(parameter) - (len(positional) - len(arguments.defaults))
            return arguments.defaults[index] if index >= 0 else None
        if parameter in arguments.kwonlyargs:
            return arguments.kw_defaults[arguments.kwonlyargs.index(parameter)]
        return None

    def default(self, info: FunctionInfo, parameter: ast.arg) -> Value:
        """The default of a parameter that a call does not give."""
        arguments = info.node.args
        if parameter is arguments.vararg:
            return Series(())
        if parameter is arguments.kwarg:
            return Record(())
        node = self.default_node(info, parameter)
        if node is None:
            return Input(parameter.arg, "item")
        with self._reading(Frame(info.name, info.outer, info.module, info=info, inline=True), info.outer):
            return self.evaluator.evaluate(node)
