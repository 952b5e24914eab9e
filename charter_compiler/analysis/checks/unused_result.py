"""CH204: the result of a call is never used."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from charter_compiler.analysis.checks.context import Context
from charter_compiler.analysis.checks.finding import Finding, warning
from charter_compiler.analysis.checks.statefulness import asks_only
from charter_compiler.analysis.checks.syntax import Syntax
from charter_compiler.analysis.checks.wording import constant_tokens

_PROBES = re.compile(
    r"(?i)test|check|health|ping|warm|valid|verify|probe|connect|debug|smoke|preload|prime|bench|trace|demo|example"
)


def unused_result(context: Context) -> Iterator[Finding]:
    """Not where the call is there to see whether it fails, or to warm something up; nor where it may do more than
    answer."""
    for call in context.calls:
        if _PROBES.search(call.function) or _PROBES.search(call.span.file.rpartition("/")[2]):
            continue
        syntax = context.syntax(call.span.file)
        node = None if syntax is None else syntax.call(call.span)
        if syntax is None or node is None or syntax.within(node, ast.Try, ast.With, ast.AsyncWith):
            continue
        if call.used and not _is_never_read(node, syntax):
            continue
        if not asks_only(call, context):
            continue
        yield warning(
            "CH204",
            call,
            call.span,
            "nothing reads the result of this call",
            "remove the call, or use what it returns",
            constant_tokens(call, context),
        )


def _is_never_read(node: ast.Call, syntax: Syntax) -> bool:
    """Whether the result, or a part of it, stands alone or is bound to a local variable that nothing reads."""
    value: ast.AST = node
    above = syntax.parent(node)
    while isinstance(above, ast.Await | ast.Attribute | ast.Subscript) and above is not None:
        value, above = above, syntax.parent(above)
    function = syntax.function(node)
    if function is None or isinstance(function, ast.Lambda):
        return False
    match above:
        case ast.Expr():
            return True
        case ast.Assign(targets=[ast.Name(id=name)], value=bound) if bound is value and not name.startswith("_"):
            pass
        case _:
            return False
    read = any(
        isinstance(each, ast.Name) and each.id == name and isinstance(each.ctx, ast.Load | ast.Del)
        for each in ast.walk(function)
    )
    shared = any(isinstance(each, ast.Global | ast.Nonlocal) and name in each.names for each in ast.walk(function))
    # locals() and templates that name variables in a string may read it.
    named = any(
        isinstance(each, ast.Name) and each.id in ("locals", "eval", "exec", "vars") for each in ast.walk(function)
    )
    return not (read or shared or named)
