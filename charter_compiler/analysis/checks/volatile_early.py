"""CH104: a value that is made anew for each call stands early in the prompt."""

from __future__ import annotations

from collections.abc import Iterator

from charter_compiler.analysis.checks.context import Context
from charter_compiler.analysis.checks.finding import Finding, warning
from charter_compiler.analysis.checks.layout import losses
from charter_compiler.analysis.checks.origin import made_for
from charter_compiler.analysis.checks.wording import behind, where


def volatile_early(context: Context) -> Iterator[Finding]:
    """The time of day, random numbers, identifiers and counters. Not dates, which change once a day."""
    for loss in losses(context):
        if loss.kind == "volatile":
            lost, tokens = behind(loss, context)
            made = made_for(loss.cause, loss.call, context)
            when = "at each call" if made == "call" else f"in each {made}"
            yield warning(
                "CH104",
                loss.call,
                loss.span,
                f"{loss.name} is new {when} and parts the prompts {where(loss)}: {lost} behind it cannot be reused",
                "leave it out, round it to the day, or put it at the end of the prompt",
                tokens,
            )
