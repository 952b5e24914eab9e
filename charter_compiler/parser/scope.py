"""Names and what they hold, while a function is interpreted."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from charter_compiler.diagnostics.span import Span
from charter_compiler.parser.definitions import ClassInfo, FunctionInfo, FunctionNode, mutated_name
from charter_compiler.parser.modules import Module
from charter_compiler.parser.syntax import nodes_below, nodes_of
from charter_compiler.parser.values import Either, Opaque, Record, Series, Value


class Environment:
    """Names bound on one path of the program; what is not bound here is looked up in ``parent``.

    A branch gets a child of its own; where paths meet, only what the children bound needs to be joined. An attribute of
    ``self`` that a method has set is held under ``self.name``, which no Python name can be.
    """

    __slots__ = ("names", "parent")

    def __init__(self, parent: Environment | None = None) -> None:
        self.parent = parent
        self.names: dict[str, Value] = {}

    def get(self, name: str) -> Value | None:
        scope: Environment | None = self
        while scope is not None:
            if name in scope.names:
                return scope.names[name]
            scope = scope.parent
        return None

    def set(self, name: str, value: Value) -> None:
        self.names[name] = value

    def since(self, base: Environment | None) -> dict[str, Value]:
        """What was bound between ``base`` and here."""
        scopes: list[dict[str, Value]] = []
        scope: Environment | None = self
        while scope is not None and scope is not base:
            scopes.append(scope.names)
            scope = scope.parent
        return {name: value for names in reversed(scopes) for name, value in names.items()}

    def onto(self, parent: Environment, *, since: Environment) -> Environment:
        """What was bound between ``since`` and here, as a child of ``parent``."""
        moved = Environment(parent)
        moved.names.update(self.since(since))
        return moved

    def replace(self, old: Value, new: Value, base: Environment | None) -> None:
        """Bind to ``new`` every name, up to the function's own ``base``, that holds the very object ``old``, or may."""
        seen: set[str] = set()
        scope: Environment | None = self
        while scope is not None:
            for name, value in list(scope.names.items()):
                if name not in seen and value is old:
                    self.names[name] = new
                elif name not in seen and isinstance(value, Either) and any(each is old for each in value.options):
                    self.names[name] = Either(tuple(new if each is old else each for each in value.options))
                seen.add(name)
            if scope is base:
                return
            scope = scope.parent


@dataclass(slots=True)
class LoopExits:
    """Where paths leave the body of a loop before its end."""

    continues: list[Environment] = field(default_factory=list)
    breaks: list[Environment] = field(default_factory=list)


@dataclass(slots=True)
class Frame:
    """The function that is being interpreted.

    ``inline``: it is read at a call of it, with the values of that call, instead of on its own. ``loops`` are those
    around the current expression, ``arms`` the branches, outermost first; ``fields`` are the names given to values from
    outside, and what they belong to (see ``strings.entry``). ``returns`` are the values returned so far, ``ends`` the
    names as they are at each return.
    """

    function: str
    base: Environment
    module: Module
    info: FunctionInfo | None = None
    parameters: frozenset[str] = frozenset()
    own: str | None = None
    cls: ClassInfo | None = None
    inline: bool = False
    fields: dict[str, str] = field(default_factory=dict)
    loops: list[Span] = field(default_factory=list)
    arms: list[Span] = field(default_factory=list)
    exits: list[LoopExits] = field(default_factory=list)
    returns: list[Value] = field(default_factory=list)
    yields: list[Value] = field(default_factory=list)
    ends: list[Environment] = field(default_factory=list)


def own_statements(body: Iterable[ast.stmt]) -> list[ast.AST]:
    """Every node of a function's body, without the bodies of functions and classes inside it."""
    return nodes_below(body, (*_FUNCTIONS, ast.ClassDef, ast.Lambda))


def bound_names(body: Iterable[ast.stmt]) -> Counter[str]:
    """How often each name is bound in these statements."""
    count: Counter[str] = Counter()
    for node in own_statements(body):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store | ast.Del):
            count[node.id] += 1
    return count


def changed_names(statement: ast.stmt, own: str | None) -> Counter[str]:
    """How often each name is bound, or its list or dictionary changed, in a statement; attributes of ``own`` count
    under the name that the environment has for them."""
    return _changes(statement, own)[0]


def used_objects(statement: ast.stmt, own: str | None) -> set[str]:
    """Names of which a method is called, or an attribute assigned, in a statement."""
    return _changes(statement, own)[1]


def _changes(statement: ast.stmt, own: str | None) -> tuple[Counter[str], set[str]]:
    known = _CHANGED.get(id(statement))
    if known is not None and known[0] is statement and known[1] == own:
        return known[2]
    count: Counter[str] = Counter()
    objects: set[str] = set()
    for node in own_statements([statement]):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name))):
                objects.add(name)
            case ast.Attribute(value=ast.Name(id=name), ctx=ast.Store()):
                objects.add(name)
            case ast.Call(args=arguments):
                objects.update(each.id for each in arguments if isinstance(each, ast.Name))
        match node:
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                count[name] += 1
            case ast.Attribute(value=ast.Name(id=name), attr=attribute, ctx=ast.Store()) if name == own:
                count[f"self.{attribute}"] += 1
            case ast.Subscript() | ast.Call():
                count.update(mutated_name(node))
    if len(_CHANGED) > _REMEMBERED:
        _CHANGED.clear()
    _CHANGED[id(statement)] = statement, own, (count, objects)
    return count, objects


_CHANGED: dict[int, tuple[ast.stmt, str | None, tuple[Counter[str], set[str]]]] = {}
"""What was found out of a statement: it is read many times over. The statement is kept, so that its identity stays."""

_REMEMBERED = 20_000


def closure(outer: Environment, node: FunctionNode | ast.Lambda) -> Environment:
    """What a nested function sees of ``node``, the function around it, once that is interpreted.

    A name that is bound more than once there may hold any of its values when the nested function runs, and a list or
    dictionary any of its contents.
    """
    inner = Environment(outer)
    if isinstance(node, ast.Lambda):
        return inner
    names = bound_names(node.body)
    for argument in nodes_of(node.args):
        if isinstance(argument, ast.arg):
            names[argument.arg] += 1
    for name, count in names.items():
        if count > 1:
            inner.set(name, Opaque(f"{name} is bound more than once in {node.name}()"))
        elif isinstance(outer.get(name), Series | Record):
            inner.set(name, Opaque(f"{name} may change in {node.name}()"))
    return inner


_GLOBAL = re.compile(r"^[ \t]*(?:global|nonlocal)[ \t]+([\w, \t]+)", re.MULTILINE)


def rebound_names(source: str) -> frozenset[str]:
    """Names that some function declares ``global`` or ``nonlocal``: nothing is known of them."""
    return frozenset(name.strip() for names in _GLOBAL.findall(source) for name in names.split(","))


def shared_names(tree: ast.Module) -> frozenset[str]:
    """Names whose list or dictionary some function changes: what the module binds to them is only their first value."""
    functions = [node for node in nodes_of(tree, _FUNCTIONS) if isinstance(node, _FUNCTIONS)]
    return frozenset(name for node in nodes_below(functions) for name in mutated_name(node))


_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
