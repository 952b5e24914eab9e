"""Names: what they hold, the scopes that they are bound in, and what loops bind them to."""

from __future__ import annotations

import ast
import builtins
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from charter_compiler.diagnostics.span import Span
from charter_compiler.parser.functions import MUTABLE
from charter_compiler.parser.joins import join
from charter_compiler.parser.modules import Module
from charter_compiler.parser.positions import Positions
from charter_compiler.parser.scope import Environment, Frame, shared_names
from charter_compiler.parser.values import (
    Either,
    External,
    FilePath,
    Imported,
    Input,
    Opaque,
    Record,
    Repeated,
    Result,
    Series,
    Value,
    deps_of,
    item_of,
    results_of,
)

if TYPE_CHECKING:
    from charter_compiler.parser.interpreter import Interpreter


class Names:
    """The part of the evaluator that reads and binds names."""

    interpreter: Interpreter
    env: Environment
    frame: Frame

    if TYPE_CHECKING:

        @property
        def positions(self) -> Positions:
            """Of the file that is being read."""

        def evaluate(self, node: ast.expr) -> Value:
            """The value of an expression."""

    def lookup(self, name: str) -> Value:
        """What a name holds."""
        module = self.frame.module
        value = self.env.get(name)
        if isinstance(value, Imported):
            value = self.interpreter.member(value.module, value.name)
        if name in module.rebound:
            return self.interpreter.rebound(module, name, value)
        if value is None:
            return self._unbound(name)
        if (
            isinstance(value, MUTABLE)
            and self.frame.info is not None
            and module.environment is not None
            and module.environment.get(name) is value
            and name in self._shared(module)
        ):
            return Opaque(f"{name} is changed by a function", deps_of(value))
        return value

    @staticmethod
    def _shared(module: Module) -> frozenset[str]:
        if module.shared is None:
            module.shared = shared_names(module.parsed())
        return module.shared

    def _unbound(self, name: str) -> Value:
        module = self.frame.module
        for star in module.stars:
            value = self.interpreter.member(star, name, quiet=True)
            if value is not None:
                return value
        if name == "__file__" and module.path is not None:
            return FilePath(os.path.abspath(module.path))
        if hasattr(builtins, name):
            return External(f"builtins.{name}")
        return self.interpreter.registered(name) or Opaque(f"{name} is not bound in this file")

    @contextmanager
    def inside(self, loop: Span | None = None) -> Iterator[Environment]:
        """A scope of its own for the names bound within, inside ``loop`` if given."""
        outer = self.env
        self.env = Environment(outer)
        if loop is not None:
            self.frame.loops.append(loop)
        try:
            yield self.env
        finally:
            self.env = outer
            if loop is not None:
                self.frame.loops.pop()

    def bind_item(self, target: ast.expr, items: Value) -> None:
        """Bind the target of a loop to an element of ``items``."""
        if isinstance(items, Either):
            lists = [option for option in items.options if isinstance(option, Series)]
            items = Series(tuple(item for each in lists for item in each.items)) if lists else items
        if isinstance(items, Series) and items.items:
            self._bind_element(target, join(item_of(items.items), self.positions.of(target)), items)
        else:
            self._bind_unknown(target, items)
        self.evaluate_places(target)

    def _bind_element(self, target: ast.expr, item: Value, items: Value) -> None:
        match target, item:
            case ast.Name(id=name), Opaque(reason="the number of a turn"):
                self.env.set(name, Input(name, "loop"))
            case ast.Name(id=name), Input(root="item", scope="loop", path=""):
                self.frame.fields.setdefault(name, name)
                self.env.set(name, item.shown(name))
            case ast.Name(id=name), _:
                self.env.set(name, item)
            case ((ast.Tuple(elts=elements) | ast.List(elts=elements)), Series(items=parts)) if len(parts) == len(
                elements
            ) and not any(isinstance(part, Repeated) for part in parts):
                for element, part in zip(elements, parts, strict=True):
                    if not isinstance(part, Repeated):
                        self._bind_element(element, part, items)
            case _:
                self._bind_unknown(target, item)

    def _bind_unknown(self, target: ast.expr, items: Value) -> None:
        if isinstance(items, Record):
            items = Opaque("an element of a dictionary", deps_of(items))
        for name in _targets(target):
            if isinstance(items, Result):
                self.env.set(name, items.part(f"[{name}]"))
            elif results_of(items):
                self.env.set(name, Opaque("an element of what calls returned", deps_of(items)))
            else:
                self.frame.fields.setdefault(name, name)
                self.env.set(name, Input(name, "loop", deps=deps_of(items)))

    def evaluate_places(self, target: ast.expr) -> None:
        """Read the calls in the subscripts and attributes that are assigned to."""
        for node in ast.walk(target):
            if isinstance(node, ast.Subscript):
                self.evaluate(node.slice)


def _targets(target: ast.expr) -> Iterable[str]:
    return [node.id for node in ast.walk(target) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
