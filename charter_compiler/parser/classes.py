"""What is known of the classes of a file: class constants, and attributes that ``__init__`` sets once."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field

from charter_compiler.parser.sdk.injected import is_client_name
from charter_compiler.parser.values import Input, Opaque, Value

MUTATORS = frozenset(
    {
        "append",
        "extend",
        "insert",
        "pop",
        "remove",
        "clear",
        "update",
        "setdefault",
        "sort",
        "reverse",
        "add",
        "discard",
    }
)
"""Methods of lists, dictionaries and sets that change them."""

_GENERATED_INIT = ("dataclass", "define", "frozen", "BaseModel", "NamedTuple")
"""Decorators and bases that make a constructor from the annotated names of the class body."""


@dataclass(slots=True, eq=False)
class ClassInfo:
    """One class statement.

    ``constants`` are the values bound in its body, ``initial`` those that ``__init__`` leaves on ``self``. ``changing``
    maps an attribute to the method that rebinds or mutates it: nothing is known of such an attribute.
    """

    name: str
    bases: tuple[ClassInfo, ...] = ()
    declared: frozenset[str] = frozenset()
    changing: dict[str, str] = field(default_factory=dict)
    constants: dict[str, Value] = field(default_factory=dict)
    initial: dict[str, Value] = field(default_factory=dict)
    overridden: set[str] = field(default_factory=set)

    def lineage(self) -> Iterator[ClassInfo]:
        """The class and those of its ancestors that are in this file, nearest first."""
        yield self
        for base in self.bases:
            yield from base.lineage()

    def constant(self, name: str) -> Value:
        """The attribute as read from the class itself."""
        for cls in self.lineage():
            if name in cls.constants:
                return cls.constants[name]
        return Opaque(f"{self.name}.{name} is not bound in this file")

    def attribute(self, name: str) -> Value:
        """The attribute as read from an instance in one of its methods."""
        for cls in self.lineage():
            if name in cls.changing:
                return Opaque(f"self.{name} changes in {cls.changing[name]}()")
        for cls in self.lineage():
            if name in cls.initial:
                value = cls.initial[name]
                # Whatever it is, it stays what it was when the object was made.
                return Input("self", "agent", f".{name}") if isinstance(value, Opaque) and not value.deps else value
            if name in cls.declared:
                return Input("self", "agent", f".{name}")
            if name in cls.constants:
                if any(name in other.overridden for other in self.lineage()):
                    return Opaque(f"a subclass of {self.name} has its own {name}")
                return cls.constants[name]
        # Set by a base class of another file; a name that says "language model" is enough to know a call by.
        if is_client_name(name):
            return Input("self", "agent", f".{name}")
        return Opaque(f"self.{name} is not bound in this file")


def describe(node: ast.ClassDef, name: str, bases: tuple[ClassInfo, ...]) -> ClassInfo:
    """A class as its statement shows it, before its body is interpreted."""
    info = ClassInfo(name, bases, declared=_declared(node))
    for method in _methods(node):
        own = self_name(method)
        if own is not None:
            for attribute in _changes(method, own, constructor=method.name == "__init__"):
                info.changing.setdefault(attribute, method.name)
    bound = {
        target.id for target in ast.walk(node) if isinstance(target, ast.Name) and isinstance(target.ctx, ast.Store)
    }
    for base in bases:
        for cls in base.lineage():
            cls.overridden |= bound
    return info


def self_name(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str | None:
    """Name of the first parameter of a method; ``None`` for a static method or a class method."""
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Name) and decorator.id in ("staticmethod", "classmethod"):
            return None
    positional = [*node.args.posonlyargs, *node.args.args]
    return positional[0].arg if positional else None


def _methods(node: ast.ClassDef) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for statement in node.body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            yield statement


def _declared(node: ast.ClassDef) -> frozenset[str]:
    """Names annotated in the body that the constructor sets: those without a value, and all where it is generated."""
    words = {
        name.id for part in (*node.decorator_list, *node.bases) for name in ast.walk(part) if isinstance(name, ast.Name)
    }
    words |= {
        name.attr
        for part in (*node.decorator_list, *node.bases)
        for name in ast.walk(part)
        if isinstance(name, ast.Attribute)
    }
    generated = not words.isdisjoint(_GENERATED_INIT)
    return frozenset(
        statement.target.id
        for statement in node.body
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)
        if (statement.value is None or generated) and "ClassVar" not in ast.unparse(statement.annotation)
    )


def _changes(method: ast.FunctionDef | ast.AsyncFunctionDef, own: str, *, constructor: bool) -> Iterator[str]:
    """Attributes of ``own`` that a method rebinds or mutates; a constructor may do both."""
    if constructor:
        return
    for node in ast.walk(method):
        match node:
            case ast.Attribute(value=ast.Name(id=name), attr=attribute, ctx=ast.Store() | ast.Del()) if name == own:
                yield attribute
            case ast.Subscript(
                value=ast.Attribute(value=ast.Name(id=name), attr=attribute), ctx=ast.Store() | ast.Del()
            ) if name == own:
                yield attribute
            case ast.Call(
                func=ast.Attribute(value=ast.Attribute(value=ast.Name(id=name), attr=attribute), attr=verb)
            ) if name == own and verb in MUTATORS:
                yield attribute
