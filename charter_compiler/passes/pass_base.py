"""What a pass is: a name, its options as fields, and a pure function from agent to agent with notes for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from charter_compiler.diagnostics.span import Span
from charter_compiler.ir.nodes import Agent, Call


@dataclass(frozen=True, slots=True)
class PassNote:
    """What a pass did at one place, or why it did nothing there. ``changed``: the agent is another one for it."""

    span: Span
    text: str
    changed: bool = True


@dataclass(frozen=True, slots=True)
class PassResult:
    """The agent after a pass, and a note for each place that it looked at."""

    agent: Agent
    notes: tuple[PassNote, ...] = ()


class Pass(Protocol):
    """Fields of an implementation are its options; it has no other state."""

    @property
    def name(self) -> str:
        """Kebab case, as reports show it."""

    def run(self, agent: Agent) -> PassResult:
        """The rewritten agent. Pure; an agent with nothing to do comes back as it is."""


PROVISO = "if its other settings are equal and it does not sample"
"""Said of each such call: what a model, a temperature or another setting that the source names comes to is known only
at run time."""


def proviso(*, sampling: bool) -> str:
    """What a note about a repeated request cannot promise; with ``sampling``, samples too are answered once."""
    return PROVISO.removesuffix(" and it does not sample") if sampling else PROVISO


def unrepeatable(call: Call, *, sampling: bool) -> str:
    """Why to make a call once and use its answer twice is not the same; empty if it is. ``sampling``: one sample
    instead of two is wanted."""
    if call.effects:
        return f"a tool of it {call.effects[0]}"
    return "it samples" if call.temperature and not sampling else ""
