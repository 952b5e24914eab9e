"""The values that fill a prompt's holes: what names them, and how long they stay the same."""

from __future__ import annotations

from collections.abc import Container, Hashable, Iterable

from charter_compiler.diagnostics.span import Span
from charter_compiler.ir.nodes import Call, CallRef, Choice, Const, Param, Repeat, Segment, Unknown, walk

CONSTANT, AGENT, GROUP, ITEM, RESULT, GROWING, LOOP, TURN_RESULT, CALL = range(9)
"""How long a text stays the same, longest first: for ever; the whole run; items that a run can put together; an item;
an item, but known only once an earlier call has answered; an item too, but longer with each turn; a turn of a loop; a
turn, after a call in it; not from call to call."""

_SCOPES = {"agent": AGENT, "item": ITEM, "loop": LOOP, "call": CALL}


class Values:
    """Names and lifetimes of the values in the prompts of one agent's calls."""

    def __init__(self, calls: Iterable[Call], grouped: Container[str] = ()) -> None:
        """``grouped``: names of fields of the inputs that many items have in common."""
        self._grouped = grouped
        self._looped = frozenset(call.id for call in calls if call.in_loop)

    def name(self, segment: Segment, call: Call) -> Hashable:
        """The name of a value: within one item and turn, equal names mean equal texts. ``None``: nothing is known."""
        match segment:
            case Param(name=name, scope=scope):
                owner = call.function.rpartition(".")[0] if scope == "agent" else call.function
                loops = call.loops if scope in ("loop", "call") else ()
                return ("param", call.span.file, owner, name, loops)
            case CallRef(id=name, derived=False):
                return ("call", name)
            case Repeat(segments=segments, span=span):
                return ("repeat", span, tuple(self.name(inner, call) for inner in segments))
            case Unknown(cause="", span=span):
                return ("unknown", span)
            case _:
                return None

    def lifetime(self, segment: Segment, call: Call) -> int:
        """``CONSTANT`` to ``CALL``."""
        match segment:
            case Const():
                return CONSTANT
            case Param(name=name, scope=scope):
                return GROUP if scope == "item" and name in self._grouped else _SCOPES[scope]
            case CallRef(id=name, derived=derived):
                # What is derived may be one part of a result after the other, a turn each.
                return TURN_RESULT if call.in_loop and (derived or name in self._looped) else RESULT
            case Choice(options=options):
                # Which one it is, is decided at run time, even where each of them is constant.
                return max([ITEM, *(self.lifetime(inner, call) for option in options for inner in option)])
            case Repeat() if grows(segment, call):
                return GROWING
            case Repeat(segments=segments, span=span):
                # As long as what it repeats; that it is built from an item's list is at least as short.
                within = call.in_loop and not _before_loops(span, call)
                lives = [self.lifetime(inner, call) for inner in segments]
                return max([ITEM, *(life if within else _whole(life) for life in lives)])
            case Unknown(cause=cause, span=span):
                return CALL if cause or (call.in_loop and not _before_loops(span, call)) else RESULT


def grows(segment: Segment, call: Call) -> bool:
    """Whether a value begins as it did in the turn before: each turn of a loop around the call appends to it. The front
    end gives such a value the place of the loop."""
    return (
        isinstance(segment, Repeat)
        and segment.span in call.loops
        and not any(isinstance(part, Unknown) for part in walk(segment.segments))
    )


def _before_loops(span: Span, call: Call) -> bool:
    """Whether a value was made before the loops around the call began: no turn makes it anew."""
    return bool(call.loops) and span.file == call.loops[0].file and span.end_line < call.loops[0].line


def _whole(life: int) -> int:
    """The lifetime of a repetition of what lives so long, where the turns are those of its own loop."""
    return {TURN_RESULT: RESULT, LOOP: ITEM, CALL: ITEM}.get(life, life)
