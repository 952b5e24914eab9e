"""The abstract interpreter of expressions. The constructs understood are one table, ``EXPRESSIONS``; anything else is
``Opaque``, with a reason, after its parts were read for the calls that they hold."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from charter_compiler.diagnostics.span import Span
from charter_compiler.ir.nodes import Const
from charter_compiler.parser.functions import MUTABLE, call_function, mutate
from charter_compiler.parser.positions import Positions
from charter_compiler.parser.scope import Environment, Frame
from charter_compiler.parser.sites import Site, key_of, signature_of, site_of
from charter_compiler.parser.strings import (
    Arguments,
    constant_of,
    constant_text,
    entry,
    format_value,
    method_of_text,
    transformed,
)
from charter_compiler.parser.values import (
    ClassRef,
    Either,
    External,
    Input,
    Instance,
    Item,
    Opaque,
    Plain,
    Record,
    Repeated,
    Result,
    Series,
    Text,
    Value,
    concat,
    deps_of,
    item_of,
    join,
    normal,
    text_of,
)

_CONVERSIONS = {-1: None, ord("s"): "s", ord("r"): "r", ord("a"): "a"}
_SCOPE_WIDTH = ("agent", "item", "loop", "call")
REPETITION_LIMIT = 100_000
"""Characters of ``"-" * n`` beyond which the text is not spelled out."""


class Evaluator:
    """Evaluates the expressions of one file and collects the model calls in them.

    ``env`` and ``frame`` are set by the executor of statements; ``sites`` holds the last reading of each call, since
    the body of a loop is read twice.
    """

    def __init__(self, positions: Positions, rebound: frozenset[str], shared: frozenset[str]) -> None:
        self.positions = positions
        self.env = Environment()
        self.frame = Frame("<module>", self.env)
        self.module = self.env
        self.sites: dict[str, Site] = {}
        self._rebound = rebound
        self._shared = shared

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

    def lookup(self, name: str) -> Value:
        """What a name holds."""
        value = self.env.get(name)
        if name in self._rebound:
            return Opaque(f"{name} is rebound by a function", deps_of(value))
        if value is None:
            if hasattr(builtins, name):
                return External(f"builtins.{name}")
            return Opaque(f"{name} is not bound in this file")
        in_function = self.frame.base is not self.module
        if in_function and name in self._shared and isinstance(value, MUTABLE) and self.module.get(name) is value:
            return Opaque(f"{name} is changed by a function", deps_of(value))
        return value

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
        if isinstance(items, Series) and items.items and isinstance(target, ast.Name):
            self.env.set(target.id, join(item_of(items.items), self.positions.of(target)))
        elif deps := deps_of(items):
            for name in _targets(target):
                self.env.set(name, Opaque("an element of what calls returned", deps))
        else:
            for name in _targets(target):
                self.frame.fields.setdefault(name, name)
                self.env.set(name, Input(name, "loop"))
        self.evaluate_places(target)

    def evaluate_places(self, target: ast.expr) -> None:
        """Read the calls in the subscripts and attributes that are assigned to."""
        for node in ast.walk(target):
            if isinstance(node, ast.Subscript):
                self.evaluate(node.slice)

    # Handlers, in the order of the table below.

    def constant(self, node: ast.Constant) -> Value:
        if isinstance(node.value, str):
            return Text(normal((Const(node.value, self.positions.of(node)),)))
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
        return self.attribute_of(self.evaluate(node.value), node.attr, self.positions.of(node))

    def attribute_of(self, value: Value, name: str, span: Span) -> Value:
        match value:
            case Input() | Result():
                return value.part(f".{name}")
            case External(path=path):
                return External(f"{path}.{name}")
            case Instance(cls=cls):
                return cls.attribute(name)
            case ClassRef(cls=cls):
                return cls.constant(name)
            case Either(options=options):
                return join([self.attribute_of(option, name, span) for option in options], span)
            case Opaque(reason=reason, deps=deps):
                return Opaque(reason, deps)
        return Opaque(f"the attribute .{name} is read at run time", deps_of(value))

    def subscript(self, node: ast.Subscript) -> Value:
        value = self.evaluate(node.value)
        if isinstance(node.slice, ast.Slice):
            parts = [self.evaluate(part) for part in (node.slice.lower, node.slice.upper, node.slice.step) if part]
            known = all(constant_of(part)[0] for part in parts)
            return self.part_of(value, ast.unparse(node.slice) if known else None, None, parts)
        key = self.evaluate(node.slice)
        known, constant = constant_of(key)
        if not known and isinstance(key, Input) and isinstance(value, Input):
            part = value.part(f"[{key.name}]")
            return replace(part, scope=max(part.scope, key.scope, key=_SCOPE_WIDTH.index))
        return self.part_of(value, repr(constant) if known else None, constant, [key])

    def part_of(self, value: Value, written: str | None, key: object, parts: list[Value]) -> Value:
        """``value[...]``; ``written`` is the key as text where it is constant."""
        match value:
            case Input() | Result() if written is not None:
                return value.part(f"[{written}]")
            case Record() if isinstance(key, str):
                return entry(value, key, self.frame.fields)
            case Series(items=items) if isinstance(key, int) and not any(isinstance(item, Repeated) for item in items):
                if -len(items) <= key < len(items):
                    picked = items[key]
                    if not isinstance(picked, Repeated):
                        return picked
            case Either(options=options):
                return Either(tuple(self.part_of(option, written, key, parts) for option in options))
        return Opaque("an element is picked at run time", deps_of(value, *parts))

    def binary(self, node: ast.BinOp) -> Value:
        # A chain of hundreds of additions nests to the left: walk down it instead of recursing.
        operands, left = [], node
        while isinstance(node.op, ast.Add) and isinstance(left.left, ast.BinOp) and isinstance(left.left.op, ast.Add):
            operands.append(left.right)
            left = left.left
        values = [self.evaluate(operand) for operand in [left.left, left.right, *reversed(operands)]]
        return self.operation(node.op, values, self.positions.of(node))

    def operation(self, operator: ast.operator, values: list[Value], span: Span) -> Value:
        if isinstance(operator, ast.Add):
            if any(_is_text(value) for value in values):
                return concat([text_of(value, span) for value in values], span)
            if all(isinstance(value, Series) for value in values):
                return Series(tuple(item for value in values if isinstance(value, Series) for item in value.items))
            return Opaque("a sum is computed at run time", deps_of(*values))
        if isinstance(operator, ast.Mult) and len(values) == 2:
            text = constant_text(values[0]) if constant_text(values[0]) is not None else constant_text(values[1])
            times = next((value.value for value in values if isinstance(value, Plain)), None)
            if text is not None and isinstance(times, int) and len(text) * times <= REPETITION_LIMIT:
                return Text(normal((Const(text * times, span),)))
        kind = "% formatting" if isinstance(operator, ast.Mod) and _is_text(values[0]) else "a computation"
        return Opaque(f"{kind} is done at run time", deps_of(*values))

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

    def comprehension(self, node: ast.ListComp | ast.GeneratorExp | ast.SetComp) -> Value:
        value = self._generate(node.generators, lambda: self.evaluate(node.elt))
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
        return self.evaluate(node.value)

    def named(self, node: ast.NamedExpr) -> Value:
        value = self.evaluate(node.value)
        self.env.set(node.target.id, value)
        return value

    def function(self, node: ast.Lambda) -> Value:
        with self.inside() as env:
            for argument in ast.walk(node.args):
                if isinstance(argument, ast.arg):
                    env.set(argument.arg, Input(argument.arg, "call"))
            value = self.evaluate(node.body)
        return Opaque("a lambda", deps_of(value))

    def call(self, node: ast.Call) -> Value:
        span = self.positions.of(node)
        receiver: Value | None = None
        if isinstance(node.func, ast.Attribute):
            receiver = self.evaluate(node.func.value)
        arguments = self._arguments(node)
        # After the arguments, since a walrus in them may bind what is called.
        callee = self.evaluate(node.func) if receiver is None else self._method(node.func, receiver)
        signature = signature_of(callee, arguments)
        if signature is not None:
            site = site_of(
                node,
                signature,
                arguments,
                span,
                function=self.frame.function,
                parameters=self.frame.parameters,
                loops=self.frame.loops,
            )
            self.sites[site.key] = site
            return Result(key_of(span), texts=signature.texts)
        if isinstance(node.func, ast.Attribute) and receiver is not None:
            value = self._call_method(receiver, node.func.attr, arguments, node, span)
            if value is not None:
                return value
        return call_function(self.env, self.frame, callee, receiver, arguments, ast.unparse(node.func), span)

    def _method(self, node: ast.expr, receiver: Value) -> Value:
        assert isinstance(node, ast.Attribute)
        if isinstance(node.value, ast.Name) and node.value.id == self.frame.own:
            return self.attribute(node)
        return self.attribute_of(receiver, node.attr, self.positions.of(node))

    def _call_method(
        self, receiver: Value, method: str, arguments: Arguments, node: ast.Call, span: Span
    ) -> Value | None:
        """The method of a value whose type is known; ``None`` for any other."""
        match receiver:
            case Text():
                return method_of_text(receiver, method, arguments, span)
            case Either() if _is_text(receiver):
                return method_of_text(text_of(receiver, span), method, arguments, span)
            case Series() | Record() | Either():
                return mutate(self.env, self.frame, receiver, method, arguments)
            case Input() | Result() if all(constant_of(value)[0] for value in arguments.values()):
                written = [ast.unparse(argument) for argument in node.args]
                return transformed(receiver, method, written, arguments.keywords)
        return None

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
    ast.BoolOp: Evaluator.boolean,
    ast.IfExp: Evaluator.conditional,
    ast.Dict: Evaluator.dictionary,
    ast.List: Evaluator.sequence,
    ast.Tuple: Evaluator.sequence,
    ast.ListComp: Evaluator.comprehension,
    ast.GeneratorExp: Evaluator.comprehension,
    ast.SetComp: Evaluator.comprehension,
    ast.DictComp: Evaluator.dictionary_comprehension,
    ast.Await: Evaluator.awaited,
    ast.Starred: Evaluator.awaited,
    ast.NamedExpr: Evaluator.named,
    ast.Lambda: Evaluator.function,
    ast.Call: Evaluator.call,
}
"""The expressions that are understood."""


def _describe(node: ast.expr) -> str:
    return f"an expression of kind {type(node).__name__}"


def _is_text(value: Value) -> bool:
    return isinstance(value, Text) or (isinstance(value, Either) and any(_is_text(option) for option in value.options))


def _targets(target: ast.expr) -> Iterable[str]:
    return [node.id for node in ast.walk(target) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
