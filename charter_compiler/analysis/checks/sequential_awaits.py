"""CH203: independent calls are awaited one after another."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from charter_compiler.analysis.checks.context import Context
from charter_compiler.analysis.checks.finding import Finding, warning
from charter_compiler.analysis.checks.statefulness import asks_only
from charter_compiler.analysis.checks.syntax import Syntax, names_in, own_nodes
from charter_compiler.ir.nodes import Call, Unknown, walk

_SIMPLE = (ast.Assign, ast.AnnAssign, ast.Expr, ast.Return, ast.AugAssign)


def sequential_awaits(context: Context) -> Iterator[Finding]:
    """Runs of neighbouring awaits, of which none uses what one before gave, and loops that await one call a turn.

    Between the calls of a run stand only simple statements that do not read the results: a condition, or a line that
    prints the first answer, shows that the order is meant.
    """
    done: set[str] = set()
    for call in context.calls:
        if not call.awaited or call.id in done:
            continue
        syntax = context.syntax(call.span.file)
        if syntax is None or not asks_only(call, context):
            continue
        group = _run_from(call, context, syntax)
        done.update(each.id for each in group)
        if len(group) > 1:
            lines = ", ".join(str(each.span.line) for each in group)
            yield warning(
                "CH203",
                group[1],
                group[1].span,
                f"{len(group)} calls that do not need each other's results are awaited one after another "
                f"(lines {lines})",
                "await them together: asyncio.gather(first, second)",
            )
        elif _is_loop_of_awaits(call, context, syntax):
            yield warning(
                "CH203",
                call,
                call.span,
                "each turn of the loop awaits its call before the next one starts, and no turn uses the result of "
                "another",
                "start the calls of all turns and await them together: asyncio.gather(*[... for ...])",
            )


def _run_from(call: Call, context: Context, syntax: Syntax) -> list[Call]:
    """The calls from this one on that could be started together."""
    group = [call]
    for other in context.beside(call):
        if other.span <= call.span:
            continue
        last = group[-1]
        if not (other.awaited and other.loops == call.loops and other.arms == call.arms):
            break
        if not asks_only(other, context) or not _is_independent(other, group, context):
            break
        if not _only_simple_between(last, other, syntax):
            break
        group.append(other)
    return group


def _is_independent(call: Call, others: list[Call], context: Context) -> bool:
    needed, pending = set(), list(call.depends_on)
    while pending:
        each = pending.pop()
        if each not in needed:
            needed.add(each)
            pending.extend(context.by_id[each].depends_on if each in context.by_id else ())
    if needed & {each.id for each in others}:
        return False
    return not any(isinstance(segment, Unknown) for message in call.messages for segment in walk(message.segments))


def _only_simple_between(one: Call, other: Call, syntax: Syntax) -> bool:
    first, second = syntax.call(one.span), syntax.call(other.span)
    if first is None or second is None:
        return False
    start, end = syntax.statement(first), syntax.statement(second)
    if start is None or end is None or start is end:
        return False
    block = syntax.block(start)
    if end not in block:
        return False
    between = block[block.index(start) + 1 : block.index(end)]
    bound = _bound_names(start)
    if not isinstance(start, ast.Assign | ast.AnnAssign) or not isinstance(
        end, ast.Assign | ast.AnnAssign | ast.Return
    ):
        return False
    for statement in between:
        if not isinstance(statement, _SIMPLE) or any(isinstance(each, ast.Await) for each in ast.walk(statement)):
            return False
        if bound & names_in(statement):
            return False
    return not bound & names_in(end)


def _bound_names(statement: ast.stmt) -> set[str]:
    return {each.id for each in own_nodes(statement) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)}


def _is_loop_of_awaits(call: Call, context: Context, syntax: Syntax) -> bool:
    """Whether the innermost loop does nothing but make this call for each of its items and keep the results."""
    if not call.loops:
        return False
    innermost = call.loops[-1]
    inside = [each for each in context.beside(call) if innermost in each.loops]
    if inside != [call] or call.id in call.depends_on:
        return False
    if any(isinstance(segment, Unknown) for message in call.messages for segment in walk(message.segments)):
        return False
    node = syntax.call(call.span)
    loop = None if node is None else syntax.loop(node)
    if isinstance(loop, ast.comprehension):
        return not loop.is_async
    if not isinstance(loop, ast.For) or not loop.body or loop.orelse:
        return False
    if isinstance(loop.iter, ast.Call) and isinstance(loop.iter.func, ast.Name) and loop.iter.func.id == "range":
        return False
    for statement in loop.body:
        if not isinstance(statement, ast.Assign | ast.AnnAssign | ast.Expr):
            return False
        awaits = [each for each in ast.walk(statement) if isinstance(each, ast.Await)]
        if any(each.value is not node for each in awaits):
            return False
        if isinstance(statement, ast.Expr) and not awaits and not _keeps(statement.value):
            return False
        if isinstance(statement, ast.Expr) and awaits and not _keeps(statement.value):
            return False
    return True


def _keeps(value: ast.expr) -> bool:
    """Whether an expression puts something into a list, set or queue."""
    return (
        isinstance(value, ast.Call)
        and isinstance(value.func, ast.Attribute)
        and value.func.attr in ("append", "add", "extend")
    ) or isinstance(value, ast.Constant)
