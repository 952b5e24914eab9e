"""Where a prompt stops being the same from call to call, and what constant text stands behind that place.

A prefix cache reuses leading tokens only. So constant text behind the first part that varies is computed again at every
call. The checks CH101 to CH105 are about that one loss; they differ in what the part is, and each loss is reported by
one of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from charter_compiler.analysis.checks import names
from charter_compiler.analysis.checks.context import MIN_TOKENS, Context
from charter_compiler.analysis.checks.origin import changes_only_daily, is_sorted, sorts_keys
from charter_compiler.diagnostics.span import Span
from charter_compiler.ir.nodes import Call, CallRef, Choice, Const, Message, Param, Repeat, Segment, Unknown, walk

Kind: TypeAlias = Literal["value", "item", "examples", "volatile", "unordered"]

REARRANGED = (
    "crewai.", "dspy.", "guidance.", "haystack.", "llama_index.index", "llama_index.query_engine",
    "llama_index.chat_engine", "llama_index.response_synthesizer", "langgraph_sdk", "outlines.", "langroid",
    "replicate.",
)  # fmt: skip
"""APIs that put what they are given into a prompt of their own, in an order that the source does not show."""

MIN_PIECE = 100
"""Characters of a constant piece behind the varying part that count: labels between two values cannot be moved."""


WRAPPERS = 3
"""Wrappers inside each other that are followed to the call of a model."""


@dataclass(frozen=True, slots=True)
class Loss:
    """A part that varies (``cause``) before text that does not.

    ``before`` is the constant text since the varying part before it, or since the start; ``text`` the constant text
    behind it; ``values`` are other parts behind it that stay the same while ``cause`` varies, whose length the source
    does not say.
    """

    call: Call
    kind: Kind
    cause: Segment
    span: Span
    name: str
    before: str
    text: str
    values: tuple[Param | CallRef, ...]


def losses(context: Context) -> Iterator[Loss]:
    """The first loss of each call, in source order; one for each place in the source and for each template."""
    found = context.memory.get(__name__)
    if found is None:
        places: set[Span] = set()
        templates: set[tuple[str, str, str]] = set()
        kept = []
        for call in context.calls:
            for loss in _losses(call, context):
                # One template that two calls fill is mended once.
                template = (loss.name, loss.before, loss.text)
                if loss.cause.span not in places and not (loss.text and template in templates):
                    kept.append(loss)
                places.add(loss.cause.span)
                templates.add(template)
        found = context.memory[__name__] = tuple(kept)
    yield from found


def _losses(call: Call, context: Context) -> Iterator[Loss]:
    if call.forward or call.api.startswith(REARRANGED):
        return
    if call.kind == "wrapper" and _follows_a_conversation(call, context):
        return
    # The order in which a wrapper's arguments are sent is its own affair.
    groups = [(message,) for message in call.messages] if call.kind == "wrapper" else [call.messages]
    for messages in groups:
        loss = _loss(call, messages, context)
        if loss is not None:
            yield loss
            return


def _follows_a_conversation(call: Call, context: Context, depth: int = 0) -> bool:
    """Whether what a wrapper is given stands behind messages that are not seen here: behind these nothing can be
    reused, whatever comes first in it."""
    if len(call.messages) > 1 and any(_is_history(message, inner=depth > 0) for message in call.messages):
        return True
    for inner in context.reached(call):
        if inner.kind == "wrapper":
            if depth < WRAPPERS and _follows_a_conversation(inner, context, depth + 1):
                return True
        elif any(_is_history(message, inner=True) for message in inner.messages):
            return True
    return False


def _is_history(message: Message, *, inner: bool) -> bool:
    """Whether a message stands for the turns of a conversation: an answer, a list of which each item is one, or what is
    named so. ``inner``: in the function that a wrapper calls, where a parameter is what the wrapper gave."""
    if message.role in ("assistant", "tool"):
        return True
    if message.role != "unknown":
        return False
    for segment in walk(message.segments):
        match segment:
            case CallRef():
                return True
            case Repeat() if not inner and len(message.segments) == 1:
                return True
            case Param(name=name, scope=scope) if (scope == "agent" or not inner) and names.means_history(name):
                return True
            case Unknown(reason=reason) if "is not in this project" not in reason and names.means_history(reason):
                return True
    return False


def _is_printed(message: Message) -> bool:
    """Whether what stands for messages is a list or dictionary that was not told apart into messages."""
    return any(isinstance(each, Unknown) and each.reason.endswith("is printed here") for each in walk(message.segments))


def _loss(call: Call, messages: tuple[Message, ...], context: Context) -> Loss | None:
    in_loop = bool(call.loops) and not _is_tried_again(call, context)
    varies = _varying_in_loop(call, context) if in_loop else _varying_by_item
    outer = _items_around(call, context) if in_loop else frozenset()
    cause: Segment | None = None
    kind: Kind = "value"
    before, pieces = "", [""]
    values: list[Param | CallRef] = []
    examples = False
    for message in messages:
        if message.role == "unknown" and (call.kind != "wrapper" or _is_printed(message)):
            break
        if cause is not None and message.role in ("assistant", "tool"):
            if not all(isinstance(segment, Const) for segment in message.segments):
                # The conversation goes on: what is behind cannot stand before it.
                break
            examples = True
        for segment in message.segments:
            if cause is None:
                found = _kind(segment, call, context, varies, in_loop)
                if found is not None:
                    cause, kind = segment, found
                elif isinstance(segment, Const):
                    before += segment.text
                elif isinstance(segment, Param | CallRef | Unknown):
                    before = before if _is_steady(segment, in_loop, varies, outer) else ""
            elif isinstance(segment, Const):
                pieces[-1] += segment.text
            else:
                pieces.append("")
                if isinstance(segment, Param | CallRef) and _is_steady(segment, in_loop, varies, outer):
                    values.append(segment)
                examples = examples or (isinstance(segment, Param) and names.means_examples(segment.name))
        if cause is not None:
            pieces.append("")
    if cause is None:
        return None
    text = "".join(piece for piece in pieces if examples or len(piece) >= MIN_PIECE)
    large = tuple(value for value in values if _is_large(value, call))
    if not context.is_long(text) and not (in_loop and large and kind in ("item", "volatile")):
        return None
    if kind in ("value", "item") and _shared_with_another(call, cause, context):
        return None
    if kind in ("value", "item") and (examples or names.holds_examples(text)):
        kind = "examples"
    kept = text if len(text) >= MIN_TOKENS * 3 else ""
    return Loss(call, kind, cause, _place(cause, context), _name(cause), before, kept, large)


def _place(cause: Segment, context: Context) -> Span:
    """Where the varying part is written: the parser knows the expression that it is a part of."""
    syntax = context.syntax(cause.span.file)
    if syntax is None or not isinstance(cause, Param):
        return cause.span
    return syntax.written(cause.name, cause.span) or cause.span


_Varies: TypeAlias = Callable[[Segment], bool]


def _kind(segment: Segment, call: Call, context: Context, varies: _Varies, in_loop: bool) -> Kind | None:
    """What sort of varying part a segment is; ``None`` if it is not known to vary."""
    match segment:
        case Unknown(cause="volatile"):
            return None if changes_only_daily(segment, context) else "volatile"
        case Unknown(cause="unordered"):
            return None if is_sorted(segment, context) else "unordered"
        case Param(name=name, scope="item") if not in_loop and names.is_unordered_dump(name):
            return None if sorts_keys(segment, context) else "unordered"
        case Param(name=name) if varies(segment):
            if names.means_volatile(name):
                return "volatile"
            return "item" if in_loop else "value"
        case CallRef() if varies(segment):
            return "item" if in_loop else "value"
        case Repeat(segments=inner) if not in_loop:
            # In a loop it is not known which of the two loops the parts vary with.
            parts = [each for each in walk(inner) if not isinstance(each, Const | Choice | Repeat)]
            if parts and all(varies(each) for each in parts):
                return "value"
    return None


def _is_tried_again(call: Call, context: Context) -> bool:
    """Whether nothing of the prompt changes in the loop around the call, which then tries again until it succeeds: what
    matters is what changes from one call of the function to the next."""
    varies = _varying_in_loop(call, context)
    return not any(
        isinstance(segment, Unknown) or varies(segment) or (isinstance(segment, Param) and segment.scope == "call")
        for message in call.messages
        for segment in walk(message.segments)
    )


def _varying_by_item(segment: Segment) -> bool:
    """Outside of loops: what differs from one call of the function to the next."""
    match segment:
        case Param(name=name, scope="item" | "loop"):
            return not names.means_setting(name)
        case CallRef():
            return True
    return False


def _varying_in_loop(call: Call, context: Context) -> _Varies:
    """In a loop: what differs from one turn of the innermost loop to the next."""
    innermost = call.loops[-1]
    syntax = context.syntax(call.span.file)
    node = None if syntax is None else syntax.call(call.span)
    bound = None if syntax is None or node is None else syntax.bound_in_loop(node)

    def varies(segment: Segment) -> bool:
        match segment:
            case Param(name=name, scope="loop", span=span):
                # It may also be the item of a loop or comprehension inside this one.
                base = re.match(r"\w*", name)
                return bound is None or (base is not None and base[0] in bound) or _is_unpacked(span, context)
            case CallRef(id=source):
                other = context.by_id.get(source)
                return other is not None and other.function == call.function and innermost in other.loops
        return False

    return varies


def _items_around(call: Call, context: Context) -> frozenset[str]:
    syntax = context.syntax(call.span.file)
    node = None if syntax is None else syntax.call(call.span)
    return frozenset() if syntax is None or node is None else syntax.bound_around(node)


def _is_unpacked(span: Span, context: Context) -> bool:
    """Whether the place is a ``**row``, whose fields have names of their own."""
    lines = context.sources.get(span.file, "").split("\n")
    return (span.line <= len(lines) and lines[span.line - 1][span.column - 1 :].startswith("**")) or (
        span.line <= len(lines) and lines[span.line - 1][: span.column - 1].rstrip().endswith("**")
    )


def _is_steady(segment: Segment, in_loop: bool, varies: _Varies, outer: frozenset[str]) -> bool:
    match segment:
        case Param(name=name, scope="loop"):
            return in_loop and name in outer and not varies(segment)
        case Param(scope=scope):
            return scope in (("agent", "item") if in_loop else ("agent",))
        case CallRef():
            return in_loop and not varies(segment)
    return False


def _is_large(value: Param | CallRef, call: Call) -> bool:
    if isinstance(value, Param):
        return value.scope != "call" and names.means_long_text(value.name)
    return not value.derived


def _shared_with_another(call: Call, cause: Segment, context: Context) -> bool:
    """Whether another call of the function begins with the same parts, the varying one included: then that one stands
    early because it is shared, unless it is too short for that."""
    if isinstance(cause, Param) and names.means_short(cause.name):
        return False
    own = _through(call, cause)
    return any(
        _same(own, other) for each in context.beside(call) if each.id != call.id and (other := _through(each, cause))
    )


def _through(call: Call, cause: Segment) -> list[Segment]:
    """The parts of a prompt up to the first that equals ``cause``; empty without one."""
    found: list[Segment] = []
    for message in call.messages:
        for segment in message.segments:
            found.append(segment)
            if same_segment(segment, cause):
                return found
    return []


def _same(one: list[Segment], other: list[Segment]) -> bool:
    return len(one) == len(other) and all(same_segment(a, b) for a, b in zip(one, other, strict=True))


def same_segment(one: Segment, other: Segment) -> bool:
    """Whether two parts are known to be the same text, wherever they stand in the source."""
    match one, other:
        case Const(text=text), Const(text=other_text):
            return text == other_text
        case Param(name=name, scope=scope), Param(name=other_name, scope=other_scope):
            return (name, scope) == (other_name, other_scope)
        case CallRef(id=call, derived=derived), CallRef(id=other_call, derived=other_derived):
            return (call, derived) == (other_call, other_derived)
    return False


def _name(cause: Segment) -> str:
    match cause:
        case Param(name=name):
            return f"`{name}`"
        case CallRef(id=call):
            return f"the result of {call.rpartition(':')[2]}"
        case Repeat(segments=inner):
            inside = next((each for each in walk(inner) if isinstance(each, Param | CallRef)), None)
            return "a list of values" if inside is None else f"a list of {_name(inside)}"
        case Unknown(reason=reason):
            match = re.search(r"[\w.]+\([^)]*\)(?:\.\w+\(\))?", reason)
            return f"`{match[0]}`" if match else "a value"
    return "a value"
