"""Hints from the graph of calls and what their prompts share; nothing is run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from charter_compiler.analysis.patterns import PatternKind
from charter_compiler.analysis.prefix_analyzer import PrefixOpportunity
from charter_compiler.analysis.prompt_text import Piece, engine_calls, prompt_pieces
from charter_compiler.dag.builder import CallGraph
from charter_compiler.ir.nodes import Call, CallRef, Const, Param, walk
from charter_compiler.plan.hints import STEP_PRIORITY, CallHints, Hint, HintAction, PrefixFuture, RangeEnd
from charter_compiler.tokens.chat import ChatTemplate

PINNED = 100
"""Needed by the calls of every item: the next use is never far."""
NEXT = 90
"""Needed by the very next call of the item; a use more steps ahead gets less, never near the default's 35."""
LEAST_RETAINED = 50
RELEASED = 0
ANCHOR = 80
"""Characters of the text behind a shared part that it is found by."""


def derive_hints(
    graph: CallGraph, opportunities: Iterable[PrefixOpportunity], template: ChatTemplate | None = None
) -> tuple[CallHints, ...]:
    """The hints of each call that reaches an engine, in the order of an item.

    A prefix that only calls of other items share (a value of the agent, or constant text) counts as needed by other
    items; one with a value of the item is dead after the item's last call that begins with it. What the graph cannot
    order (calls in a loop) has an unknown number of remaining calls and is never released.

    Args:
        template: the chat template that the prompts get; needed where a call sends messages.

    Raises:
        TokenizerError: a call sends chat messages, and there is no template or it refuses them.
    """
    sent = {call.id for call in engine_calls(graph.calls.values())}
    order = [graph.calls[name] for name in graph.order() if name in sent]
    pieces = {call.id: prompt_pieces(call, template) for call in order}
    found = sorted(opportunities, key=_depth)
    return tuple(_call_hints(index, order, pieces, found) for index in range(len(order)))


def retain_priority(steps: int | None) -> int:
    """Of a prefix that is needed again in so many steps; ``None``: by a later item only."""
    return LEAST_RETAINED if steps is None else max(LEAST_RETAINED, NEXT - STEP_PRIORITY * (steps - 1))


@dataclass(frozen=True, slots=True)
class _Shared:
    """An opportunity as one call has it."""

    opportunity: PrefixOpportunity
    future: PrefixFuture


def _depth(opportunity: PrefixOpportunity) -> tuple[int, int]:
    holes = sum(not isinstance(part, Const) for part in opportunity.template or ())
    return holes, opportunity.shared_prefix_length


def _call_hints(
    index: int,
    order: Sequence[Call],
    pieces: Mapping[str, tuple[Piece, ...]],
    opportunities: Sequence[PrefixOpportunity],
) -> CallHints:
    call = order[index]
    shared = [
        _Shared(one, _future(one, index, order, pieces[call.id])) for one in opportunities if call.id in one.nodes
    ]
    reused = _continued(call, order[index + 1 :], pieces)
    return CallHints(
        call=call.id,
        futures=tuple(one.future for one in shared),
        hints=_hints([one.future for one in shared], _tail_needed(call, shared, reused)),
        prefetch=_prefetch(index, order, opportunities),
        expected_output_tokens=call.max_tokens,
        output_reused=reused,
        step=index,
        steps=len(order),
    )


def _future(opportunity: PrefixOpportunity, index: int, order: Sequence[Call], pieces: Sequence[Piece]) -> PrefixFuture:
    call = order[index]
    later = [place for place in range(index + 1, len(order)) if order[place].id in opportunity.nodes]
    again = call.in_loop or call.again
    following = index if again else (later[0] if later else None)
    between = order[index : index + 1] if again else order[index : following or index]
    limits = [one.max_tokens for one in between]
    names = [part for part in walk(opportunity.template or ()) if isinstance(part, Param | CallRef)]
    of_item = any(not (isinstance(part, Param) and part.scope == "agent") for part in names)
    end, to_end = _end(opportunity, pieces)
    return PrefixFuture(
        cache_id=opportunity.cache_id,
        tokens=opportunity.shared_prefix_length,
        parameters=tuple(part.name if isinstance(part, Param) else part.id for part in names),
        end=end,
        to_end=to_end,
        remaining_calls=None if again or any(order[place].in_loop for place in later) else len(later),
        steps_to_next=None if following is None else max(1, following - index),
        next_call=None if following is None else order[following].id,
        output_tokens=None if following is None or None in limits else sum(limit or 0 for limit in limits),
        after_tools=() if following is None else tuple(dict.fromkeys(e for one in between for e in one.effects)),
        other_items=not of_item,
    )


def _end(opportunity: PrefixOpportunity, pieces: Sequence[Piece]) -> tuple[RangeEnd | None, bool]:
    """Where the shared part ends in the call's own prompt, and whether that is its end."""
    template = opportunity.template
    if template is None:
        return None, False
    holes = sum(not isinstance(part, Const) for part in template)
    last = template[-1]
    tail = last.text if isinstance(last, Const) else ""
    places = [place for place, piece in enumerate(pieces) if not isinstance(piece, str)]
    if len(places) < holes:
        return None, False
    following = pieces[places[holes - 1] + 1 :]
    if not following:
        return None, True
    text = following[0]
    if not isinstance(text, str) or not text.startswith(tail):
        return None, False
    return RangeEnd(text[: len(tail) + ANCHOR], len(tail)), len(following) == 1 and text == tail


def _hints(futures: Sequence[PrefixFuture], tail_needed: bool) -> tuple[Hint, ...]:
    hints = [_hint(number, future) for number, future in enumerate(futures)]
    # A block is found only through those before it: none is kept less than what follows it.
    for place in range(len(hints) - 2, -1, -1):
        if hints[place].priority < hints[place + 1].priority:
            before, behind = hints[place], hints[place + 1]
            hints[place] = Hint(behind.action, behind.priority, before.future, f"leads to what {behind.reason}")
    if not tail_needed:
        hints.append(Hint(HintAction.RELEASE, RELEASED, None, "no other prompt begins with the rest of this one"))
    return tuple(hints)


def _hint(number: int, future: PrefixFuture) -> Hint:
    if future.dead:
        return Hint(HintAction.RELEASE, RELEASED, number, "no later call of the item begins with it")
    if future.other_items:
        return Hint(HintAction.PIN, PINNED, number, "every item needs it")
    steps = future.steps_to_next
    priority = retain_priority(steps)
    where = f"is needed again in {steps} step{'s' if steps != 1 else ''}"
    if future.after_tools:
        return Hint(HintAction.DEMOTE, priority, number, f"{where}, after a tool ({', '.join(future.after_tools)})")
    return Hint(HintAction.RETAIN, priority, number, where)


def _tail_needed(call: Call, shared: Sequence[_Shared], reused: bool) -> bool:
    """Whether something may still need what stands behind the shared parts: a conversation that goes on, a loop's next
    turn, or a prompt whose shared end is not known."""
    whole = any(one.future.to_end and not one.future.dead for one in shared)
    return reused or whole or call.in_loop or call.again or _unknown_end(call, shared)


def _unknown_end(call: Call, shared: Sequence[_Shared]) -> bool:
    return any(one.future.parameters and one.future.end is None and not one.future.to_end for one in shared)


def _prefetch(index: int, order: Sequence[Call], opportunities: Sequence[PrefixOpportunity]) -> tuple[int, ...]:
    """Constant prefixes that the next call begins with, an earlier one did, and this one does not."""
    if index + 1 >= len(order):
        return ()
    here, following = order[index].id, order[index + 1].id
    return tuple(
        dict.fromkeys(
            one.cache_id
            for one in opportunities
            if one.template is None
            and one.pattern is PatternKind.SHARED_PREFIX
            and following in one.nodes
            and here not in one.nodes
        )
    )


def _continued(call: Call, later: Iterable[Call], pieces: Mapping[str, tuple[Piece, ...]]) -> bool:
    """Whether the prompt of a later call is this one, its output, and more."""
    own = pieces[call.id]
    return any(_begins(pieces[other.id], own, call.id) for other in later)


def _begins(pieces: Sequence[Piece], own: Sequence[Piece], call: str) -> bool:
    after = len(own)
    if len(pieces) <= after or list(map(_key, pieces[:after])) != list(map(_key, own)):
        return False
    follows = pieces[after]
    return isinstance(follows, CallRef) and follows.id == call and not follows.derived


def _key(piece: Piece) -> object:
    """Equal for pieces that hold the same text in one item; places in the source do not count."""
    if isinstance(piece, str):
        return piece
    if isinstance(piece, Param):
        return (piece.name, piece.scope) if piece.scope != "call" else piece.span
    return (piece.id, piece.derived) if isinstance(piece, CallRef) else piece.span
