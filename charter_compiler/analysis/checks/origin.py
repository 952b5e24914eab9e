"""Where a volatile value is made, and how often it changes: from the syntax around its place in the source."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from charter_compiler.analysis.checks.context import Context
from charter_compiler.analysis.checks.syntax import Syntax, dotted
from charter_compiler.ir.nodes import Call, Segment, Unknown

_FINE = re.compile(r"%[-#]?[HIMSfpXcsT]|%-?H")
"""Directives of ``strftime`` that change within a day."""
_DEPTH = 4


def made_for(segment: Segment, call: Call, context: Context) -> str:
    """For what the value is made anew: each ``call``; each ``object``, in its constructor; or each ``process``, when
    its module is imported."""
    syntax = context.syntax(segment.span.file)
    if syntax is None or not isinstance(segment, Unknown):
        return "call"
    function = syntax.function_at(segment.span.line)
    if function is None:
        return "process" if call.function != "<module>" and call.span.file == segment.span.file else "call"
    name = getattr(function, "name", "")
    return "object" if name in ("__init__", "__post_init__") and not call.function.endswith(name) else "call"


def changes_only_daily(segment: Unknown, context: Context) -> bool:
    """Whether the value is a date without the time of day, as far as its expression can be found."""
    syntax = context.syntax(segment.span.file)
    if syntax is None:
        return False
    return any(_is_date(part) for node in _expressions(segment, syntax) for part in ast.walk(node))


def is_sorted(segment: Unknown, context: Context) -> bool:
    """Whether the expression that the value comes from, as far as it can be found, is sorted."""
    syntax = context.syntax(segment.span.file)
    return syntax is not None and any(
        isinstance(part, ast.Call) and dotted(part.func).rpartition(".")[2] in ("sorted", "sort", "natsorted")
        for node in _expressions(segment, syntax)
        for part in ast.walk(node)
    )


def sorts_keys(segment: Segment, context: Context) -> bool:
    """Whether the function around the place asks ``json.dumps`` for sorted keys; true where that cannot be seen."""
    syntax = context.syntax(segment.span.file)
    if syntax is None:
        return segment.span.file in context.sources
    function = syntax.function_at(segment.span.line)
    return any(isinstance(node, ast.keyword) and node.arg == "sort_keys" for node in ast.walk(function or syntax.tree))


def _expressions(segment: Unknown, syntax: Syntax) -> Iterator[ast.expr]:
    """The expressions that the value comes from: in the source lines of the segment, and what their names are bound
    to in the same function or module, and what the project's functions in this file return."""
    pending = [node for node, _ in syntax.expressions(segment.span)]
    seen: set[ast.AST] = set()
    for _ in range(_DEPTH):
        following: list[ast.expr] = []
        for node in pending:
            if node in seen:
                continue
            seen.add(node)
            yield node
            for each in ast.walk(node):
                if isinstance(each, ast.Name):
                    following.extend(_bound(each, syntax))
                elif isinstance(each, ast.Call) and (name := dotted(each.func)):
                    following.extend(_returned(name.rpartition(".")[2], syntax))
        pending = following


def _bound(name: ast.Name, syntax: Syntax) -> Iterator[ast.expr]:
    scope = syntax.function(name) or syntax.tree
    for node in ast.walk(scope):
        if isinstance(node, ast.Assign) and any(dotted(target) == name.id for target in node.targets):
            yield node.value


def _returned(name: str, syntax: Syntax) -> Iterator[ast.expr]:
    for node in ast.walk(syntax.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name:
            yield from (
                each.value for each in ast.walk(node) if isinstance(each, ast.Return) and each.value is not None
            )


def _is_date(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Attribute(attr="strftime"), args=[ast.Constant(value=str(form)), *_]):
            return not _FINE.search(form)
        case ast.Call(func=ast.Attribute(attr="today", value=value)):
            return dotted(value).rpartition(".")[2] == "date"
        case ast.Call(func=ast.Attribute(attr="date"), args=[]):
            return True
        case ast.Attribute(attr="year" | "month" | "day"):
            return True
        case ast.FormattedValue(format_spec=ast.JoinedStr(values=[ast.Constant(value=str(form))])) if "%" in form:
            return not _FINE.search(form)
    return False
