"""The one text form of the IR: ``parse_agent(print_agent(agent)) == agent``, spans included.

    agent 'document_processor.py'

    call 'document_processor.py:DocumentProcessor.process#2' @'document_processor.py':33:21-47:10
      function 'DocumentProcessor.process'
      kind root
      api 'injected'
      callee 'self.llm.generate'
      max_tokens 200
      depends_on 'document_processor.py:DocumentProcessor.process#1'
      message raw
        const @8:17-11:98
          'You are a careful document analyst.\\n'
          'You answer in the format that the task asks for.'
        call 'document_processor.py:DocumentProcessor.process#1' @41:1-41:11
        param 'document' item @44:1-44:11

Strings are Python literals. Two spaces indent a level. A span is ``@line:column-line:column``; it names its file where
that is not the file of the call. Fields with their default value are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from charter_compiler.diagnostics.span import Span
from charter_compiler.ir.nodes import Agent, Call, CallRef, Choice, Const, Param, Repeat, Segment, Unknown
from charter_compiler.ir.text_reader import parse_agent

__all__ = ["parse_agent", "print_agent", "print_call"]

INDENT = "  "


def print_agent(agent: Agent) -> str:
    """The text form of an agent; ends with a newline."""
    blocks = [f"agent {agent.name!r}\n", *(print_call(call) for call in agent.calls)]
    return "\n".join(blocks)


def print_call(call: Call) -> str:
    """The text form of one call; ends with a newline."""
    lines = [f"call {call.id!r} {_span(call.span, None)}", *(INDENT + line for line in _fields(call))]
    for message in call.messages:
        lines.append(f"{INDENT}message {message.role}{' cached' if message.cached else ''}")
        lines.extend(_segments(message.segments, 2, call.span.file))
    return "\n".join(lines) + "\n"


def _fields(call: Call) -> Iterator[str]:
    yield f"function {call.function!r}"
    yield f"kind {call.kind}"
    yield f"api {call.api!r}"
    yield f"callee {call.callee!r}"
    if call.forward:
        yield "forward"
    if call.model is not None:
        yield f"model {call.model!r}"
    if call.max_tokens is not None:
        yield f"max_tokens {call.max_tokens}"
    if call.temperature is not None:
        yield f"temperature {call.temperature!r}"
    if call.loop_depth:
        yield f"loop_depth {call.loop_depth}"
    for span in call.loops:
        yield f"loop {_span(span, call.span.file)}"
    for span in call.arms:
        yield f"arm {_span(span, call.span.file)}"
    if call.awaited:
        yield "awaited"
    if not call.used:
        yield "unused"
    if call.again:
        yield "again"
    for effect in call.effects:
        yield f"effect {effect!r}"
    for dependency in call.depends_on:
        yield f"depends_on {dependency!r}"
    for other in call.arrives:
        yield f"arrives {other!r}"
    for other in call.returns:
        yield f"returns {other!r}"
    for setting in call.settings:
        yield f"setting {setting!r}"


def _segments(segments: Iterable[Segment], depth: int, file: str) -> Iterator[str]:
    indent = INDENT * depth
    for segment in segments:
        span = _span(segment.span, file)
        match segment:
            case Const(text=text):
                yield f"{indent}const {span}"
                yield from (f"{indent}{INDENT}{line!r}" for line in _lines(text))
            case Param(name=name, scope=scope):
                yield f"{indent}param {name!r} {scope} {span}"
            case CallRef(id=call_id, derived=derived):
                yield f"{indent}call {call_id!r} {'derived ' if derived else ''}{span}"
            case Choice(options=options):
                yield f"{indent}choice {span}"
                for option in options:
                    yield f"{indent}{INDENT}option"
                    yield from _segments(option, depth + 2, file)
            case Repeat(segments=inner):
                yield f"{indent}repeat {span}"
                yield from _segments(inner, depth + 1, file)
            case Unknown(reason=reason, cause=cause):
                yield f"{indent}unknown {reason!r} {cause + ' ' if cause else ''}{span}"


def _lines(text: str) -> list[str]:
    """The text cut after each line feed, so that a prompt reads as its lines."""
    lines = [line + "\n" for line in text.split("\n")]
    lines[-1] = lines[-1][:-1]
    return lines if lines[-1] else lines[:-1]


def _span(span: Span, file: str | None) -> str:
    name = "" if span.file == file else f"{span.file!r}:"
    return f"@{name}{span.line}:{span.column}-{span.end_line}:{span.end_column}"
