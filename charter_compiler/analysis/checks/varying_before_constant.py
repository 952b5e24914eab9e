"""CH101: a value that changes from call to call stands before long constant text."""

from __future__ import annotations

from collections.abc import Iterator

from charter_compiler.analysis.checks.context import Context
from charter_compiler.analysis.checks.finding import Finding, warning
from charter_compiler.analysis.checks.layout import losses
from charter_compiler.analysis.checks.wording import behind, where


def varying_before_constant(context: Context) -> Iterator[Finding]:
    """Not in loops, where what matters is what changes in the loop (CH102)."""
    for loss in losses(context):
        if loss.kind == "value":
            lost, tokens = behind(loss, context)
            yield warning(
                "CH101",
                loss.call,
                loss.span,
                f"{loss.name} changes from call to call and parts the prompts {where(loss)}: "
                f"no prefix cache can reuse the {lost} behind it",
                "put the constant text first and what changes last",
                tokens,
            )
