"""Common calls: of two calls that send the same request, the second takes the answer of the first."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace

from charter_compiler.analysis.prompt_text import engine_calls
from charter_compiler.ir.nodes import Agent, Call, CallRef, Choice, Const, Repeat, Segment
from charter_compiler.passes.pass_base import PassNote, PassResult, proviso, unrepeatable
from charter_compiler.passes.stateless import kept_state
from charter_compiler.passes.values import CALL, Values


@dataclass(frozen=True, slots=True)
class CommonCalls:
    """``sampling``: calls with a temperature above 0 are merged too, and then give one sample instead of several.

    The first call must be made whenever the second is: in the same function, and in no branch or loop that the second
    does not stand in. At run time it is the store of answers that merges them, so nothing in the source changes.
    """

    sampling: bool = False

    @property
    def name(self) -> str:
        return "common-calls"

    def run(self, agent: Agent) -> PassResult:
        values = Values(agent.calls)
        sent = {call.id for call in engine_calls(agent.calls)}
        keeps = kept_state(agent.calls)
        first: dict[Hashable, list[Call]] = {}
        merged: dict[str, str] = {}
        notes: list[PassNote] = []
        for call in agent.calls:
            request = _request(call, values, merged) if call.id in sent else None
            if request is None:
                continue
            earlier = next((one for one in first.get(request, ()) if _always_before(one, call)), None)
            if earlier is None:
                first.setdefault(request, []).append(call)
            elif why := keeps.get(call.id) or keeps.get(earlier.id) or unrepeatable(call, sampling=self.sampling):
                notes.append(PassNote(call.span, f"asks the same as line {earlier.span.line}, but {why}", False))
            else:
                merged[call.id] = earlier.id
                text = f"takes the answer of the same request at line {earlier.span.line}, "
                notes.append(PassNote(call.span, text + proviso(sampling=self.sampling)))
        if not merged:
            return PassResult(agent, tuple(notes))
        calls = tuple(_renamed(call, merged) for call in agent.calls if call.id not in merged)
        return PassResult(replace(agent, calls=calls), tuple(notes))


def _always_before(one: Call, other: Call) -> bool:
    same_function = (one.span.file, one.function) == (other.span.file, other.function)
    loops, arms = one.loops == other.loops[: len(one.loops)], one.arms == other.arms[: len(one.arms)]
    return same_function and loops and arms and one.span < other.span


def _request(call: Call, values: Values, merged: dict[str, str]) -> Hashable | None:
    """What the call sends, the same for equal requests of one turn; ``None`` where a part may be new at each call."""
    parts: list[Hashable] = [call.model, call.max_tokens, call.temperature, call.callee, call.settings]
    for message in call.messages:
        text = ""
        parts.append(message.role)
        for segment in message.segments:
            if isinstance(segment, Const):
                text += segment.text
                continue
            name = values.name(_renamed_segment(segment, merged), call)
            if name is None or values.lifetime(segment, call) >= CALL:
                return None
            parts += [text, ("value", name)]
            text = ""
        parts.append(text)
    return tuple(parts)


def _renamed(call: Call, merged: dict[str, str]) -> Call:
    def rename(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(merged.get(name, name) for name in names))

    messages = tuple(
        replace(message, segments=tuple(_renamed_segment(segment, merged) for segment in message.segments))
        for message in call.messages
    )
    return replace(
        call,
        messages=messages,
        depends_on=rename(call.depends_on),
        arrives=rename(call.arrives),
        returns=rename(call.returns),
    )


def _renamed_segment(segment: Segment, merged: dict[str, str]) -> Segment:
    match segment:
        case CallRef(id=name) if name in merged:
            return replace(segment, id=merged[name])
        case Repeat(segments=inner):
            return replace(segment, segments=tuple(_renamed_segment(each, merged) for each in inner))
        case Choice(options=options):
            renamed = tuple(tuple(_renamed_segment(each, merged) for each in option) for option in options)
            return replace(segment, options=renamed)
    return segment
