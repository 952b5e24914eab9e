"""Independent calls: those that wait for each other without need. Reported: the agent's code decides when it asks."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from charter_compiler.analysis.prompt_text import engine_calls, engine_edges
from charter_compiler.ir.nodes import Agent, Call
from charter_compiler.passes.pass_base import PassNote, PassResult
from charter_compiler.passes.stateless import kept_state

AT_ONCE = "both could be asked at once"


@dataclass(frozen=True, slots=True)
class IndependentCalls:
    """Two calls in a row, in the same branch and loop, of which the second uses nothing of the first."""

    @property
    def name(self) -> str:
        return "independent-calls"

    def run(self, agent: Agent) -> PassResult:
        keeps = kept_state(agent.calls)
        edges = engine_edges(agent.calls)
        notes = []
        for one, other in pairwise(engine_calls(agent.calls)):
            if _in_a_row(one, other) and one.id not in _all_before(other.id, edges):
                why = keeps.get(other.id) or keeps.get(one.id)
                end = f": {AT_ONCE}" if why is None else f" in its prompt, but {why}"
                text = f"uses nothing of the call at line {one.span.line}{end}"
                notes.append(PassNote(other.span, text, False))
        return PassResult(agent, tuple(notes))


def _in_a_row(one: Call, other: Call) -> bool:
    places = [(call.span.file, call.function, call.loops, call.arms) for call in (one, other)]
    return places[0] == places[1] and one.span < other.span


def _all_before(name: str, edges: dict[str, tuple[str, ...]]) -> set[str]:
    found: set[str] = set()
    waiting = [name]
    while waiting:
        for other in edges.get(waiting.pop(), ()):
            if other not in found:
                found.add(other)
                waiting.append(other)
    return found
