"""Loop-invariant calls: a call whose request no turn of its loop changes is made once, before the loop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from charter_compiler.analysis.prompt_text import engine_calls
from charter_compiler.ir.nodes import Agent, Call, CallRef, Choice, Param, Repeat, Segment, Unknown
from charter_compiler.passes.pass_base import PassNote, PassResult, proviso, unrepeatable
from charter_compiler.passes.stateless import kept_state


@dataclass(frozen=True, slots=True)
class InvariantCalls:
    """``sampling``: calls with a temperature above 0 are hoisted too, and then give one sample for all turns.

    At run time it is the store of answers that sends the request once, at the first turn: a loop without turns sends
    nothing, and nothing in the source changes.
    """

    sampling: bool = False

    @property
    def name(self) -> str:
        return "invariant-calls"

    def run(self, agent: Agent) -> PassResult:
        sent = {call.id for call in engine_calls(agent.calls)}
        keeps = kept_state(agent.calls)
        looped = {call.id: call.loops for call in agent.calls}
        calls: list[Call] = []
        notes: list[PassNote] = []
        for call in agent.calls:
            hoisted = call
            if call.id in sent and call.loops and not call.again and _is_invariant(call, looped):
                text = "no turn of its loop changes the request"
                if why := keeps.get(call.id) or unrepeatable(call, sampling=self.sampling):
                    notes.append(PassNote(call.span, f"{text}, but {why}", False))
                else:
                    hoisted = replace(call, loops=call.loops[:-1], loop_depth=len(call.loops) - 1)
                    notes.append(PassNote(call.span, f"{text}: it is sent once, {proviso(sampling=self.sampling)}"))
            calls.append(hoisted)
        if tuple(calls) == agent.calls:
            return PassResult(agent, tuple(notes))
        return PassResult(replace(agent, calls=tuple(calls)), tuple(notes))


def _is_invariant(call: Call, looped: Mapping[str, tuple[object, ...]]) -> bool:
    innermost = call.loops[-1]
    return all(
        _is_fixed(segment, innermost, looped) for message in call.messages for segment in message.segments
    ) and not any(innermost in looped.get(name, ()) for name in call.depends_on)


def _is_fixed(segment: Segment, loop: object, looped: Mapping[str, tuple[object, ...]]) -> bool:
    match segment:
        case Param(scope=scope):
            return scope in ("agent", "item")
        case CallRef(id=name, derived=derived):  # what is derived may be one part of it after the other
            return not derived and loop not in looped.get(name, ())
        case Repeat(segments=inner):
            return all(_is_fixed(each, loop, looped) for each in inner)
        case Choice() | Unknown():
            return False
    return True
