"""The abstract interpreter of expressions. The constructs understood are one table, ``EXPRESSIONS``; anything else is
``Opaque``, with a reason, after its parts were read for the calls that they hold."""

from __future__ import annotations

import ast
import builtins
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from charter_compiler.diagnostics.span import Span
from charter_compiler.ir.nodes import Const
from charter_compiler.parser import sdk
from charter_compiler.parser.functions import MUTABLE, external_call
from charter_compiler.parser.joins import join
from charter_compiler.parser.library_objects import LibraryObjects
from charter_compiler.parser.modules import Module
from charter_compiler.parser.positions import Positions
from charter_compiler.parser.scope import Environment, Frame, shared_names
from charter_compiler.parser.strings import (
    Arguments,
    constant_of,
    constant_text,
    entry,
    format_value,
    percent_text,
)
from charter_compiler.parser.texts import concat, is_short, normal, text_of
from charter_compiler.parser.values import (
    Chain,
    ClassRef,
    Either,
    External,
    FilePath,
    FunctionRef,
    Imported,
    Input,
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
    deps_of,
    is_text,
    item_of,
    repeated,
    results_of,
)

if TYPE_CHECKING:
    from charter_compiler.parser.interpreter import Interpreter

_CONVERSIONS = {-1: None, ord("s"): "s", ord("r"): "r", ord("a"): "a"}
_SCOPE_WIDTH = ("agent", "item", "loop", "call")
REPETITION_LIMIT = 100_000
"""Characters of ``"-" * n`` beyond which the text is not spelled out."""


class Evaluator(LibraryObjects):
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
            case Record(entries=entries, rest=None) if entries and written is None:
                return join([each for _, each in entries], entries_span(entries, self.frame))
            case Series(items=items) if isinstance(key, int) and not any(isinstance(item, Repeated) for item in items):
                if -len(items) <= key < len(items):
                    picked = items[key]
                    if not isinstance(picked, Repeated):
                        return picked
            case Series(items=items) if isinstance(key, int) and (at_end := _at_an_end(items, key)) is not None:
                return at_end
            case Series(items=items) if items and (key is None or isinstance(key, int)) and written != ":":
                if len(parts) == 1 and not isinstance(parts[0], Series):
                    return join(item_of(items), entries_span((), self.frame))
                return Series((repeated(item_of(items)),))
            case Series():
                return Series(value.items)
            case Text(segments=segments) if (
                constant_text(value) is None and key is None and segments and is_short(segments)
            ):
                return Text(
                    (*segments, *text_of(Opaque("the text is cut here"), segments[-1].span).segments), value.deps
                )
            case Text() if (constant := constant_text(value)) is not None and isinstance(key, int):
                if -len(constant) <= key < len(constant):
                    return Text(normal((Const(constant[key], value.segments[0].span),)))
            case ClassRef(cls=cls):  # an enumeration, by name; or a generic class
                named = cls.constant(key) if isinstance(key, str) else None
                return named if named is not None else value
            case External() if value.path.startswith(("typing.", "builtins.")):
                return value
            case External(path=path) if value.given or sdk.is_module(path.partition(".")[0]):
                return External(f"{path}[]", value.given, value.deps)
            case Either(options=options):
                return Either(tuple(self.part_of(option, written, key, parts) for option in options))
        return Opaque("an element is picked at run time", deps_of(value) | results_of(*parts))

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
            if any(is_text(value) for value in values):
                return concat([text_of(value, span) for value in values], span)
            if any(isinstance(value, Series) for value in values):
                # A list from elsewhere stands in the sum with whatever it holds.
                items: list[Item] = []
                for value in values:
                    items.extend(value.items if isinstance(value, Series) else [Repeated((value,))])
                return Series(tuple(items))
            if any(isinstance(value, PromptTemplate) for value in values):
                return self._template_sum(values)
            return Opaque("a sum is computed at run time", deps_of(*values))
        if isinstance(operator, ast.BitOr) and (found := self._piped(values)) is not None:
            return found
        if isinstance(operator, ast.Div) and isinstance(values[0], FilePath):
            below = constant_text(values[1])
            if below is not None:
                return FilePath(os.path.join(values[0].path, below))
        if isinstance(operator, ast.Mod) and isinstance(values[0], Text):
            shown = percent_text(values[0], values[1], self.frame.fields, span)
            if shown is not None:
                return shown
        if isinstance(operator, ast.Mult) and len(values) == 2:
            text = constant_text(values[0]) if constant_text(values[0]) is not None else constant_text(values[1])
            times = next((value.value for value in values if isinstance(value, Plain)), None)
            if text is not None and isinstance(times, int) and len(text) * times <= REPETITION_LIMIT:
                return Text(normal((Const(text * times, span),)))
        kind = "% formatting" if isinstance(operator, ast.Mod) and is_text(values[0]) else "a computation"
        return Opaque(f"{kind} is done at run time", deps_of(*values))

    def _piped(self, values: list[Value]) -> Value | None:
        """``prompt | model``; ``None`` where neither side is part of a chain."""
        if all(isinstance(value, Record) for value in values):
            return Record(tuple(each for value in values if isinstance(value, Record) for each in value.entries))
        stages: list[Value] = []
        for value in values:
            stages.extend(value.stages if isinstance(value, Chain) else [value])
        if any(isinstance(value, Chain | PromptTemplate) or _is_runnable(value) for value in values):
            return Chain(tuple(stages))
        return None

    def _template_sum(self, values: list[Value]) -> Value:
        messages: list[tuple[str, Value]] = []
        syntax = "format"
        for value in values:
            if isinstance(value, PromptTemplate):
                messages.extend(value.messages)
                syntax = value.syntax
            else:
                messages.append(("user", value))
        return PromptTemplate(tuple(messages), syntax, chat=True)

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


def _at_an_end(items: tuple[Item, ...], key: int) -> Value | None:
    """The element that a number picks where only items further inside are repeated."""
    passed = items[: key + 1] if key >= 0 else items[key:]
    if len(passed) != (key + 1 if key >= 0 else -key) or any(isinstance(item, Repeated) for item in passed):
        return None
    picked = items[key]
    return None if isinstance(picked, Repeated) else picked


def _is_runnable(value: Value) -> bool:
    match value:
        case External(path=path):
            return path.endswith("()") and sdk.is_model(path[:-2])
        case Either(options=options):
            return any(_is_runnable(option) for option in options)
    return False


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


def entries_span(entries: Iterable[tuple[str, Value]], frame: Frame) -> Span:
    """A place for a choice among the values of a dictionary: that of the first text in it, else the file's start."""
    for _, value in entries:
        if isinstance(value, Text) and value.segments:
            return value.segments[0].span
    return Span(frame.module.label, 1, 1, 1, 1)


def _describe(node: ast.expr) -> str:
    return f"an expression of kind {type(node).__name__}"


def _targets(target: ast.expr) -> Iterable[str]:
    return [node.id for node in ast.walk(target) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
