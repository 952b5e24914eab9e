"""CH201: a call in a loop whose whole prompt is the same in every turn."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from charter_compiler.analysis.checks.context import Context
from charter_compiler.analysis.checks.finding import Finding, warning
from charter_compiler.analysis.checks.statefulness import asks_only, is_fixed
from charter_compiler.analysis.checks.syntax import Syntax, dotted, leaves, names_in
from charter_compiler.analysis.checks.wording import constant_tokens
from charter_compiler.ir.nodes import Call
from charter_compiler.ir.prompts import segments_of


def invariant_call(context: Context) -> Iterator[Finding]:
    """Loops over data only: a ``while`` or a ``range`` may repeat a call until it succeeds, or to get several samples.

    Nor where the loop may end after the call, which is how a call is tried again.
    """
    for call in context.calls:
        if not call.loops:
            continue
        syntax = context.syntax(call.span.file)
        node = None if syntax is None else syntax.call(call.span)
        if syntax is None or node is None:
            continue
        region = _loop_body(node, call, syntax)
        if region is None:
            continue
        innermost = call.loops[-1]
        inside = frozenset(each.id for each in context.beside(call) if innermost in each.loops)
        outer = syntax.bound_around(node)
        if not all(is_fixed(segment, call, region, inside, syntax, outer) for segment in segments_of(call)):
            continue
        if set(call.depends_on) & inside or not asks_only(call, context):
            continue
        yield warning(
            "CH201",
            call,
            call.span,
            "nothing of this call's prompt changes in the loop around it: every turn asks the same again",
            "make the call once, before the loop, and keep its result",
            constant_tokens(call, context),
        )


def _loop_body(node: ast.Call, call: Call, syntax: Syntax) -> list[ast.stmt] | None:
    """What a turn of the innermost loop runs; ``None`` where the loop may be there to repeat the call."""
    loop = syntax.loop(node)
    match loop:
        case ast.For(target=target, iter=iterable, body=body) | ast.AsyncFor(target=target, iter=iterable, body=body):
            pass
        case ast.comprehension(target=target, iter=iterable):
            statement = syntax.statement(node)
            if statement is None:
                return None
            body = [statement]
        case _:
            return None
    used = names_in(target)
    if _counts(iterable) and call.temperature != 0 and not _picks(used, body):
        return None
    if not used or all(name.startswith("_") for name in used):
        return None
    if isinstance(loop, ast.For | ast.AsyncFor):
        if leaves(body, loop=True):
            return None
        read = set().union(*(names_in(each) for each in body))
        if used.isdisjoint(read):
            return None  # the items do not matter: the loop repeats
    elif used.isdisjoint(names_in(syntax.parent(loop) or loop) - names_in(node)) and _counts(iterable):
        return None
    return body


def _picks(names: set[str], body: list[ast.stmt]) -> bool:
    """Whether the number of the turn picks an item: ``texts[i]``."""
    return any(
        isinstance(each, ast.Subscript) and names & names_in(each.slice) for root in body for each in ast.walk(root)
    )


def _counts(iterable: ast.expr) -> bool:
    return isinstance(iterable, ast.Call) and dotted(iterable.func).rpartition(".")[2] in ("range", "count", "repeat")
