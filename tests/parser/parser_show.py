"""Prompts in one line, for assertions.

Constants stand as they are, ``{name}`` is a parameter, ``<n>`` the result of call n, ``<n~>`` something computed from
it, ``[a|b]`` a choice, ``(a)*`` a repetition, ``?`` unknown text.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path

from charter_compiler.ir.nodes import Call, CallRef, Choice, Const, Param, Repeat, Segment, Unknown
from charter_compiler.ir.text import parse_agent, print_agent
from charter_compiler.ir.verify import verify
from charter_compiler.parser.ast_parser import AgentASTParser, ParsedAgent

SCOPE_MARKS = {"item": "", "agent": "@agent", "loop": "@loop", "call": "@call"}


def parse(source: str) -> ParsedAgent:
    """Parse a snippet; whatever it holds, the IR is legal and survives its text form."""
    parsed = AgentASTParser().parse_source(textwrap.dedent(source), "agent.py")
    assert parsed.failed == ()
    verify(parsed.agent)
    assert parse_agent(print_agent(parsed.agent)) == parsed.agent
    assert "\0" not in print_agent(parsed.agent)
    return parsed


def prompts(source: str) -> list[str]:
    """The prompt of each call, messages as ``role: text``, a raw prompt as its text alone."""
    return [prompt(call) for call in parse(source).calls]


def prompt(call: Call) -> str:
    """The prompt of one call."""
    parts = [
        show(message.segments) if message.role == "raw" else f"{message.role}: {show(message.segments)}"
        for message in call.messages
    ]
    return " / ".join(parts)


def show(segments: Iterable[Segment]) -> str:
    """Segments in one line."""
    text = ""
    for segment in segments:
        match segment:
            case Const():
                text += segment.text
            case Param(name=name, scope=scope):
                text += "{" + name + SCOPE_MARKS[scope] + "}"
            case CallRef(id=call_id, derived=derived):
                text += f"<{call_id.rpartition('#')[2]}{'~' if derived else ''}>"
            case Choice(options=options):
                text += f"[{'|'.join(show(option) for option in options)}]"
            case Repeat(segments=inner):
                text += f"({show(inner)})*"
            case Unknown():
                text += "?"
    return text


def reasons(source: str) -> list[str]:
    """The reasons of the unknown parts on the top level of the first call's prompt."""
    call = parse(source).calls[0]
    return [segment.reason for message in call.messages for segment in message.segments if isinstance(segment, Unknown)]


def project(folder: Path, files: Mapping[str, str]) -> ParsedAgent:
    """Parse files of a folder together; whatever they hold, the IR is legal and survives its text form."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
    parsed = AgentASTParser().parse_paths([folder])
    verify(parsed.agent)
    assert parse_agent(print_agent(parsed.agent)) == parsed.agent
    return parsed


def listed(parsed: ParsedAgent) -> list[str]:
    """Each call as ``file:function kind: prompt`` (the extension of the file is left out), in order."""
    return [
        f"{call.span.file.removesuffix('.py')}:{call.function} {call.kind}: {prompt(call)}" for call in parsed.calls
    ]
