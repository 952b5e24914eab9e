"""Reading functions inline: what a call does, from what the function does in general, or read again for its arguments.

What was found out is remembered by the function and the values of the call, and forgotten when more becomes known of a
function that was involved.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from charter_compiler.diagnostics.span import Span
from charter_compiler.parser.bodies import Bodies, Effect
from charter_compiler.parser.calls import DEPTH_LIMIT, FUEL, NESTING_LIMIT, Bound, Instantiation, is_rich
from charter_compiler.parser.definitions import FunctionInfo
from charter_compiler.parser.own_object import own_use
from charter_compiler.parser.scope import Environment, Frame, closure
from charter_compiler.parser.sites import Site
from charter_compiler.parser.values import (
    ClassRef,
    FunctionRef,
    Instance,
    Opaque,
    Plain,
    Record,
    Series,
    Text,
    Value,
    deps_of,
)


@dataclass(frozen=True, slots=True)
class OwnReading:
    """What a function was found to be where it was read on its own, its parameters being values from outside: what it
    does in general, the model calls in it, the functions that stand in it, the functions that it calls, and the names
    that it calls of which nothing is known. ``whole``: nothing was cut short on the way."""

    effect: Effect
    sites: dict[str, Site]
    nested: tuple[FunctionInfo, ...]
    called: frozenset[FunctionInfo]
    unresolved: frozenset[str]
    whole: bool


class Inlining(Bodies):
    """The part of the interpreter that reads functions for calls of them. ``fuel`` and ``budget`` count the statements
    that may still be read inline: for the function that is read on its own, and for the project. ``rough``: what names
    hold at a later turn of a loop is left out, while it is found out which functions carry a prompt."""

    called: set[FunctionInfo]
    unresolved: set[str]
    nested: list[FunctionInfo]

    def __init__(self) -> None:
        super().__init__()
        self.fuel = FUEL
        self.budget = 0
        self.rough = True
        self._memo: dict[object, Effect] = {}
        self._own: dict[FunctionInfo, OwnReading] = {}
        self._users: dict[FunctionInfo, list[object]] = defaultdict(list)
        self._inside: set[FunctionInfo] = set()
        self._summarizing: set[FunctionInfo] = set()
        self._cuts = 0

    if TYPE_CHECKING:

        def parameter(self, info: FunctionInfo, parameter: ast.arg) -> Value:
            """A parameter as the function itself sees it."""

        def collecting(self) -> AbstractContextManager[dict[str, Site]]:
            """Sites that are found inside go to a dictionary of their own."""

    def inline(self, ref: FunctionRef, bound: Bound, *, carries: bool = False, wanted: bool = True) -> Value:
        """The value that a function returns for these arguments; unknown where it is too deep to be read. What the call
        does to its arguments and to ``self`` is done to the names of the caller.

        Reading a function again for each call costs most of the time, so it is done where it can tell more than what
        the function returns in general: not for what ``carries`` a prompt to a model and returns what that said, nor
        where the value is not ``wanted``.
        """
        frame, env = self.evaluator.frame, self.evaluator.env
        info = ref.function
        self._inside.add(info)
        self.called.add(info)
        if info.reaches:
            self.mark()
        own = info.own
        same = own is not None and frame.own is not None and ref.bound is not None and env.get(frame.own) is ref.bound
        state: dict[str, Value] = {}
        if same:
            state = {
                name[5:]: value
                for name, value in env.since(frame.base.parent).items()
                if name.startswith("self.") and not isinstance(value, FunctionRef)
            }
        elif isinstance(ref.bound, Instance) and ref.bound.attributes is not None:
            state = dict(ref.bound.attributes)
        effect = self._general(ref, bound, state, same=same, carries=carries, wanted=wanted)
        if effect is None:
            effect = self._effect(ref, bound, state)
        if same:
            for name, value in effect.state.items():
                if state.get(name) is not value:
                    env.set(f"self.{name}", value)
        elif isinstance(ref.bound, Instance) and ref.bound.attributes is not None:
            attributes = tuple(sorted(effect.state.items()))
            if attributes != ref.bound.attributes:
                env.replace(ref.bound, Instance(ref.bound.cls, attributes), frame.base)
        for name, value in effect.changed.items():
            env.replace(bound.values[name], value, frame.base)
        return effect.value

    def _effect(self, ref: FunctionRef, bound: Bound, state: dict[str, Value]) -> Effect:
        """What a call does, remembered for the next one with the same values."""
        info = ref.function
        values = tuple(sorted(bound.values.items()))
        key = (info, id(ref.closure), ref.bound, values, tuple(sorted(state.items())))
        known = self._memo.get(key)
        if known is not None:
            return known
        before, self._inside = self._inside, {info}
        cuts = self._cuts
        effect = self._read_inline(ref, bound, state)
        if cuts == self._cuts:
            self._remember(key, effect)
        self._inside = before
        return effect

    def _remember(self, key: object, effect: Effect) -> None:
        self._memo[key] = effect
        for each in self._inside:
            self._users[each].append(key)

    def _general(
        self, ref: FunctionRef, bound: Bound, state: dict[str, Value], *, same: bool, carries: bool, wanted: bool
    ) -> Effect | None:
        """What a call does, from what the function does in general; ``None`` where reading it again tells more."""
        info = ref.function
        deep = len(self._stack) > DEPTH_LIMIT or self.fuel <= 0 or self.budget <= 0
        if not deep and any(isinstance(bound.values.get(name), Series | Record) for name in info.mutates):
            return None
        news = not deep and self._news(info, state)
        changes = own_use(info).changes
        if news and (changes or (same and info.reaches)):
            return None
        summary = self._summary(info)
        if summary is None:
            return None
        general = Instantiation(info, bound)
        if not deep and (same or isinstance(ref.bound, Instance)):
            after = {name: general.value(summary.state[name]) for name in changes if name in summary.state}
            state = {**state, **after}
        value = summary.value
        if deep:
            return Effect(general.value(value), state)
        if not wanted:
            return Effect(Opaque("a result that nothing reads"), state)
        if isinstance(value, Plain):
            return Effect(value, state)
        if isinstance(value, Opaque) and info.opens and any(isinstance(each, Text) for each in bound.values.values()):
            return None
        if news:
            return None
        value = general.value(value)
        return Effect(value, state) if carries or self.rough or not general.lost else None

    def _news(self, info: FunctionInfo, state: dict[str, Value]) -> bool:
        """Whether the object holds anything that the method reads and that is not so for any object of its class: what
        is spelled out, or what a call returned."""
        cls = info.cls
        if cls is None or not state:
            return False
        used = own_use(info)
        span = Span(info.module.label, info.node.lineno, 1, info.node.lineno, 1)
        for name, value in state.items():
            if used.may_read(name) and (is_rich(value) or deps_of(value)):
                of_any = self.evaluator.attribute_of(Instance(cls), name, span)
                if value != of_any and (is_rich(value) or not deps_of(value) <= deps_of(of_any)):
                    return True
        return False

    def _summary(self, info: FunctionInfo) -> Effect | None:
        """What a function does in general, its parameters being values from outside; ``None`` while that is read."""
        known = self._own.get(info)
        if known is not None:
            return known.effect
        if info in self._stack or info in self._summarizing or self._depth > NESTING_LIMIT:
            self._cuts += 1
            return None
        before, self._inside = self._inside, set()
        stack, self._stack = self._stack, []
        fuel, self.fuel = self.fuel, FUEL
        try:
            reading = self.read_own(info)
        finally:
            self.fuel, self._stack = fuel, stack
            self._inside = before
            if info.reaches:
                self.mark()
        return reading.effect

    def read_own(self, info: FunctionInfo, given: dict[str, Value] | None = None) -> OwnReading:
        """Read a function on its own. What is found is remembered, until more becomes known of what it calls; not
        where values are ``given`` for some of its parameters."""
        self._summarizing.add(info)
        self._inside = {info}
        cuts = self._cuts
        bound = Bound({each.arg: self.parameter(info, each) for each in info.parameters} | (given or {}), {})
        own = info.own
        if own is not None and info.cls is not None:
            bound.values[own] = Instance(info.cls)
        elif info.cls is not None and info.decorated("classmethod") and info.parameters:
            bound.values[info.parameters[0].arg] = ClassRef(info.cls)
        called, self.called = self.called, set()
        unresolved, self.unresolved = self.unresolved, set()
        nested, self.nested = self.nested, []
        try:
            with self.collecting() as sites:
                outer = info.outer if info.around is None else closure(info.outer, info.around.node)
                base = Environment(outer)
                frame = Frame(info.name, base, info.module, info=info, own=own, cls=info.cls)
                effect = self._read(frame, base, info, bound)
            reading = OwnReading(
                effect,
                sites,
                tuple(self.nested),
                frozenset(self.called),
                frozenset(self.unresolved),
                cuts == self._cuts,
            )
        finally:
            self._summarizing.discard(info)
            self.called, self.unresolved, self.nested = called, unresolved, nested
        if not given:
            self._own[info] = reading
            for each in self._inside:
                self._users[each].append(info)
        return reading

    def calling(self) -> list[FunctionInfo]:
        """The functions that were read on their own in which calls of models were found."""
        return [info for info, reading in self._own.items() if reading.sites]

    def forget_all(self) -> None:
        """Forget what calls do: more is known of the functions now than when most of it was found out."""
        self._memo.clear()
        self._own.clear()
        self._users.clear()

    def forget(self, info: FunctionInfo) -> None:
        """Forget what calls do in which a function is involved of which more is known now."""
        for key in self._users.pop(info, ()):
            if isinstance(key, FunctionInfo):
                self._own.pop(key, None)
            else:
                self._memo.pop(key, None)

    def _read_inline(self, ref: FunctionRef, bound: Bound, state: dict[str, Value], *, force: bool = False) -> Effect:
        """Read a function again for the arguments of one call."""
        info = ref.function
        too_deep = len(self._stack) > DEPTH_LIMIT or self._depth > NESTING_LIMIT
        if (too_deep or self.fuel <= 0 or info in self._stack) and not force:
            self._cuts += 1
            return Effect(self._not_read(info, bound), state)
        base = Environment(ref.closure or info.outer)
        frame = Frame(info.name, base, info.module, info=info, own=info.own, cls=info.cls, inline=True)
        base.names.update((f"self.{name}", value) for name, value in state.items())
        if info.cls is not None and ref.bound is not None and info.parameters and info.decorated("classmethod"):
            bound = Bound({**bound.values, info.parameters[0].arg: ref.bound}, bound.places)
        return self._read(frame, base, info, bound)

    def _not_read(self, info: FunctionInfo, bound: Bound) -> Value:
        reason = f"{info.name}() is not followed here: it calls itself, or the calls nest too deeply"
        return Opaque(reason, deps_of(*bound.values.values()))
