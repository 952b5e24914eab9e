"""CH204: the result of a call is never used."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from charter_compiler.analysis.checks.context import Context
from charter_compiler.analysis.checks.finding import Finding, warning
from charter_compiler.analysis.checks.statefulness import asks_only
from charter_compiler.analysis.checks.wording import constant_tokens

_PROBES = re.compile(
    r"(?i)test|check|health|ping|warm|valid|verify|probe|connect|debug|smoke|preload|prime|bench|trace|demo|example"
)


def unused_result(context: Context) -> Iterator[Finding]:
    """Not where the call is there to see whether it fails, or to warm something up; nor where it may do more than
    answer."""
    for call in context.calls:
        if call.used or _PROBES.search(call.function) or _PROBES.search(call.span.file.rpartition("/")[2]):
            continue
        syntax = context.syntax(call.span.file)
        node = None if syntax is None else syntax.call(call.span)
        if syntax is None or node is None or syntax.within(node, ast.Try, ast.With, ast.AsyncWith):
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
