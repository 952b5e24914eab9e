"""The abstract interpreter of statements: straight lines, branches that meet, and loops.

The constructs understood are one table, ``STATEMENTS``. Any other statement is read for the calls in its expressions.
Executing a block returns whether its end is reached: a branch that returns, raises or leaves the loop does not meet the
others.
"""

from __future__ import annotations

import ast
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from charter_compiler.diagnostics.span import Span
from charter_compiler.parser import sdk
from charter_compiler.parser.classes import ClassInfo, describe, self_name
from charter_compiler.parser.expressions import Evaluator
from charter_compiler.parser.loops import interpret_loop
from charter_compiler.parser.positions import Positions
from charter_compiler.parser.scope import (
    Environment,
    Frame,
    FunctionNode,
    Pending,
    changed_names,
    closure,
    effects_of_functions,
)
from charter_compiler.parser.strings import constant_text
from charter_compiler.parser.values import (
    ClassRef,
    Either,
    External,
    Input,
    Instance,
    Opaque,
    Record,
    Repeated,
    Series,
    Value,
    deps_of,
    join,
)


class Executor:
    """Interprets one module; afterwards ``evaluator.sites`` holds its model calls."""

    def __init__(self, tree: ast.Module, positions: Positions) -> None:
        self.evaluator = Evaluator(positions, *effects_of_functions(tree))
        self.positions = positions
        self._constructors: deque[Pending] = deque()
        self._functions: deque[Pending] = deque()
        self._seen: set[tuple[int, str]] = set()

    @property
    def env(self) -> Environment:
        return self.evaluator.env

    @property
    def frame(self) -> Frame:
        return self.evaluator.frame

    def module(self, tree: ast.Module) -> None:
        """Interpret the module, then every function in it, constructors first since they say what ``self`` holds."""
        self.block(tree.body)
        while self._constructors or self._functions:
            self.function(self._constructors.popleft() if self._constructors else self._functions.popleft())

    def block(self, body: Iterable[ast.stmt]) -> bool:
        """Execute statements; returns whether the end is reached. What cannot be reached is not read."""
        return all(self.statement(node) for node in body)

    def statement(self, node: ast.stmt) -> bool:
        handler = STATEMENTS.get(type(node))
        if handler is None:
            self.evaluator.unknown(node, "")
            return True
        reached: bool = handler(self, node)
        return reached

    def branch(self, body: Iterable[ast.stmt], outer: Environment | None = None) -> Environment | None:
        """Execute a block in an environment of its own; ``None`` if its end is not reached."""
        before = self.env
        self.evaluator.env = Environment(outer or before)
        try:
            return self.env if self.block(body) else None
        finally:
            self.evaluator.env = before

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
            case ast.Attribute(value=ast.Name(id=own), attr=attribute) if own == self.frame.own:
                self.env.set(f"self.{attribute}", value)
            case ast.Tuple(elts=elements) | ast.List(elts=elements):
                self._unpack(elements, value)
            case ast.Starred(value=inner):
                self.bind(inner, Opaque("the rest of an unpacking", deps_of(value)))
            case ast.Subscript(value=owner, slice=key):
                self._store(self.evaluator.evaluate(owner), self.evaluator.evaluate(key), value)
            case ast.Attribute(value=owner):
                self._store(self.evaluator.evaluate(owner), None, value)

    def _unpack(self, elements: list[ast.expr], value: Value) -> None:
        items = value.items if isinstance(value, Series) else ()
        exact = len(items) == len(elements) and not any(isinstance(item, Repeated) for item in items)
        starred = any(isinstance(element, ast.Starred) for element in elements)
        for index, element in enumerate(elements):
            item = items[index] if exact and not starred else None
            if item is not None and not isinstance(item, Repeated):
                self.bind(element, item)
            elif isinstance(value, Input) and not starred:
                self.bind(element, value.part(f"[{index}]"))
            else:
                self.bind(element, Opaque("unpacked from a value that is not known", deps_of(value)))

    def _store(self, owner: Value, key: Value | None, value: Value) -> None:
        """``owner[key] = value``; without a key, an assignment to an attribute."""
        if not isinstance(owner, Series | Record | Input | Either):
            return
        name = None if key is None else constant_text(key)
        changed: Value = Opaque("a part of it is replaced at run time", deps_of(owner, key, value))
        if isinstance(owner, Record) and name is not None and owner.rest is None:
            changed = Record((*owner.entries, (name, value)))
        self.env.replace(owner, changed, self.frame.base)

    # Handlers, in the order of the table below.

    def expression(self, node: ast.Expr) -> bool:
        self.evaluator.evaluate(node.value)
        return True

    def assign(self, node: ast.Assign) -> bool:
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
        after = self.evaluator.operation(node.op, [before, value], self.positions.of(node))
        if isinstance(before, Series | Record):
            # In place, so that every name of the list sees it.
            self.env.replace(before, after, self.frame.base)
        self.bind(node.target, after)
        return True

    def returned(self, node: ast.Return) -> bool:
        if node.value is not None:
            self.evaluator.evaluate(node.value)
        return False

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
            branches.append(self.branch(current.body))
            match current.orelse:
                case [ast.If() as following]:
                    current = following
                case orelse:
                    branches.append(self.branch(orelse))
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
                self.bind(item.optional_vars, value)
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
        for name, count in changed_names(node.body, self.frame.own).items():
            if count > 1 and (value := failed.get(name)) is not None:
                failed.set(name, Opaque(f"{name} is changed more than once before an exception", deps_of(value)))
        self.evaluator.env = before
        branches: list[Environment | None] = [body if reached else None]
        for handler in node.handlers:
            if handler.type is not None:
                self.evaluator.evaluate(handler.type)
            if handler.name is not None:
                failed.set(handler.name, Opaque("the text of an exception"))
            branches.append(self.branch(handler.body, failed))
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
            branches.append(self.branch([*guard, *case.body], outer))
            exhaustive |= case.guard is None and isinstance(case.pattern, ast.MatchAs) and case.pattern.pattern is None
        if not exhaustive:
            branches.append(Environment(self.env))
        return self.meet(branches, self.positions.of(node.subject))

    def imported(self, node: ast.Import) -> bool:
        for alias in node.names:
            path = alias.name if alias.asname else alias.name.partition(".")[0]
            self.env.set(alias.asname or path, External(path))
        return True

    def imported_from(self, node: ast.ImportFrom) -> bool:
        module = "." * node.level + (node.module or "")
        for alias in node.names:
            self.env.set(alias.asname or alias.name, External(f"{module.rstrip('.') or module}.{alias.name}"))
        return True

    def defined(self, node: FunctionNode) -> bool:
        for expression in (*node.decorator_list, *node.args.defaults, *node.args.kw_defaults):
            if expression is not None:
                self.evaluator.evaluate(expression)
        self.env.set(node.name, Opaque(f"{node.name} is a function"))
        self._later(node, None)
        return True

    def _later(self, node: FunctionNode, cls: ClassInfo | None) -> None:
        frame = self.frame
        name = cls.name if cls is not None else ("" if frame.function == "<module>" else frame.function)
        pending = Pending(node, f"{name}.{node.name}" if name else node.name, frame.base, frame.node, cls)
        if (id(node), pending.name) not in self._seen:
            self._seen.add((id(node), pending.name))
            (self._constructors if cls and node.name == "__init__" else self._functions).append(pending)

    def class_(self, node: ast.ClassDef) -> bool:
        for decorator in node.decorator_list:
            self.evaluator.evaluate(decorator)
        bases = [self.evaluator.evaluate(base) for base in node.bases]
        prefix = "" if self.frame.function == "<module>" else f"{self.frame.function}."
        info = describe(node, prefix + node.name, tuple(base.cls for base in bases if isinstance(base, ClassRef)))
        with self.evaluator.inside() as body:
            for statement in node.body:
                if isinstance(statement, FunctionNode):
                    body.set(statement.name, Opaque(f"{statement.name} is a method"))
                    self._later(statement, info)
                else:
                    self.statement(statement)
        info.constants.update(body.names)
        self.env.set(node.name, ClassRef(info))
        return True

    def function(self, pending: Pending) -> None:
        """Interpret the body of a function whose surroundings are known."""
        node, cls = pending.node, pending.cls
        outer = pending.outer if pending.around is None else closure(pending.outer, pending.around)
        base = Environment(outer)
        own = self_name(node) if cls is not None else None
        self.evaluator.env = base
        self.evaluator.frame = Frame(pending.name, base, own=own, cls=cls, node=node)
        constructor = cls is not None and node.name == "__init__"
        arguments = node.args
        names = []
        for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
            names.append(argument.arg)
            client = self._client(argument.annotation)
            base.set(argument.arg, client or Input(argument.arg, "agent" if constructor else "item"))
        for rest in (arguments.vararg, arguments.kwarg):
            if rest is not None:
                names.append(rest.arg)
                base.set(rest.arg, Input(rest.arg, "agent" if constructor else "item"))
        if cls is not None and own is not None:
            base.set(own, Instance(cls))
        elif cls is not None and names and any(_is_name(each, "classmethod") for each in node.decorator_list):
            base.set(names[0], ClassRef(cls))
        self.evaluator.frame.parameters = frozenset(names)
        self.evaluator.frame.fields.update(zip(names, names, strict=True))
        self.block(node.body)
        if constructor and cls is not None:
            for name, value in self.env.names.items():
                if name.startswith("self."):
                    cls.initial[name.removeprefix("self.")] = value

    def _client(self, annotation: ast.expr | None) -> Value | None:
        """A client of an SDK, where the annotation of a parameter names its class."""
        if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
            try:
                annotation = ast.parse(annotation.value, mode="eval").body
            except SyntaxError:
                return None
        for part in ast.walk(annotation) if annotation is not None else ():
            if isinstance(part, ast.Name | ast.Attribute):
                value = self.evaluator.evaluate(part)
                if isinstance(value, External) and value.path in sdk.CLIENT_CLASSES:
                    return External(f"{value.path}()")
        return None


STATEMENTS: dict[type[ast.stmt], Callable[[Executor, Any], bool]] = {
    ast.Expr: Executor.expression,
    ast.Assign: Executor.assign,
    ast.AnnAssign: Executor.annotated,
    ast.AugAssign: Executor.augmented,
    ast.Return: Executor.returned,
    ast.Raise: Executor.raised,
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


def _is_name(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name
