"""``charter inspect --format json``: version 1 of a format that other tools read (docs/inspect.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from charter_compiler.diagnostics.diagnostic import Diagnostic
from charter_compiler.diagnostics.span import Span
from charter_compiler.ir.nodes import Call, CallRef, Choice, Const, Param, Repeat, Segment, Unknown
from charter_compiler.parser.ast_parser import ParsedAgent
from charter_compiler.parser.notebooks import Notebook

VERSION = 1


def document(parsed: ParsedAgent, findings: Sequence[Diagnostic]) -> dict[str, Any]:
    """Everything that was found, as one JSON object."""
    return {
        "version": VERSION,
        "files": parsed.files,
        "failed": [
            {"file": each.file, **_cell(each.cell), "line": each.line, "message": each.message}
            for each in parsed.failed
        ],
        "calls": [{**call_object(call), **_in_cell(call.span, parsed.notebooks)} for call in parsed.calls],
        "diagnostics": [
            {**diagnostic_object(diagnostic), **_in_cell(diagnostic.span, parsed.notebooks, end=True)}
            for diagnostic in findings
        ],
    }


def _cell(number: int | None) -> dict[str, Any]:
    return {} if number is None else {"cell": number}


def _in_cell(span: Span, notebooks: Mapping[str, Notebook], *, end: bool = False) -> dict[str, Any]:
    """In a notebook: the number of the cell, and the lines within it."""
    if span.file not in notebooks:
        return {}
    notebook = notebooks[span.file]
    place = notebook.within(span)
    lines = {"line": place.line, **({"end_line": place.end_line} if end else {})}
    return {"cell": notebook.at(span.line).number, **lines}


def call_object(call: Call) -> dict[str, Any]:
    """One call site."""
    return {
        "id": call.id,
        "file": call.span.file,
        "line": call.span.line,
        "column": call.span.column,
        "function": call.function,
        "kind": call.kind,
        "api": call.api,
        "callee": call.callee,
        "forward": call.forward,
        "messages": [
            {"role": message.role, "segments": [segment_object(segment) for segment in message.segments]}
            for message in call.messages
        ],
        "model": call.model,
        "max_tokens": call.max_tokens,
        "temperature": call.temperature,
        "in_loop": call.in_loop,
        "loop_depth": call.loop_depth,
        "depends_on": list(call.depends_on),
    }


def segment_object(segment: Segment) -> dict[str, Any]:
    """One segment of a prompt."""
    match segment:
        case Const(text=text):
            return {"type": "const", "text": text}
        case Param(name=name):
            return {"type": "param", "name": name}
        case CallRef(id=call_id, derived=derived):
            return {"type": "call", "id": call_id, **({"derived": True} if derived else {})}
        case Choice(options=options):
            return {"type": "choice", "options": [[segment_object(each) for each in option] for option in options]}
        case Repeat(segments=segments):
            return {"type": "repeat", "segments": [segment_object(each) for each in segments]}
        case Unknown(reason=reason):
            return {"type": "unknown", "reason": reason}


def diagnostic_object(diagnostic: Diagnostic) -> dict[str, Any]:
    """One finding."""
    return {
        "code": diagnostic.code,
        "severity": str(diagnostic.severity),
        "file": diagnostic.span.file,
        "line": diagnostic.span.line,
        "column": diagnostic.span.column,
        "end_line": diagnostic.span.end_line,
        "end_column": diagnostic.span.end_column,
        "message": diagnostic.message,
        "help": diagnostic.help,
        "tokens": diagnostic.tokens,
    }
