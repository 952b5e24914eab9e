"""CH103: few-shot examples stand after the query."""

from __future__ import annotations

from collections.abc import Iterator

from charter_compiler.analysis.checks.context import Context
from charter_compiler.analysis.checks.finding import Finding, warning
from charter_compiler.analysis.checks.layout import losses
from charter_compiler.analysis.checks.wording import behind, where


def examples_after_query(context: Context) -> Iterator[Finding]:
    """CH101 and CH102 where the text behind holds worked examples, in one text or as messages."""
    for loss in losses(context):
        if loss.kind == "examples":
            lost, tokens = behind(loss, context)
            yield warning(
                "CH103",
                loss.call,
                loss.span,
                f"{loss.name} stands before the examples and parts the prompts {where(loss)}: "
                f"{lost}, the examples among it, cannot be reused",
                "put the examples first and the query after them",
                tokens,
            )
