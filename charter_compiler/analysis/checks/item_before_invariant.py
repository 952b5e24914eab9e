"""CH102: the item of a loop stands before text that is the same in every turn."""

from __future__ import annotations

from collections.abc import Iterator

from charter_compiler.analysis.checks.context import Context
from charter_compiler.analysis.checks.finding import Finding, warning
from charter_compiler.analysis.checks.layout import losses
from charter_compiler.analysis.checks.wording import behind, where


def item_before_invariant(context: Context) -> Iterator[Finding]:
    """What is the same in every turn is constant text, and values and results from outside of the loop."""
    for loss in losses(context):
        if loss.kind == "item":
            lost, tokens = behind(loss, context)
            yield warning(
                "CH102",
                loss.call,
                loss.span,
                f"{loss.name} changes in every turn of the loop and parts the prompts {where(loss)}: "
                f"{lost} behind it, the same in every turn, cannot be reused",
                "put what the turns have in common first, and what changes in the loop last",
                tokens,
            )
