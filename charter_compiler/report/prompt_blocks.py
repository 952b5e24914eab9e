"""The prompt of a call as a list of blocks, each with its place in the source and its share in common prefixes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from charter_compiler.analysis.prefix_analyzer import PrefixOpportunity
from charter_compiler.diagnostics.span import Span
from charter_compiler.ir.nodes import Call, CallRef, Choice, Const, Param, Repeat, Scope, Segment, Unknown


@dataclass(frozen=True, slots=True)
class PromptBlock:
    """``kind`` is const, param, call, choice, option, repeat or unknown; ``depth`` counts what it is nested in.

    ``tokens`` are those of the text by itself; where it meets its neighbours, an engine may split it otherwise.
    ``groups`` are the indices (into the report's opportunities) of the shared prefixes that this block lies in.
    """

    kind: str
    text: str
    span: Span | None
    depth: int = 0
    tokens: int | None = None
    groups: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class MessageBlocks:
    role: str
    blocks: tuple[PromptBlock, ...]


_CHANGES: dict[Scope, str] = {
    "agent": "the same for the whole run",
    "item": "changes with each item",
    "loop": "changes with each turn of the loop",
    "call": "may change with each call",
}


def short_id(call_id: str) -> str:
    """``process#1`` of ``pkg/agent.py:DocumentProcessor.process#1``: enough inside one report's picture."""
    return call_id.rsplit(":", 1)[-1].rsplit(".", 1)[-1]


def groups_of(call: Call, opportunities: Sequence[PrefixOpportunity]) -> tuple[int, ...]:
    """Indices of the opportunities that name this call."""
    return tuple(index for index, opportunity in enumerate(opportunities) if call.id in opportunity.nodes)


def message_blocks(
    call: Call, opportunities: Sequence[PrefixOpportunity], count_tokens: Callable[[str], int] | None
) -> tuple[MessageBlocks, ...]:
    """The messages of a call in blocks. Where the first message begins with a shared prefix, the text is cut where that
    ends, so that the picture shows how far the sharing reaches. Without ``count_tokens`` no tokens are shown.
    """
    # Prefixes are matched in the first message only: what a chat template puts between messages is not in the IR.
    reach = {index: _reach(call, opportunities[index]) for index in groups_of(call, opportunities)}
    result = []
    for message in call.messages:
        blocks: list[PromptBlock] = []
        position = 0
        for segment in message.segments:
            if isinstance(segment, Const):
                blocks.extend(_cut(segment, position, reach))
            else:
                first, *nested = _blocks(segment, 0)
                groups = tuple(index for index, end in reach.items() if end > position)
                blocks.extend((replace(first, groups=groups), *nested))
            position += len(_units((segment,)))
        if count_tokens is not None:
            blocks = [replace(b, tokens=count_tokens(b.text)) if b.kind == "const" else b for b in blocks]
        result.append(MessageBlocks(message.role, tuple(blocks)))
        reach = {}
    return tuple(result)


def _units(segments: Sequence[Segment]) -> list[object]:
    """Segments in a form that compares from the left whatever they are cut into: one unit a character of constant text,
    one a hole. Holes whose text may differ from call to call are equal to nothing."""
    units: list[object] = []
    for segment in segments:
        match segment:
            case Const(text):
                units.extend(text)
            case Param(name):
                units.append(("param", name))
            case CallRef(call_id):
                units.append(("call", call_id))
            case _:
                units.append(object())
    return units


def _reach(call: Call, opportunity: PrefixOpportunity) -> int:
    """How many units of the call's first message lie in the shared prefix; 0 where it does not begin with it."""
    shared = list(opportunity.prefix) if opportunity.template is None else _units(opportunity.template)
    own = _units(call.messages[0].segments) if call.messages else []
    return len(shared) if own[: len(shared)] == shared else 0


def _cut(segment: Const, position: int, reach: Mapping[int, int]) -> list[PromptBlock]:
    """A constant that begins at unit ``position``, cut where a shared prefix ends inside it."""
    stop = position + len(segment.text)
    borders = sorted({position, stop, *(end for end in reach.values() if position < end < stop)})
    blocks = []
    for start, end in pairwise(borders):
        text = segment.text[start - position : end - position]
        groups = tuple(index for index, last in reach.items() if last >= end)
        blocks.append(PromptBlock("const", text, segment.span, groups=groups))
    return blocks


def template_text(opportunity: PrefixOpportunity) -> str:
    """What is shared, as one text: values that are known only at run time in braces, by their name."""
    if opportunity.template is None:
        return opportunity.prefix
    parts = []
    for segment in opportunity.template:
        match segment:
            case Const(text):
                parts.append(text)
            case Param(name):
                parts.append(f"{{{name}}}")
            case CallRef(call_id):
                parts.append(f"{{result of {short_id(call_id)}}}")
            case _:
                parts.append("{…}")
    return "".join(parts)


def nested_text(index: int, opportunities: Sequence[PrefixOpportunity]) -> tuple[int | None, str]:
    """The shared text of an opportunity as what it adds to the longest other one that it begins with, and that one's
    index; ``None`` and the whole text where there is none."""
    texts = [template_text(opportunity) for opportunity in opportunities]
    own = texts[index]
    shorter = [other for other, text in enumerate(texts) if text and len(text) < len(own) and own.startswith(text)]
    if not shorter:
        return None, own
    base = max(shorter, key=lambda other: len(texts[other]))
    return base, own[len(texts[base]) :]


def visible_space(text: str) -> str:
    """Signs for text that is only white space, which would not be seen."""
    return text.replace(" ", "␣").replace("\t", "⇥").replace("\n", "↵") if text.isspace() else text


def _blocks(segment: Segment, depth: int) -> list[PromptBlock]:
    """A segment and what is nested in it, outer before inner."""
    match segment:
        case Const(text, span):
            return [PromptBlock("const", text, span, depth)]
        case Param(name, span, scope):
            return [PromptBlock("param", f"{name} ({_CHANGES[scope]})", span, depth)]
        case CallRef(call_id, span):
            return [PromptBlock("call", f"result of {short_id(call_id)}", span, depth)]
        case Unknown(reason, span):
            return [PromptBlock("unknown", reason, span, depth)]
        case Repeat(inner, span):
            return [
                PromptBlock("repeat", "repeated, any number of times:", span, depth),
                *(block for item in inner for block in _blocks(item, depth + 1)),
            ]
        case Choice(options, span):
            blocks = [PromptBlock("choice", f"one of {len(options)}, decided at run time:", span, depth)]
            for number, option in enumerate(options, start=1):
                blocks.append(PromptBlock("option", f"{number}." if option else f"{number}. nothing", None, depth + 1))
                blocks.extend(block for item in option for block in _blocks(item, depth + 2))
            return blocks
