"""The syntax around calls: what the IR does not say and some checks must know before they speak."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterable, Iterator
from typing import TypeAlias

from charter_compiler.diagnostics.span import Span
from charter_compiler.parser.positions import Positions

FunctionNode: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
LoopNode: TypeAlias = ast.For | ast.AsyncFor | ast.While
Comprehension: TypeAlias = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp

MUTATORS = frozenset(
    {
        *("append", "extend", "insert", "pop", "popleft", "appendleft", "remove", "clear", "add", "update"),
        *("setdefault", "discard", "sort", "reverse", "write", "put"),
    }
)
"""Methods that change their object in place."""


class Syntax:
    """The syntax tree of one file, with parents, looked up by spans."""

    def __init__(self, tree: ast.Module, positions: Positions) -> None:
        self.tree = tree
        self._positions = positions
        self._parents: dict[ast.AST, ast.AST] = {}
        self._calls: dict[tuple[int, int, int], list[ast.Call]] = {}
        for node in ast.walk(tree):
            for child in ast.iter_child_nodes(node):
                self._parents[child] = node
            if isinstance(node, ast.Call):
                self._calls.setdefault((node.lineno, node.end_lineno or 0, node.end_col_offset or 0), []).append(node)

    @classmethod
    def of(cls, file: str, source: str) -> Syntax | None:
        """The syntax of a text; ``None`` where it cannot be parsed (a notebook)."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None
        return cls(tree, Positions(file, source))

    def span(self, node: ast.expr | ast.stmt) -> Span:
        return self._positions.of(node)

    def call(self, span: Span) -> ast.Call | None:
        """The call at a span."""
        for (line, end_line, _), nodes in self._calls.items():
            if line == span.line and end_line == span.end_line:
                for node in nodes:
                    if self._positions.of(node) == span:
                        return node
        return None

    def expressions(self, within: Span) -> Iterator[tuple[ast.expr, Span]]:
        """The expressions that lie in a range, with their spans; of an f-string its fields, with their braces."""
        pending: list[ast.AST] = [self.tree]
        while pending:
            node = pending.pop()
            if isinstance(node, ast.expr | ast.stmt):
                if node.lineno > within.end_line or (node.end_lineno or 0) < within.line:
                    continue
                if isinstance(node, ast.JoinedStr):
                    # Before Python 3.12 the nodes inside have no positions of their own.
                    for value, span in zip(node.values, self._positions.of_fstring(node), strict=True):
                        if isinstance(value, ast.FormattedValue) and _lies_in(span, within):
                            yield value.value if value.format_spec is None else value, span
                    continue
                if isinstance(node, ast.expr) and _lies_in(span := self._positions.of(node), within):
                    yield node, span
            pending.extend(ast.iter_child_nodes(node))

    def written(self, name: str, within: Span) -> Span | None:
        """The first expression in a range that is written so."""
        return min((span for node, span in self.expressions(within) if ast.unparse(node) == name), default=None)

    def parent(self, node: ast.AST) -> ast.AST | None:
        return self._parents.get(node)

    def ancestors(self, node: ast.AST) -> Iterator[ast.AST]:
        """The nodes around one, inner before outer, itself left out."""
        current = self._parents.get(node)
        while current is not None:
            yield current
            current = self._parents.get(current)

    def function(self, node: ast.AST) -> FunctionNode | None:
        """The innermost function around a node."""
        return next((each for each in self.ancestors(node) if isinstance(each, FunctionNode)), None)

    def owner(self, node: ast.AST) -> ast.ClassDef | None:
        """The innermost class around a node."""
        return next((each for each in self.ancestors(node) if isinstance(each, ast.ClassDef)), None)

    def function_at(self, line: int) -> FunctionNode | None:
        """The innermost ``def`` that holds a line."""
        found: FunctionNode | None = None
        for node in ast.walk(self.tree):
            if (
                isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
                and node.lineno <= line <= (node.end_lineno or 0)
                and (found is None or node.lineno >= found.lineno)
            ):
                found = node
        return found

    def statement(self, node: ast.AST) -> ast.stmt | None:
        """The innermost statement that holds a node."""
        if isinstance(node, ast.stmt):
            return node
        return next((each for each in self.ancestors(node) if isinstance(each, ast.stmt)), None)

    def loop(self, node: ast.AST) -> LoopNode | ast.comprehension | None:
        """The innermost loop of the same function whose body holds a node: a statement, or a comprehension's ``for``.

        What a ``for`` iterates over is outside of it.
        """
        below: ast.AST = node
        for each in self.ancestors(node):
            if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
                return None
            if isinstance(each, ast.For | ast.AsyncFor) and below is not each.iter:
                return each
            if isinstance(each, ast.While):
                return each
            if isinstance(each, Comprehension) and below is not each.generators[0]:
                return each.generators[-1]
            below = each
        return None

    def bound_in_loop(self, node: ast.AST) -> set[str] | None:
        """The names that the innermost loop around a node binds in each turn; ``None`` without a loop."""
        loop = self.loop(node)
        if loop is None:
            return None
        if isinstance(loop, ast.comprehension):
            return names_in(loop.target)
        found = set() if isinstance(loop, ast.While) else names_in(loop.target)
        for statement in loop.body:
            for each in own_nodes(statement):
                if isinstance(each, ast.comprehension):
                    continue
                if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store):
                    above = self.parent(each)
                    while isinstance(above, ast.Tuple | ast.List | ast.Starred):
                        above = self.parent(above)
                    if not isinstance(above, ast.comprehension):
                        found.add(each.id)
        return found

    def bound_around(self, node: ast.AST) -> frozenset[str]:
        """The items of the loops around the innermost one, which do not change in it."""
        innermost = self.loop(node)
        inner = set() if isinstance(innermost, ast.While | None) else names_in(innermost.target)
        found: set[str] = set()
        loops = [each for each in self.ancestors(node) if isinstance(each, ast.For | ast.AsyncFor | Comprehension)]
        for each in loops:
            generators = [each] if isinstance(each, ast.For | ast.AsyncFor) else each.generators
            for one in generators:
                if one is not innermost:
                    found |= names_in(one.target)
        return frozenset(found - inner)

    def block(self, statement: ast.stmt) -> list[ast.stmt]:
        """The list of statements that a statement stands in."""
        parent = self.parent(statement)
        for name in ("body", "orelse", "finalbody"):
            block = getattr(parent, name, None)
            if isinstance(block, list) and statement in block:
                return block
        return [statement]

    def within(self, node: ast.AST, *kinds: type[ast.AST]) -> bool:
        """Whether a node of these kinds is around one, in the same function."""
        for each in self.ancestors(node):
            if isinstance(each, kinds):
                return True
            if isinstance(each, FunctionNode):
                return False
        return False


def _lies_in(inner: Span, outer: Span) -> bool:
    return (outer.line, outer.column) <= (inner.line, inner.column) and (inner.end_line, inner.end_column) <= (
        outer.end_line,
        outer.end_column,
    )


def names_in(node: ast.AST) -> set[str]:
    """The variables that are read or written in a node."""
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}


def dotted(node: ast.AST) -> str:
    """``self.history`` as written; empty for what is no name."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        inner = dotted(node.value)
        return f"{inner}.{node.attr}" if inner else ""
    return ""


def changes(nodes: Iterable[ast.AST], name: str) -> bool:
    """Whether a variable or attribute (``self.history``) may be changed in these nodes: bound again, changed in place,
    or handed to a function that is not known."""
    for root in nodes:
        for node in ast.walk(root):
            match node:
                case ast.Assign(targets=targets):
                    if any(_binds(target, name) for target in targets):
                        return True
                case ast.AugAssign(target=target) | ast.AnnAssign(target=target) | ast.NamedExpr(target=target):
                    if _binds(target, name):
                        return True
                case ast.For(target=target) | ast.AsyncFor(target=target):
                    if _binds(target, name):
                        return True
                case ast.With(items=items) | ast.AsyncWith(items=items):
                    if any(each.optional_vars is not None and _binds(each.optional_vars, name) for each in items):
                        return True
                case ast.Delete(targets=targets):
                    if any(_binds(target, name) for target in targets):
                        return True
                case ast.Call(func=ast.Attribute(value=value, attr=attr)) if attr in MUTATORS:
                    if dotted(value) == name:
                        return True
    return False


def _binds(target: ast.AST, name: str) -> bool:
    match target:
        case ast.Tuple(elts=elements) | ast.List(elts=elements):
            return any(_binds(each, name) for each in elements)
        case ast.Starred(value=value) | ast.Subscript(value=value):
            return _binds(value, name)
        case ast.Attribute():
            written = dotted(target)
            return written == name or written.startswith(f"{name}.")
    return dotted(target) == name


def leaves(nodes: Iterable[ast.AST], *, loop: bool) -> bool:
    """Whether the nodes may leave the function, or (``loop``) the loop around them."""
    kinds: tuple[type[ast.AST], ...] = (ast.Return, ast.Raise, ast.Break) if loop else (ast.Return, ast.Raise)
    return any(isinstance(each, kinds) for node in nodes for each in own_nodes(node))


def own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """A node and those in it, without the bodies of nested functions."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            yield from own_nodes(child)
