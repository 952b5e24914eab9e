"""CH105: text whose parts have no fixed order, and tools in varying order."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from charter_compiler.analysis.checks.context import Context
from charter_compiler.analysis.checks.finding import Finding, warning
from charter_compiler.analysis.checks.layout import losses
from charter_compiler.analysis.checks.syntax import Syntax, dotted
from charter_compiler.analysis.checks.wording import behind, where
from charter_compiler.ir.nodes import Param

_SHUFFLES = frozenset({"shuffle", "sample", "choices"})


def unordered(context: Context) -> Iterator[Finding]:
    """Sets, folders' files, and JSON of settings that come from outside, before long constant text; and lists of tools
    made from a set or shuffled, since tools stand before every prompt."""
    for loss in losses(context):
        if loss.kind == "unordered":
            lost, tokens = behind(loss, context)
            dump = isinstance(loss.cause, Param)
            what = "is written in the order in which its keys were set" if dump else "has no fixed order"
            yield warning(
                "CH105",
                loss.call,
                loss.span,
                f"{loss.name} {what}, so that equal content parts the prompts {where(loss)}: "
                f"{lost} behind it cannot be reused",
                "give json.dumps sort_keys=True" if dump else "put sorted() around it",
                tokens,
            )
    for call in context.calls:
        syntax = context.syntax(call.span.file) if call.kind == "root" else None
        node = None if syntax is None else syntax.call(call.span)
        if syntax is None or node is None:
            continue
        for keyword in node.keywords:
            if keyword.arg in ("tools", "functions") and (place := _disorder(keyword.value, syntax)) is not None:
                yield warning(
                    "CH105",
                    call,
                    syntax.span(place),
                    "the tools come in varying order, and they stand before the prompt: "
                    "nothing of it can be reused when they change places",
                    "sort the tools by name",
                )


def _disorder(value: ast.expr, syntax: Syntax) -> ast.expr | None:
    """What gives a list of tools an order that is not fixed."""
    if isinstance(value, ast.Name):
        function = syntax.function(value)
        scope = function or syntax.tree
        for node in ast.walk(scope):
            match node:
                case ast.Assign(targets=[ast.Name(id=name)], value=bound) if name == value.id:
                    if not isinstance(bound, ast.Name) and (found := _disorder(bound, syntax)) is not None:
                        return found
                case ast.Call(func=ast.Attribute(attr="shuffle"), args=[ast.Name(id=name)]) if name == value.id:
                    return node
        return None
    ordered = {
        id(inner)
        for node in ast.walk(value)
        if isinstance(node, ast.Call) and dotted(node.func) == "sorted"
        for inner in ast.walk(node)
    }
    for node in ast.walk(value):
        if id(node) in ordered:
            continue
        match node:
            case ast.Set() | ast.SetComp():
                return node
            case ast.Call(func=ast.Name(id="set" | "frozenset")):
                return node
            case ast.Call(func=ast.Attribute(value=ast.Name(id="random"), attr=attr)) if attr in _SHUFFLES:
                return node
    return None
