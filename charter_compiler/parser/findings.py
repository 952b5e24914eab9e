"""Diagnostics of the front end, and the comments that silence them."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Callable, Iterable, Iterator, Mapping

from charter_compiler.diagnostics.diagnostic import Diagnostic, Severity
from charter_compiler.ir.nodes import Call, CallRef, Choice, Const, Param, Repeat, Segment, Unknown

LONG_CONSTANT = 400
"""Characters of constant text (about 100 tokens) behind a varying part from which CH101 speaks."""

_IGNORE = re.compile(r"#\s*charter:\s*ignore\[(?P<codes>[A-Z0-9,\s]+)\]")


def unknown_prompt(call: Call) -> Iterator[Diagnostic]:
    """CH001: nothing of the prompt can be read from the source."""
    segments = [segment for message in call.messages for segment in message.segments]
    unknown = [segment for segment in segments if isinstance(segment, Unknown)]
    if len(unknown) == len(segments) and unknown:
        yield Diagnostic(
            "CH001",
            Severity.NOTE,
            call.span,
            f"the prompt of this call cannot be read from the source: {unknown[0].reason}",
            "build the prompt in this function from constants, parameters and results of calls",
        )


def varying_before_constant(call: Call) -> Iterator[Diagnostic]:
    """CH101: a long constant text stands behind a part that varies, where no prefix cache can find it again.

    Only for a prompt whose parts are all known: constants, parameters and results of calls.
    """
    segments = [segment for message in call.messages for segment in message.segments]
    first = next((index for index, segment in enumerate(segments) if varies(segment)), None)
    if first is None or any(isinstance(segment, Unknown | Choice | Repeat) for segment in segments):
        return
    behind = sum(len(segment.text) for segment in segments[first:] if isinstance(segment, Const))
    if behind >= LONG_CONSTANT:
        segment = segments[first]
        name = segment.name if isinstance(segment, Param) else "the result of a call"
        yield Diagnostic(
            "CH101",
            Severity.WARNING,
            segment.span if segment.span.file == call.span.file else call.span,
            f"{name} varies from call to call and stands before {behind} characters of constant text, "
            "which an engine's prefix cache therefore cannot reuse",
            "put the constant text first and what varies last",
        )


def varies(segment: Segment) -> bool:
    """Whether the segment is known to differ from one call of the site to another."""
    return isinstance(segment, CallRef) or (isinstance(segment, Param) and segment.scope != "agent")


CHECKS: tuple[Callable[[Call], Iterator[Diagnostic]], ...] = (unknown_prompt, varying_before_constant)


def findings(calls: Iterable[Call], sources: Mapping[str, str]) -> tuple[Diagnostic, ...]:
    """What the checks say of the calls, in source order, without what comments silence.

    ``# charter: ignore[CH101]`` (several codes with commas) silences on its own line: the first line of the finding,
    or of the call that it is about.
    """
    ignored = {file: _ignored(source) for file, source in sources.items()}
    found = []
    for call in calls:
        silenced = ignored.get(call.span.file, {})
        for check in CHECKS:
            for diagnostic in check(call):
                if diagnostic.code not in silenced.get(diagnostic.span.line, set()) | silenced.get(
                    call.span.line, set()
                ):
                    found.append(diagnostic)
    return tuple(sorted(found, key=lambda each: (each.span, each.code)))


def _ignored(source: str) -> dict[int, set[str]]:
    """Codes that are silenced on each line."""
    if _IGNORE.search(source) is None:
        return {}
    result: dict[int, set[str]] = {}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        match = _IGNORE.search(token.string) if token.type == tokenize.COMMENT else None
        if match is not None:
            result[token.start[0]] = {code.strip() for code in match["codes"].split(",")}
    return result
