"""The abstract interpreter of expressions. The constructs understood are one table, ``EXPRESSIONS``; anything else is
``Opaque``, with a reason, after its parts were read for the calls that they hold."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from charter_compiler.ir.nodes import Const
from charter_compiler.parser.elements import part_of
from charter_compiler.parser.functions import external_call
from charter_compiler.parser.joins import join
from charter_compiler.parser.library_objects import LibraryObjects
from charter_compiler.parser.names import Names
from charter_compiler.parser.operators import operation
from charter_compiler.parser.positions import Positions
from charter_compiler.parser.scope import Environment, Frame
from charter_compiler.parser.strings import Arguments, constant_of, constant_text, format_value
from charter_compiler.parser.texts import concat, normal
from charter_compiler.parser.values import (
    Either,
    External,
    FunctionRef,
    Input,
    Item,
    Opaque,
    Plain,
    Record,
    Repeated,
    Series,
    Text,
    Value,
    deps_of,
)

if TYPE_CHECKING:
    from charter_compiler.parser.interpreter import Interpreter

_CONVERSIONS = {-1: None, ord("s"): "s", ord("r"): "r", ord("a"): "a"}
_SCOPE_WIDTH = ("agent", "item", "loop", "call")


class Evaluator(LibraryObjects, Names):
    """Evaluates expressions. ``env`` and ``frame`` are those of the function that is being read; calls of the project's
    own functions and of models go to the ``interpreter``."""

    def __init__(self, interpreter: Interpreter, env: Environment, frame: Frame) -> None:
        self.interpreter = interpreter
        self.env = env
        self.frame = frame

    @property
    def positions(self) -> Positions:
        return self.frame.module.positions

    def evaluate(self, node: ast.expr) -> Value:
        """The value of an expression in the current environment."""
        handler = EXPRESSIONS.get(type(node))
        if handler is None:
            return self.unknown(node, f"{_describe(node)} is evaluated at run time")
        value: Value = handler(self, node)
        return value

    def unknown(self, node: ast.AST, reason: str) -> Opaque:
        """Not known; the parts are evaluated for the calls in them."""
        parts = [self.evaluate(child) for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)]
        return Opaque(reason, deps_of(*parts))

    # Handlers, in the order of the table below.

    def constant(self, node: ast.Constant) -> Value:
        if isinstance(node.value, str):
            # The same object at each reading: comparing values is then quick.
            known = self.frame.module.texts
            if id(node) not in known:
                known[id(node)] = Text(normal((Const(node.value, self.positions.of(node)),)))
            return known[id(node)]
        if isinstance(node.value, bytes) or node.value is Ellipsis:
            return Opaque("a constant that is no text")
        return Plain(node.value)

    def joined_string(self, node: ast.JoinedStr) -> Value:
        parts: list[Text] = []
        for part, span in zip(node.values, self.positions.of_fstring(node), strict=True):
            if isinstance(part, ast.FormattedValue):
                spec = "" if part.format_spec is None else constant_text(self.evaluate(part.format_spec))
                value = self.evaluate(part.value)
                parts.append(format_value(value, _CONVERSIONS[part.conversion], spec, span))
            elif isinstance(part, ast.Constant):
                parts.append(Text(normal((Const(str(part.value), span),))))
        return concat(parts, self.positions.of(node))

    def name(self, node: ast.Name) -> Value:
        return self.lookup(node.id)

    def attribute(self, node: ast.Attribute) -> Value:
        if isinstance(node.value, ast.Name) and node.value.id == self.frame.own:
            own = self.env.get(f"self.{node.attr}")
            if own is not None:
                return own
            value = self.attribute_of(self.evaluate(node.value), node.attr, self.positions.of(node))
            if not isinstance(value, FunctionRef):
                # So that what is done to the list that it is, is done to the attribute.
                self.env.set(f"self.{node.attr}", value)
            return value
        if isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Name) and node.value.func.id == "super":
            return self._super(node.attr)
        return self.attribute_of(self.evaluate(node.value), node.attr, self.positions.of(node))

    def subscript(self, node: ast.Subscript) -> Value:
        value = self.evaluate(node.value)
        if isinstance(node.slice, ast.Slice):
            parts = [self.evaluate(part) for part in (node.slice.lower, node.slice.upper, node.slice.step) if part]
            known = all(constant_of(part)[0] for part in parts)
            return part_of(value, ast.unparse(node.slice) if known else None, None, parts, self.frame)
        key = self.evaluate(node.slice)
        known, constant = constant_of(key)
        if not known and isinstance(key, Input) and isinstance(value, Input):
            part = value.part(f"[{key.name}]")
            return replace(part, scope=max(part.scope, key.scope, key=_SCOPE_WIDTH.index))
        return part_of(value, repr(constant) if known else None, constant, [key], self.frame)

    def binary(self, node: ast.BinOp) -> Value:
        # A chain of hundreds of additions nests to the left: walk down it instead of recursing.
        operands, left = [], node
        while isinstance(node.op, ast.Add) and isinstance(left.left, ast.BinOp) and isinstance(left.left.op, ast.Add):
            operands.append(left.right)
            left = left.left
        values = [self.evaluate(operand) for operand in [left.left, left.right, *reversed(operands)]]
        return operation(node.op, values, self.frame.fields, self.positions.of(node))

    def unary(self, node: ast.UnaryOp) -> Value:
        value = self.evaluate(node.operand)
        if isinstance(node.op, ast.USub) and isinstance(value, Plain) and isinstance(value.value, int | float):
            return Plain(-value.value)
        return Opaque("an expression of kind UnaryOp is evaluated at run time", deps_of(value))

    def boolean(self, node: ast.BoolOp) -> Value:
        return join([self.evaluate(value) for value in node.values], self.positions.of(node))

    def conditional(self, node: ast.IfExp) -> Value:
        self.evaluate(node.test)
        return join([self.evaluate(node.body), self.evaluate(node.orelse)], self.positions.of(node))

    def dictionary(self, node: ast.Dict) -> Value:
        entries: list[tuple[str, Value]] = []
        rest: list[Value] = []
        for key_node, value_node in zip(node.keys, node.values, strict=True):
            value = self.evaluate(value_node)
            key = None if key_node is None else constant_text(self.evaluate(key_node))
            if key_node is None and isinstance(value, Record) and value.rest is None:
                entries.extend(value.entries)
            elif key_node is None:
                rest.append(value)
            elif key is not None:
                entries.append((key, value))
            else:
                rest.append(Opaque("the key is made at run time", deps_of(value)))
        if len(rest) > 1:
            rest = [Opaque("several dictionaries are merged", deps_of(*rest))]
        return Record(tuple(entries), rest[0] if rest else None)

    def sequence(self, node: ast.List | ast.Tuple) -> Value:
        items: list[Item] = []
        for element in node.elts:
            if isinstance(element, ast.Starred):
                value = self.evaluate(element.value)
                items.extend(value.items if isinstance(value, Series) else [Repeated((value,))])
            else:
                items.append(self.evaluate(element))
        return Series(tuple(items))

    def set_literal(self, node: ast.Set) -> Value:
        return Opaque("a set, whose order is not fixed", deps_of(*map(self.evaluate, node.elts)), "unordered")

    def comprehension(self, node: ast.ListComp | ast.GeneratorExp | ast.SetComp) -> Value:
        value = self._generate(node.generators, lambda: self.evaluate(node.elt))
        if isinstance(node, ast.SetComp):
            return Opaque("a set, whose order is not fixed", deps_of(value), "unordered")
        return Series((Repeated((value,)),))

    def dictionary_comprehension(self, node: ast.DictComp) -> Value:
        value = self._generate(
            node.generators,
            lambda: Opaque("a dictionary made in a loop", deps_of(self.evaluate(node.key), self.evaluate(node.value))),
        )
        return Record((), value)

    def _generate(self, generators: list[ast.comprehension], element: Callable[[], Value]) -> Value:
        first, *inner = generators
        items = self.evaluate(first.iter)
        with self.inside(self.positions.between(first.target, first.iter)):
            self.bind_item(first.target, items)
            for test in first.ifs:
                self.evaluate(test)
            return self._generate(inner, element) if inner else element()

    def awaited(self, node: ast.Await | ast.Starred) -> Value:
        if isinstance(node, ast.Await):
            self.interpreter.awaiting = node.value
        return self.evaluate(node.value)

    def yielded(self, node: ast.Yield | ast.YieldFrom) -> Value:
        if node.value is not None:
            value = self.evaluate(node.value)
            self.frame.yields.append(value)
        return Opaque("what is sent to a generator")

    def named(self, node: ast.NamedExpr) -> Value:
        value = self.evaluate(node.value)
        self.env.set(node.target.id, value)
        return value

    def function(self, node: ast.Lambda) -> Value:
        return self.interpreter.anonymous(node)

    def call(self, node: ast.Call) -> Value:
        span = self.positions.of(node)
        receiver: Value | None = None
        if isinstance(node.func, ast.Attribute) and not _is_super(node.func.value):
            receiver = self.evaluate(node.func.value)
        arguments = self._arguments(node)
        # After the arguments, since a walrus in them may bind what is called.
        callee = self.evaluate(node.func) if receiver is None else self._method(node.func, receiver)
        found = self.interpreter.project_or_model_call(node, callee, receiver, arguments, span)
        if found is not None:
            return found
        if isinstance(node.func, ast.Attribute) and receiver is not None:
            value = self._call_method(receiver, node.func.attr, arguments, node, span)
            if value is not None:
                return value
        for option in callee.options if isinstance(callee, Either) else (callee,):
            made = self._made(option, arguments, span) if isinstance(option, External) else None
            if made is not None:
                return made
        return external_call(self.env, self.frame, callee, receiver, arguments, written(node.func), span)

    def _method(self, node: ast.expr, receiver: Value) -> Value:
        assert isinstance(node, ast.Attribute)
        if isinstance(node.value, ast.Name) and node.value.id == self.frame.own:
            return self.attribute(node)
        return self.attribute_of(receiver, node.attr, self.positions.of(node))

    def _arguments(self, node: ast.Call) -> Arguments:
        arguments = Arguments(fields=self.frame.fields)
        for argument in node.args:
            value = self.evaluate(argument)
            if isinstance(argument, ast.Starred):
                arguments.open = True
            arguments.spans[len(arguments.positional)] = self.positions.of(argument)
            arguments.positional.append(value)
        for keyword in node.keywords:
            value = self.evaluate(keyword.value)
            span = self.positions.of(keyword.value)
            if keyword.arg is not None:
                arguments.keywords[keyword.arg] = value
                arguments.spans[keyword.arg] = span
            elif isinstance(value, Record) and value.rest is None:
                for name, known in value.entries:
                    arguments.keywords[name] = known
                    arguments.spans[name] = span
            elif arguments.rest is None:
                arguments.rest, arguments.rest_span = value, span
            else:
                arguments.rest = Opaque("several mappings are unpacked", deps_of(arguments.rest, value))
        return arguments


EXPRESSIONS: dict[type[ast.expr], Callable[[Evaluator, Any], Value]] = {
    ast.Constant: Evaluator.constant,
    ast.JoinedStr: Evaluator.joined_string,
    ast.Name: Evaluator.name,
    ast.Attribute: Evaluator.attribute,
    ast.Subscript: Evaluator.subscript,
    ast.BinOp: Evaluator.binary,
    ast.UnaryOp: Evaluator.unary,
    ast.BoolOp: Evaluator.boolean,
    ast.IfExp: Evaluator.conditional,
    ast.Dict: Evaluator.dictionary,
    ast.List: Evaluator.sequence,
    ast.Tuple: Evaluator.sequence,
    ast.ListComp: Evaluator.comprehension,
    ast.GeneratorExp: Evaluator.comprehension,
    ast.SetComp: Evaluator.comprehension,
    ast.Set: Evaluator.set_literal,
    ast.DictComp: Evaluator.dictionary_comprehension,
    ast.Await: Evaluator.awaited,
    ast.Starred: Evaluator.awaited,
    ast.NamedExpr: Evaluator.named,
    ast.Lambda: Evaluator.function,
    ast.Yield: Evaluator.yielded,
    ast.YieldFrom: Evaluator.yielded,
    ast.Call: Evaluator.call,
}
"""The expressions that are understood."""


def _is_super(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "super"


def written(node: ast.expr) -> str:
    """The callee of a call as it is written; quicker than ``ast.unparse`` for what is common."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ast.unparse(node) + "".join(f".{part}" for part in reversed(parts)) if parts else ast.unparse(node)
    return ".".join((node.id, *reversed(parts)))


def _describe(node: ast.expr) -> str:
    return f"an expression of kind {type(node).__name__}"
