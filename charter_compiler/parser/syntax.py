"""Walks over syntax trees. ``ast.walk`` makes three generators for each node, and trees are walked often."""

from __future__ import annotations

import ast
from collections.abc import Iterable


def nodes_of(node: ast.AST, leaves: tuple[type[ast.AST], ...] = ()) -> list[ast.AST]:
    """A node and all below it, in no certain order, without the contexts of names; not what stands in ``leaves``."""
    return nodes_below([node], leaves)


def nodes_below(roots: Iterable[ast.AST], leaves: tuple[type[ast.AST], ...] = ()) -> list[ast.AST]:
    """As ``nodes_of``, for several."""
    found: list[ast.AST] = []
    waiting = list(roots)
    while waiting:
        node = waiting.pop()
        found.append(node)
        if isinstance(node, leaves):
            continue
        for name in node._fields:
            value = getattr(node, name, None)
            if isinstance(value, list):
                waiting.extend(each for each in value if isinstance(each, ast.AST))
            elif isinstance(value, ast.AST) and not isinstance(value, ast.expr_context):
                waiting.append(value)
    return found
