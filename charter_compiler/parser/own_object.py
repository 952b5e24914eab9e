"""What a method does with its object: which attributes it reads, and whether it changes any, itself or through other
methods that it calls on it."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from charter_compiler.parser.definitions import MUTATORS, FunctionInfo


@dataclass(frozen=True, slots=True)
class OwnUse:
    """``reads`` are the attributes, ``None`` where the object itself is handed on: then all of them may be read.
    ``changes`` are those that it binds, or whose list or dictionary it changes."""

    reads: frozenset[str] | None
    changes: frozenset[str]

    def may_read(self, name: str) -> bool:
        return self.reads is None or name in self.reads


_NOTHING = OwnUse(frozenset(), frozenset())


def own_use(info: FunctionInfo) -> OwnUse:
    """What a function does with its object; nothing where it is no method."""
    if info.own_use is None:
        info.own_use = _NOTHING  # for those that call themselves
        info.own_use = _found(info)
    return info.own_use


def _found(info: FunctionInfo) -> OwnUse:
    own, cls = info.own, info.cls
    if own is None or cls is None:
        return _NOTHING
    reads: set[str] = set()
    changes: set[str | None] = set()
    mentions = of_object = 0
    for node in info.parts:
        match node:
            case ast.Name(id=name) if name == own:
                mentions += 1
            case ast.Attribute(value=ast.Name(id=name), attr=attribute) if name == own:
                of_object += 1
                reads.add(attribute)
                if isinstance(node.ctx, ast.Store):
                    changes.add(attribute)
            case ast.Attribute() | ast.Subscript() if isinstance(node.ctx, ast.Store):
                changes.add(_attribute(node, own))
            case ast.Call(func=ast.Attribute(attr=verb, value=owner)) if verb in MUTATORS:
                changes.add(_attribute(owner, own))
            case ast.Call(func=ast.Name(id="super")):
                mentions += 1  # the methods of its ancestors are handed the object
    handed_on = mentions > of_object
    for name in tuple(reads):
        method = cls.method(name)
        if method is not None and method is not info:
            used = own_use(method)
            changes |= used.changes
            handed_on = handed_on or used.reads is None
            reads |= used.reads or frozenset()
    return OwnUse(None if handed_on else frozenset(reads), frozenset(name for name in changes if name is not None))


def _attribute(node: ast.expr, own: str) -> str | None:
    """The attribute of the object that an expression is, or is a part of."""
    name = None
    while isinstance(node, ast.Attribute | ast.Subscript):
        name = node.attr if isinstance(node, ast.Attribute) else name
        node = node.value
    return name if isinstance(node, ast.Name) and node.id == own else None
