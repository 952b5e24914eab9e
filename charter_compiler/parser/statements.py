"""The abstract interpreter of statements: straight lines, branches that meet, and loops.

The constructs understood are one table, ``STATEMENTS``. Any other statement is read for the calls in its expressions.
Executing a block returns whether its end is reached: a branch that returns, raises or leaves the loop does not meet the
others.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from charter_compiler.diagnostics.span import Span
from charter_compiler.parser.declarations import Declarations
from charter_compiler.parser.expressions import Evaluator
from charter_compiler.parser.joins import join
from charter_compiler.parser.loops import interpret_loop
from charter_compiler.parser.operators import operation
from charter_compiler.parser.positions import Positions
from charter_compiler.parser.scope import Environment, Frame, changed_names
from charter_compiler.parser.strings import constant_text
from charter_compiler.parser.values import (
    Either,
    Input,
    Instance,
    Opaque,
    Plain,
    Record,
    Repeated,
    Result,
    Series,
    Value,
    deps_of,
)

if TYPE_CHECKING:
    from charter_compiler.parser.interpreter import Interpreter


class Executor(Declarations):
    """Executes statements in the environment of ``evaluator``."""

    def __init__(self, interpreter: Interpreter, evaluator: Evaluator) -> None:
        self.interpreter = interpreter
        self.evaluator = evaluator

    @property
    def positions(self) -> Positions:
        return self.evaluator.positions

    @property
    def env(self) -> Environment:
        return self.evaluator.env

    @property
    def frame(self) -> Frame:
        return self.evaluator.frame

    def block(self, body: Iterable[ast.stmt]) -> bool:
        """Execute statements; returns whether the end is reached. What cannot be reached is not read."""
        return all(self.statement(node) for node in body)

    def statement(self, node: ast.stmt) -> bool:
        handler = STATEMENTS.get(type(node))
        self.interpreter.fuel -= 1
        if self.frame.inline:
            self.interpreter.budget -= 1
        if handler is None:
            self.evaluator.unknown(node, "")
            return True
        reached: bool = handler(self, node)
        return reached

    def branch(
        self, body: Sequence[ast.stmt], outer: Environment | None = None, arm: Span | None = None
    ) -> Environment | None:
        """Execute a block in an environment of its own; ``None`` if its end is not reached."""
        before = self.env
        self.evaluator.env = Environment(outer or before)
        if arm is not None:
            self.frame.arms.append(arm)
        try:
            return self.env if self.block(body) else None
        finally:
            self.evaluator.env = before
            if arm is not None:
                self.frame.arms.pop()

    def arm(self, body: Sequence[ast.stmt]) -> Span | None:
        """The range of a branch: two calls in different branches of one statement never run one after the other."""
        if not body:
            return None
        first, last = self.positions.of(body[0]), self.positions.of(body[-1])
        return Span(first.file, first.line, first.column, last.end_line, last.end_column)

    def meet(self, branches: Sequence[Environment | None], span: Span) -> bool:
        """Join the paths that reach this point into the current environment; returns whether there are any."""
        reaching = [branch for branch in branches if branch is not None]
        changes = [branch.since(self.env) for branch in reaching]
        for name in dict.fromkeys(name for change in changes for name in change):
            # A name unbound on one path would raise there, so the other paths decide.
            values = [value for branch in reaching if (value := branch.get(name)) is not None]
            self.env.set(name, join(values, span))
        return bool(reaching)

    def bind(self, target: ast.expr, value: Value) -> None:
        """Assign ``value`` to a target."""
        match target:
            case ast.Name(id=name):
                self.env.set(name, value)
                if name in self.frame.module.rebound:
                    self.interpreter.global_bound(self.frame.module, name, value)
            case ast.Attribute(value=ast.Name(id=own), attr=attribute) if own == self.frame.own:
                self.env.set(f"self.{attribute}", value)
            case ast.Tuple(elts=elements) | ast.List(elts=elements):
                self._unpack(elements, value)
            case ast.Starred(value=inner):
                self.bind(inner, Opaque("the rest of an unpacking", deps_of(value)))
            case ast.Subscript(value=owner, slice=key):
                self._store(self.evaluator.evaluate(owner), self.evaluator.evaluate(key), value)
            case ast.Attribute(value=owner, attr=attribute):
                held = self.evaluator.evaluate(owner)
                if isinstance(held, Instance) and held.attributes is not None:
                    attributes = {**dict(held.attributes), attribute: value}
                    changed = Instance(held.cls, tuple(sorted(attributes.items())))
                    self.env.replace(held, changed, self.frame.base)
                else:
                    self._store(held, None, value)

    def _unpack(self, elements: list[ast.expr], value: Value) -> None:
        items = value.items if isinstance(value, Series) else ()
        exact = len(items) == len(elements) and not any(isinstance(item, Repeated) for item in items)
        starred = any(isinstance(element, ast.Starred) for element in elements)
        for index, element in enumerate(elements):
            item = items[index] if exact and not starred else None
            if item is not None and not isinstance(item, Repeated):
                self.bind(element, item)
            elif isinstance(value, Input | Result) and not starred:
                self.bind(element, value.part(f"[{index}]"))
            elif (
                isinstance(value, Either)
                and not starred
                and all(isinstance(option, Series) and len(option.items) == len(elements) for option in value.options)
            ):
                parts = [option.items[index] for option in value.options if isinstance(option, Series)]
                whole = [part for part in parts if not isinstance(part, Repeated)]
                self.bind(element, join(whole, self.positions.of(element)) if whole else Opaque("unpacked"))
            else:
                self.bind(element, Opaque("unpacked from a value that is not known", deps_of(value)))

    def _store(self, owner: Value, key: Value | None, value: Value) -> None:
        """``owner[key] = value``; without a key, an assignment to an attribute."""
        if not isinstance(owner, Series | Record | Input | Either):
            return
        name = None if key is None else constant_text(key)
        changed: Value = Opaque("a part of it is replaced at run time", deps_of(owner, key, value))
        if isinstance(owner, Record) and name is not None:
            changed = Record((*owner.entries, (name, value)), owner.rest)
        self.env.replace(owner, changed, self.frame.base)

    # Handlers, in the order of the table below; those of declarations are in their own file.

    def expression(self, node: ast.Expr) -> bool:
        value = node.value
        self.interpreter.discarded = value.value if isinstance(value, ast.Await) else value
        self.evaluator.evaluate(node.value)
        return True

    def assign(self, node: ast.Assign) -> bool:
        self.interpreter.assigning = node
        value = self.evaluator.evaluate(node.value)
        for target in node.targets:
            self.bind(target, value)
        return True

    def annotated(self, node: ast.AnnAssign) -> bool:
        if node.value is not None:
            self.bind(node.target, self.evaluator.evaluate(node.value))
        return True

    def augmented(self, node: ast.AugAssign) -> bool:
        place = _loaded(node.target)
        before, value = self.evaluator.evaluate(place), self.evaluator.evaluate(node.value)
        after = operation(node.op, [before, value], self.frame.fields, self.positions.of(node))
        if isinstance(before, Series | Record):
            # In place, so that every name of the list sees it.
            self.env.replace(before, after, self.frame.base)
        self.bind(node.target, after)
        return True

    def returned(self, node: ast.Return) -> bool:
        self.frame.returns.append(Plain(None) if node.value is None else self.evaluator.evaluate(node.value))
        self.frame.ends.append(self.env)
        return False

    def deleted(self, node: ast.Delete) -> bool:
        for target in node.targets:
            if isinstance(target, ast.Subscript):
                key = self.evaluator.evaluate(target.slice)
                self._store(self.evaluator.evaluate(target.value), None, Opaque("a part is deleted", deps_of(key)))
        return True

    def raised(self, node: ast.Raise) -> bool:
        self.evaluator.unknown(node, "")
        return False

    def leave(self, node: ast.Break | ast.Continue) -> bool:
        if self.frame.exits:
            exits = self.frame.exits[-1]
            (exits.breaks if isinstance(node, ast.Break) else exits.continues).append(self.env)
        return False

    def condition(self, node: ast.If) -> bool:
        # `elif` nests: a long chain is walked down, not recursed into.
        branches: list[Environment | None] = []
        current: ast.If | None = node
        while current is not None:
            self.evaluator.evaluate(current.test)
            branches.append(self.branch(current.body, arm=self.arm(current.body)))
            match current.orelse:
                case [ast.If() as following]:
                    current = following
                case orelse:
                    branches.append(self.branch(orelse, arm=self.arm(orelse)))
                    current = None
        return self.meet(branches, self.positions.of(node.test))

    def iteration(self, node: ast.For | ast.AsyncFor) -> bool:
        items = self.evaluator.evaluate(node.iter)
        header = self.positions.between(node.target, node.iter)
        return interpret_loop(self, node, header, lambda: self.evaluator.bind_item(node.target, items), endless=False)

    def repetition(self, node: ast.While) -> bool:
        endless = isinstance(node.test, ast.Constant) and bool(node.test.value)

        def start() -> None:
            self.evaluator.evaluate(node.test)

        return interpret_loop(self, node, self.positions.of(node.test), start, endless=endless)

    def guarded(self, node: ast.With | ast.AsyncWith) -> bool:
        for item in node.items:
            value = self.evaluator.evaluate(item.context_expr)
            if item.optional_vars is not None:
                self.bind(item.optional_vars, self.interpreter.entered(value))
        return self.block(node.body)

    def attempt(self, node: ast.Try | ast.TryStar) -> bool:
        before = self.env
        span = self.positions.of(node)
        body = Environment(before)
        self.evaluator.env = body
        ended = self.block(node.body)
        reached = ended and self.block(node.orelse)
        # A handler starts after any part of the body: before it, or with what it bound, the last time or earlier.
        failed = Environment(before)
        self.evaluator.env = failed
        self.meet([Environment(failed), body.onto(failed, since=before)], span)
        changed: Counter[str] = Counter()
        for statement in node.body:
            changed.update(changed_names(statement, self.frame.own))
        for name, count in changed.items():
            if count > 1 and (value := failed.get(name)) is not None:
                failed.set(name, Opaque(f"{name} is changed more than once before an exception", deps_of(value)))
        self.evaluator.env = before
        branches: list[Environment | None] = [body if reached else None]
        for handler in node.handlers:
            if handler.type is not None:
                self.evaluator.evaluate(handler.type)
            if handler.name is not None:
                failed.set(handler.name, Opaque("the text of an exception"))
            branches.append(self.branch(handler.body, failed, arm=self.arm(handler.body)))
        met = self.meet(branches, span)
        return self.block(node.finalbody) and met

    def matched(self, node: ast.Match) -> bool:
        subject = self.evaluator.evaluate(node.subject)
        branches: list[Environment | None] = []
        exhaustive = False
        for case in node.cases:
            outer = Environment(self.env)
            for part in ast.walk(case.pattern):
                name = getattr(part, "name", None) or getattr(part, "rest", None)
                if isinstance(part, ast.pattern) and isinstance(name, str):
                    outer.set(name, Opaque(f"{name} is bound by a pattern", deps_of(subject)))
            guard = [] if case.guard is None else [ast.copy_location(ast.Expr(case.guard), case.guard)]
            branches.append(self.branch([*guard, *case.body], outer, arm=self.arm(case.body)))
            exhaustive |= case.guard is None and isinstance(case.pattern, ast.MatchAs) and case.pattern.pattern is None
        if not exhaustive:
            branches.append(Environment(self.env))
        return self.meet(branches, self.positions.of(node.subject))


STATEMENTS: dict[type[ast.stmt], Callable[[Executor, Any], bool]] = {
    ast.Expr: Executor.expression,
    ast.Assign: Executor.assign,
    ast.AnnAssign: Executor.annotated,
    ast.AugAssign: Executor.augmented,
    ast.Return: Executor.returned,
    ast.Raise: Executor.raised,
    ast.Delete: Executor.deleted,
    ast.Break: Executor.leave,
    ast.Continue: Executor.leave,
    ast.If: Executor.condition,
    ast.For: Executor.iteration,
    ast.AsyncFor: Executor.iteration,
    ast.While: Executor.repetition,
    ast.With: Executor.guarded,
    ast.AsyncWith: Executor.guarded,
    ast.Try: Executor.attempt,
    ast.TryStar: Executor.attempt,
    ast.Match: Executor.matched,
    ast.Import: Executor.imported,
    ast.ImportFrom: Executor.imported_from,
    ast.FunctionDef: Executor.defined,
    ast.AsyncFunctionDef: Executor.defined,
    ast.ClassDef: Executor.class_,
}
"""The statements that are understood."""


def _loaded(target: ast.expr) -> ast.expr:
    """The target of an augmented assignment as an expression to be read."""
    match target:
        case ast.Name(id=name):
            return ast.copy_location(ast.Name(name, ast.Load()), target)
        case ast.Attribute(value=value, attr=attribute):
            return ast.copy_location(ast.Attribute(value, attribute, ast.Load()), target)
    return target
