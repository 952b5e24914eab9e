"""CH001: nothing of a call's prompt can be read from the source."""

from __future__ import annotations

from collections.abc import Iterator

from charter_compiler.analysis.checks.context import Context
from charter_compiler.analysis.checks.finding import Finding, note
from charter_compiler.ir.nodes import Unknown
from charter_compiler.ir.prompts import segments_of


def unknown_prompt(context: Context) -> Iterator[Finding]:
    """The call that reaches a model, not the wrappers that lead to it; forwards are the business of their callers."""
    for call in context.agent.calls:
        segments = segments_of(call)
        if call.forward or call.kind == "wrapper" or not segments:
            continue
        if all(isinstance(segment, Unknown) for segment in segments):
            reason = segments[0].reason if isinstance(segments[0], Unknown) else ""
            yield note(
                "CH001",
                call,
                call.span,
                f"nothing of this call's prompt can be read from the source: {reason}",
                "build the prompt in this function from constants, parameters and results of calls",
            )
