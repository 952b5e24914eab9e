"""Is this IR legal? One small function a rule, all of them in the table ``RULES``."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from typing import get_args

from charter_compiler.diagnostics.errors import VerificationError
from charter_compiler.diagnostics.span import Span
from charter_compiler.ir.nodes import Agent, CallRef, Choice, Const, Param, Repeat, Role, Scope, Unknown, walk

Rule = Callable[[Agent], Iterator[str]]
"""Yields one sentence for each breach; the sentence begins with the node."""

_ROLES: tuple[str, ...] = get_args(Role)
_SCOPES: tuple[str, ...] = get_args(Scope)
_ID = re.compile(r"(?P<place>.+)#[1-9][0-9]*", re.DOTALL)


def ids_are_unique(agent: Agent) -> Iterator[str]:
    seen: set[str] = set()
    for call in agent.calls:
        if call.id in seen:
            yield f"call {call.id}: the id is used twice"
        seen.add(call.id)


def ids_name_file_and_function(agent: Agent) -> Iterator[str]:
    for call in agent.calls:
        match = _ID.fullmatch(call.id)
        if match is None or match["place"] != f"{call.span.file}:{call.function}":
            yield f"call {call.id}: the id is not {call.span.file}:{call.function}#n"


def dependencies_are_known_calls(agent: Agent) -> Iterator[str]:
    known = {call.id for call in agent.calls}
    for call in agent.calls:
        for dependency in (*call.depends_on, *call.arrives, *call.returns):
            if dependency not in known:
                yield f"call {call.id}: depends on {dependency}, which is no call of this agent"
        if len(set(call.depends_on)) != len(call.depends_on):
            yield f"call {call.id}: depends_on lists a call twice"


def dependencies_come_earlier(agent: Agent) -> Iterator[str]:
    """Within one function a later call's text can only arrive in the next turn of a loop, or from inside the call's own
    arguments. Functions are called in any order."""
    position = {call.id: index for index, call in enumerate(agent.calls)}
    for call in agent.calls:
        for dependency in call.depends_on:
            if call.in_loop or call.again or position.get(dependency, -1) < position[call.id]:
                continue
            inner = agent.calls[position[dependency]]
            if (inner.span.file, inner.function) != (call.span.file, call.function):
                continue
            if inner is call or not contains(call.span, inner.span):
                yield f"call {call.id}: depends on the later call {dependency}, but stands in no loop"


def references_are_dependencies(agent: Agent) -> Iterator[str]:
    for call in agent.calls:
        for message in call.messages:
            for segment in walk(message.segments):
                if isinstance(segment, CallRef) and segment.id not in call.depends_on:
                    yield f"call {call.id}: its prompt holds the text of {segment.id}, which depends_on does not list"


def calls_have_a_prompt(agent: Agent) -> Iterator[str]:
    for call in agent.calls:
        if not call.messages:
            yield f"call {call.id}: has no message"
        raw = [message for message in call.messages if message.role == "raw"]
        if raw and len(call.messages) > 1:
            yield f"call {call.id}: a raw prompt stands beside other messages"


def roles_and_scopes_are_known(agent: Agent) -> Iterator[str]:
    for call in agent.calls:
        for message in call.messages:
            if message.role not in _ROLES:
                yield f"call {call.id}: unknown role {message.role!r}"
            for segment in walk(message.segments):
                if isinstance(segment, Param) and segment.scope not in _SCOPES:
                    yield f"call {call.id}: parameter {segment.name!r} has the unknown scope {segment.scope!r}"


def segments_say_something(agent: Agent) -> Iterator[str]:
    for call in agent.calls:
        for message in call.messages:
            for segment in walk(message.segments):
                match segment:
                    case Const(text=""):
                        yield f"call {call.id}: a constant without text at {segment.span}"
                    case Param(name=""):
                        yield f"call {call.id}: a parameter without a name at {segment.span}"
                    case Unknown(reason=""):
                        yield f"call {call.id}: unknown text without a reason at {segment.span}"
                    case Choice(options=options) if len(options) < 2:
                        yield f"call {call.id}: a choice of fewer than two at {segment.span}"
                    case Repeat(segments=()):
                        yield f"call {call.id}: a repetition of nothing at {segment.span}"


def loops_agree(agent: Agent) -> Iterator[str]:
    for call in agent.calls:
        if call.loop_depth < 0:
            yield f"call {call.id}: negative loop depth"
        if call.loops and len(call.loops) != call.loop_depth:
            yield f"call {call.id}: {len(call.loops)} loops, but loop depth {call.loop_depth}"


def settings_are_numbers(agent: Agent) -> Iterator[str]:
    for call in agent.calls:
        if call.max_tokens is not None and call.max_tokens < 0:
            yield f"call {call.id}: max_tokens is {call.max_tokens}"
        if call.temperature is not None and not math.isfinite(call.temperature):
            yield f"call {call.id}: temperature is {call.temperature}"


def spans_are_ranges(agent: Agent) -> Iterator[str]:
    for call in agent.calls:
        segments = (segment for message in call.messages for segment in walk(message.segments))
        for span in (call.span, *call.loops, *(segment.span for segment in segments)):
            start, end = (span.line, span.column), (span.end_line, span.end_column)
            if span.line < 1 or span.column < 1 or end < start or not span.file:
                yield f"call {call.id}: {span}-{span.end_line}:{span.end_column} is not a range of a file"


RULES: tuple[Rule, ...] = (
    ids_are_unique,
    ids_name_file_and_function,
    dependencies_are_known_calls,
    dependencies_come_earlier,
    references_are_dependencies,
    calls_have_a_prompt,
    roles_and_scopes_are_known,
    segments_say_something,
    loops_agree,
    settings_are_numbers,
    spans_are_ranges,
)


def verify(agent: Agent) -> None:
    """Check every rule of ``RULES``.

    Raises:
        VerificationError: names the rule and the node of the first breach, and how many more there are.
    """
    breaches = [f"{breach} [{rule.__name__}]" for rule in RULES for breach in rule(agent)]
    if breaches:
        more = f", and {len(breaches) - 1} more" if len(breaches) > 1 else ""
        raise VerificationError(f"{breaches[0]}{more}", place=agent.name)


def contains(outer: Span, inner: Span) -> bool:
    """Whether ``inner`` lies within ``outer``."""
    return (
        outer.file == inner.file
        and (outer.line, outer.column) <= (inner.line, inner.column)
        and (inner.end_line, inner.end_column) <= (outer.end_line, outer.end_column)
    )
