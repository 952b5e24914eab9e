"""Dead calls: nobody reads the answer, and the call does nothing else."""

from __future__ import annotations

from dataclasses import dataclass, replace

from charter_compiler.ir.nodes import Agent, Call
from charter_compiler.passes.pass_base import PassNote, PassResult
from charter_compiler.passes.stateless import kept_state


@dataclass(frozen=True, slots=True)
class DeadCalls:
    """``remove``: take them out of the IR; otherwise they are reported only. A call may be made for what the server
    does with it, so that to remove it is for a person to decide."""

    remove: bool = False

    @property
    def name(self) -> str:
        return "dead-calls"

    def run(self, agent: Agent) -> PassResult:
        unread, keeps = dead_calls(agent), kept_state(agent.calls)
        dead = tuple(call for call in unread if call.id not in keeps)
        text = "nothing reads the answer" + (": the call is taken out" if self.remove else "; it is sent all the same")
        notes = tuple(
            PassNote(call.span, text, self.remove)
            if call in dead
            else PassNote(call.span, f"nothing reads the answer, but {keeps[call.id]}", changed=False)
            for call in unread
        )
        if not (self.remove and dead):
            return PassResult(agent, notes)
        return PassResult(replace(agent, calls=tuple(call for call in agent.calls if call not in dead)), notes)


def dead_calls(agent: Agent) -> tuple[Call, ...]:
    """The calls whose answers nobody reads, and which do nothing else."""
    needed = {name for call in agent.calls for name in (*call.depends_on, *call.arrives, *call.returns)}
    return tuple(
        call
        for call in agent.calls
        if call.kind == "root" and not call.used and not call.effects and call.id not in needed
    )
