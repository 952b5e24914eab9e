"""CH202: the same call made twice."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import combinations

from charter_compiler.analysis.checks.context import Context
from charter_compiler.analysis.checks.finding import Finding, warning
from charter_compiler.analysis.checks.layout import same_segment
from charter_compiler.analysis.checks.statefulness import asks_only, is_fixed
from charter_compiler.analysis.checks.syntax import Syntax
from charter_compiler.analysis.checks.wording import constant_tokens
from charter_compiler.ir.nodes import Call
from charter_compiler.ir.prompts import segments_of


def repeated_call(context: Context) -> Iterator[Finding]:
    """Two calls of one function with the same prompt and settings, of which the first always runs before the second.

    Each second call is reported once. Not where one is the answer to the failure of the other.
    """
    done = set()
    for first in context.calls:
        if (first.span.file, first.function) in done:
            continue
        done.add((first.span.file, first.function))
        reported = set()
        for one, other in combinations(context.beside(first), 2):
            if other.id not in reported and _is_repeated(one, other, context):
                reported.add(other.id)
                yield warning(
                    "CH202",
                    other,
                    other.span,
                    f"this call repeats the one at line {one.span.line}: the same callee, the same prompt",
                    "use the result of the first call; for a second sample, ask for both in one request (n=2)",
                    constant_tokens(other, context),
                )


def _is_repeated(one: Call, other: Call, context: Context) -> bool:
    if (one.callee, one.loops, one.model, one.temperature) != (
        other.callee,
        other.loops,
        other.model,
        other.temperature,
    ):
        return False
    # The first one runs whenever the second does.
    if one.arms != other.arms[: len(one.arms)]:
        return False
    if len(one.messages) != len(other.messages):
        return False
    pairs = [
        (mine, theirs)
        for message, others in zip(one.messages, other.messages, strict=True)
        for mine, theirs in zip(message.segments, others.segments, strict=False)
    ]
    if any(
        len(a.segments) != len(b.segments) or a.role != b.role
        for a, b in zip(one.messages, other.messages, strict=True)
    ):
        return False
    if not pairs or not all(same_segment(mine, theirs) for mine, theirs in pairs):
        return False
    syntax = context.syntax(one.span.file)
    between = None if syntax is None else _between(one, other, syntax)
    if syntax is None or between is None:
        return False
    if not all(is_fixed(segment, other, between, frozenset(), syntax) for segment in segments_of(other)):
        return False
    return asks_only(one, context) and asks_only(other, context) and _same_settings(one, other, syntax)


def _between(one: Call, other: Call, syntax: Syntax) -> list[ast.stmt] | None:
    """The statements of the function from the first call to the second; ``None`` where the calls are in different
    parts of a ``try``, in one expression's alternatives, or where the first is in a loop of its own."""
    first, second = syntax.call(one.span), syntax.call(other.span)
    if first is None or second is None or syntax.within(first, ast.Try) or syntax.within(second, ast.ExceptHandler):
        return None
    start, end = syntax.statement(first), syntax.statement(second)
    if start is None or end is None or syntax.within(first, ast.IfExp, ast.BoolOp):
        return None
    block = syntax.block(start)
    outer: ast.AST | None = end
    while outer is not None and outer not in block:
        outer = syntax.parent(outer)
    if outer is None:
        return None
    return block[block.index(start) : block.index(outer) + 1]


def _same_settings(one: Call, other: Call, syntax: Syntax) -> bool:
    """Whether all arguments but the prompt are written alike; those of a prompt may be written in two ways."""
    first, second = syntax.call(one.span), syntax.call(other.span)
    if first is None or second is None:
        return False
    prompts = {
        "messages",
        "prompt",
        "input",
        "inputs",
        "contents",
        "system",
        "instructions",
        "question",
        "query",
        "text",
    }
    settings = [
        {each.arg: ast.unparse(each.value) for each in node.keywords if each.arg not in prompts}
        for node in (first, second)
    ]
    return settings[0] == settings[1] and len(first.args) == len(second.args)
