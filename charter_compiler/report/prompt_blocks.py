"""The prompt of a call as a list of blocks, each with its place in the source and its share in common prefixes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from charter_compiler.diagnostics.span import Span
from charter_compiler.ir.nodes import Call, CallRef, Choice, Const, Param, Repeat, Segment, Unknown
from charter_compiler.report.model import SharedPrefix


@dataclass(frozen=True, slots=True)
class PromptBlock:
    """``kind`` is const, param, call, choice, option, repeat or unknown; ``depth`` counts what it is nested in.

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


def short_id(call_id: str) -> str:
    """``process#1`` of ``pkg/agent.py:DocumentProcessor.process#1``: enough inside one report's picture."""
    return call_id.rsplit(":", 1)[-1].rsplit(".", 1)[-1]


def groups_of(call: Call, opportunities: Sequence[SharedPrefix]) -> tuple[int, ...]:
    """Indices of the opportunities that name this call."""
    return tuple(index for index, opportunity in enumerate(opportunities) if call.id in opportunity.nodes)


def message_blocks(
    call: Call, opportunities: Sequence[SharedPrefix], tokens: Sequence[int | None] | None
) -> tuple[MessageBlocks, ...]:
    """The messages of a call in blocks. Where the first message begins with the text of a shared prefix, the block is
    cut there, so that the picture shows how far the sharing reaches.

    ``tokens`` are counts of the top-level segments over all messages; ``None`` where nothing was counted.
    """
    counts = list(tokens) if tokens is not None else [None] * sum(len(message.segments) for message in call.messages)
    ends = {index: len(opportunities[index].prefix) for index in groups_of(call, opportunities)}
    head = _leading_text(call)
    ends = {index: end for index, end in ends.items() if end and head.startswith(opportunities[index].prefix)}
    result = []
    position = 0
    leading = True
    for message in call.messages:
        blocks: list[PromptBlock] = []
        for segment in message.segments:
            total = counts.pop(0)
            if leading and isinstance(segment, Const):
                blocks.extend(_cut(segment, position, ends, total))
                position += len(segment.text)
            else:
                leading = False
                blocks.extend(_blocks(segment, 0, total))
        leading = False  # prefixes are matched in the first message only: the template stands between messages
        result.append(MessageBlocks(message.role, tuple(blocks)))
    return tuple(result)


def _leading_text(call: Call) -> str:
    """Constant text with which the first message begins."""
    parts = []
    for segment in call.messages[0].segments if call.messages else ():
        if not isinstance(segment, Const):
            break
        parts.append(segment.text)
    return "".join(parts)


def _cut(segment: Const, position: int, ends: dict[int, int], tokens: int | None) -> list[PromptBlock]:
    """A constant at ``position`` of the leading text, cut where a shared prefix ends inside it; a part that a cut made
    has no token count of its own."""
    stop = position + len(segment.text)
    borders = sorted({position, stop, *(end for end in ends.values() if position < end < stop)})
    blocks = []
    for start, end in pairwise(borders):
        groups = tuple(index for index, reach in ends.items() if reach >= end)
        count = tokens if (start, end) == (position, stop) else None
        blocks.append(
            PromptBlock(
                "const", segment.text[start - position : end - position], segment.span, tokens=count, groups=groups
            )
        )
    return blocks


def _blocks(segment: Segment, depth: int, tokens: int | None) -> list[PromptBlock]:
    """A segment and what is nested in it, outer before inner; tokens are known of the outermost only."""
    match segment:
        case Const(text, span):
            return [PromptBlock("const", text, span, depth, tokens)]
        case Param(name, span, scope):
            return [PromptBlock("param", f"{name} (changes with each {scope})", span, depth, tokens)]
        case CallRef(call_id, span):
            return [PromptBlock("call", f"result of {short_id(call_id)}", span, depth, tokens)]
        case Unknown(reason, span):
            return [PromptBlock("unknown", reason, span, depth, tokens)]
        case Repeat(inner, span):
            return [
                PromptBlock("repeat", "repeated, any number of times:", span, depth, tokens),
                *(block for item in inner for block in _blocks(item, depth + 1, None)),
            ]
        case Choice(options, span):
            blocks = [PromptBlock("choice", f"one of {len(options)}, decided at run time:", span, depth, tokens)]
            for number, option in enumerate(options, start=1):
                blocks.append(PromptBlock("option", f"{number}." if option else f"{number}. nothing", None, depth + 1))
                blocks.extend(block for item in option for block in _blocks(item, depth + 2, None))
            return blocks
