"""CH001: nothing of a call's prompt can be read from the source."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from charter_compiler.analysis.checks.context import Context
from charter_compiler.analysis.checks.finding import Finding, note
from charter_compiler.analysis.checks.syntax import Syntax, names_in
from charter_compiler.ir.nodes import Call, Unknown
from charter_compiler.ir.prompts import segments_of

_ELSEWHERE = re.compile(
    r"(?:\b|_)(?:get|pull|load|read|fetch|download|import_module|environ|request|query)\w*[(.\[]"
    r".*is not in this project"
)
"""Reasons that name something fetched from outside of what is inspected. Others say where our own reading ends, or name
a library's function that may only convert what can be read."""
_DEPTH = 4


def unknown_prompt(context: Context) -> Iterator[Finding]:
    """Calls that reach a model with a text that a library, a service or a file made.

    Not wrappers, nor calls whose prompt comes from the function's parameters: it is their callers' business. Nor
    conversations, which are made at run time by their nature.
    """
    for call in context.calls:
        segments = segments_of(call)
        if call.forward or call.kind == "wrapper" or not segments:
            continue
        if any(message.role == "unknown" for message in call.messages):
            continue
        reasons = [segment.reason for segment in segments if isinstance(segment, Unknown)]
        if len(reasons) < len(segments) or not all(_ELSEWHERE.search(reason) for reason in reasons):
            continue
        if _is_handed_in(call, context):
            continue
        yield note(
            "CH001",
            call,
            call.span,
            f"nothing of this call's prompt can be read from the source: {reasons[0]}",
            "build the prompt in this project from constants, parameters and results of calls",
        )


def _is_handed_in(call: Call, context: Context) -> bool:
    """Whether a parameter of the function takes part in the prompt, or that cannot be seen."""
    syntax = context.syntax(call.span.file)
    node = None if syntax is None else syntax.call(call.span)
    if syntax is None or node is None:
        return call.span.file in context.sources
    function = syntax.function(node)
    if function is None:
        return False
    arguments = function.args
    parameters = {
        each.arg
        for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg)
        if each is not None and each.arg not in ("self", "cls")
    }
    return not parameters.isdisjoint(_sources(node, function, syntax))


def _sources(node: ast.Call, function: ast.AST, syntax: Syntax) -> set[str]:
    """The names in the arguments of a call, and in what these names are bound to."""
    found: set[str] = set()
    pending = set().union(*(names_in(each) for each in (*node.args, *(keyword.value for keyword in node.keywords))))
    for _ in range(_DEPTH):
        found |= pending
        bound = [
            names_in(each.value)
            for each in ast.walk(function)
            if isinstance(each, ast.Assign) and any(names_in(target) & pending for target in each.targets)
        ]
        pending = set().union(*bound) - found
    return found
