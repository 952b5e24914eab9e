"""A call's prompt as the engine gets it: constant text and holes in order, the chat template around its messages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

from charter_compiler.diagnostics.errors import TokenizerError
from charter_compiler.ir.nodes import Call, CallRef, Choice, Const, Message, Param, Repeat, Segment, Unknown
from charter_compiler.tokens.chat import ChatTemplate

Hole: TypeAlias = Param | CallRef | Choice | Repeat | Unknown
Piece: TypeAlias = str | Hole
"""Text that is known, or what stands in its place until the program runs."""

_OPEN, _CLOSE = "\ue000", "\ue001"
"""Private-use characters that mark a hole's place while the template is rendered; no chat template contains them."""


def engine_calls(calls: Iterable[Call]) -> tuple[Call, ...]:
    """The calls whose messages reach a model as they stand, in the order given.

    A root that only forwards its caller's prompt is left out (its wrappers' calls carry the text), and so is the call
    of a wrapper that puts what it gets into a prompt of its own. To run a state graph calls the models of its nodes.
    """
    calls = tuple(calls)
    rewriting = {call.function.rpartition(".")[2] for call in calls if not call.forward}
    return tuple(
        call
        for call in calls
        if not call.forward
        and call.api != "langgraph.graph"
        and not (call.kind == "wrapper" and call.callee.rpartition(".")[2] in rewriting)
    )


def engine_edges(calls: Iterable[Call]) -> dict[str, tuple[str, ...]]:
    """For each of the ``engine_calls`` those whose text its prompt holds, however many functions it passes through."""
    known = {call.id: call for call in calls}
    engine = {call.id: None for call in engine_calls(known.values())}
    edges: dict[str, tuple[str, ...]] = {}
    for name in engine:
        found: set[str] = set()
        waiting = [*known[name].depends_on, *known[name].arrives]
        seen: set[str] = set()
        while waiting:
            other = waiting.pop()
            if other in seen:
                continue
            seen.add(other)
            if other in engine:
                found.add(other)
            else:
                waiting.extend(known[other].returns)
        edges[name] = tuple(each for each in engine if each in found)
    return edges


def prompt_pieces(call: Call, template: ChatTemplate | None) -> tuple[Piece, ...]:
    """The prompt of ``call``; two texts never stand side by side.

    What is known ends where a message has no known role: the rest is one ``Unknown``.

    Raises:
        TokenizerError: the call sends chat messages, and there is no template or it refuses them.
    """
    if all(message.role == "raw" for message in call.messages):
        return tuple(_merge(_text_or_hole(segment) for message in call.messages for segment in message.segments))
    known: list[Message] = []
    for message in call.messages:
        if message.role in ("raw", "unknown"):
            break
        known.append(message)
    complete = len(known) == len(call.messages)
    pieces = _rendered(call, known, complete, template) if known else []
    if not complete:
        pieces.append(Unknown("the role of a message is decided at run time", call.span))
    return tuple(pieces)


def _rendered(call: Call, messages: list[Message], complete: bool, template: ChatTemplate | None) -> list[Piece]:
    if template is None:
        raise TokenizerError(
            "the call sends chat messages, and the tokenizer has no chat template",
            place=str(call.span),
            remedy="give a folder that holds tokenizer_config.json",
        )
    holes: list[Hole] = []
    contents = []
    for message in messages:
        content = ""
        for segment in message.segments:
            if isinstance(segment, Const):
                content += segment.text
            else:
                content += f"{_OPEN}{len(holes)}{_CLOSE}"
                holes.append(segment)
        contents.append({"role": message.role, "content": content})
    first, *others = template.render(contents, add_generation_prompt=complete).split(_OPEN)
    pieces: list[Piece] = [first]
    for other in others:
        number, _, text = other.partition(_CLOSE)
        pieces += [holes[int(number)], text]
    return list(_merge(pieces))


def _text_or_hole(segment: Segment) -> Piece:
    return segment.text if isinstance(segment, Const) else segment


def _merge(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """The same without empty texts and without two texts side by side."""
    text = ""
    for piece in pieces:
        if isinstance(piece, str):
            text += piece
            continue
        if text:
            yield text
            text = ""
        yield piece
    if text:
        yield text
