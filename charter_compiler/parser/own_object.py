"""What a method does with its object: which attributes it reads, and whether it changes any, itself or through other
methods that it calls on it."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from charter_compiler.parser.definitions import MUTATORS, FunctionInfo


@dataclass(frozen=True, slots=True)
class OwnUse:
    """``reads`` are the attributes; ``handed_on``: the object itself is handed on, and then any of them may be read.
    ``changes`` are those that are bound, deleted, or whose list or dictionary is changed."""

    reads: frozenset[str]
    changes: frozenset[str]
    handed_on: bool = False

    def may_read(self, name: str) -> bool:
        return self.handed_on or name in self.reads


_NOTHING = OwnUse(frozenset(), frozenset())


def own_use(info: FunctionInfo) -> OwnUse:
    """What a method and all that it calls on its object do with it; nothing where it is no method."""
    if info.own_use is None:
        found = [_direct(info)]
        waiting, seen = [(info, found[0])], {info}
        while waiting:
            method, used = waiting.pop()
            for name in used.reads:
                called = method.cls.method(name) if method.cls is not None else None
                if called is not None and called not in seen:
                    seen.add(called)
                    found.append(_direct(called))
                    waiting.append((called, found[-1]))
        info.own_use = OwnUse(
            frozenset().union(*(used.reads for used in found)),
            frozenset().union(*(used.changes for used in found)),
            any(used.handed_on for used in found),
        )
    return info.own_use


def _direct(info: FunctionInfo) -> OwnUse:
    """Of its own statements alone; the names of the methods that it calls are among what it reads."""
    if info.own_direct is None:
        info.own_direct = _found(info)
    return info.own_direct


def _found(info: FunctionInfo) -> OwnUse:
    own = info.own
    if own is None or info.cls is None:
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
                if isinstance(node.ctx, ast.Store | ast.Del):
                    changes.add(attribute)
            case ast.Attribute() | ast.Subscript() if isinstance(node.ctx, ast.Store | ast.Del):
                changes.add(_attribute(node, own))
            case ast.Call(func=ast.Attribute(attr=verb, value=owner)) if verb in MUTATORS:
                changes.add(_attribute(owner, own))
            case ast.Call(func=ast.Name(id="super")):
                mentions += 1  # the methods of its ancestors are handed the object
    return OwnUse(frozenset(reads), frozenset(name for name in changes if name is not None), mentions > of_object)


def _attribute(node: ast.expr, own: str) -> str | None:
    """The attribute of the object that an expression is, or is a part of."""
    name = None
    while isinstance(node, ast.Attribute | ast.Subscript):
        name = node.attr if isinstance(node, ast.Attribute) else name
        node = node.value
    return name if isinstance(node, ast.Name) and node.id == own else None
