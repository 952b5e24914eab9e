"""CH301: a call whose tools act on the outside."""

from __future__ import annotations

from collections.abc import Iterator

from charter_compiler.analysis.checks.context import Context
from charter_compiler.analysis.checks.finding import Finding, note


def outside_effects(context: Context) -> Iterator[Finding]:
    """The call that gives the tools to the model; a wrapper around it is not named again."""
    for call in context.calls:
        if call.effects and call.kind == "root":
            yield note(
                "CH301",
                call,
                call.span,
                f"the model may act on the outside through the tools of this call: {', '.join(call.effects)}",
                "a run that repeats or replays this call asks for consent (--allow-effects) or for stubs",
            )
