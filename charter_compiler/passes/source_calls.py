"""Calls rewritten in the source: dead ones taken out, and independent ones asked at once.

What comes out is parsed again, and kept only if it makes the same calls with the same prompts, but for the dead.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from charter_compiler.diagnostics.span import Span
from charter_compiler.ir.nodes import Agent, Call
from charter_compiler.parser.ast_parser import AgentASTParser
from charter_compiler.passes.block_rewriters import Dropping, Gathering
from charter_compiler.passes.dead_calls import dead_calls
from charter_compiler.passes.gather import Source
from charter_compiler.passes.import_asyncio import is_free, with_import
from charter_compiler.passes.independent_calls import AT_ONCE, IndependentCalls
from charter_compiler.passes.literals import libcst, read_module
from charter_compiler.passes.pass_base import PassNote
from charter_compiler.passes.shapes import plain
from charter_compiler.passes.stateless import kept_state
from charter_compiler.passes.statements import changing_names, constants, shadowed_names

_OTHERS = "left: other calls, or no Python, would result"
_CHANGES = (
    "what they are made from, or a statement between them, may change something in between, "
    "or a try or with stands around them"
)
_WAITS = "they are not awaited, so that each is answered before the next line"


@dataclass(frozen=True, slots=True)
class CallRewrite:
    """A file's text after it. ``notes``: what was done, and what was left and why; ``gone``: ids of the calls that were
    taken out, as they were numbered before."""

    text: str
    notes: tuple[PassNote, ...] = ()
    gone: tuple[str, ...] = ()


def drop_dead(text: str, file: str) -> CallRewrite:
    """The file without the calls whose answers nobody reads, where their statements do nothing else.

    Raises:
        SourceError: LibCST cannot parse the file.
        UsageError: LibCST is not installed.
    """
    agent = _agent(text, file)
    dead, keeps = {call.id: call for call in dead_calls(agent)}, kept_state(agent.calls)
    if not dead:
        return CallRewrite(text)
    source, wrapper = _source(text, agent)
    dropping = Dropping(source, frozenset(dead.keys() - keeps.keys()))
    after = str(wrapper.visit(dropping.visitor()).code)
    gone = tuple(name for name in dead if name in dropping.gone)
    rest = [call for call in agent.calls if call.id not in gone]
    if not _same_calls(rest, _agent(after, file).calls, gone):
        after, gone = text, ()
    done, left = "nothing reads the answer: the call is taken out", "left: its statement may do more than to ask"
    whys = {name: f"left: {keeps[name]}" for name in dead if name in keeps}
    whys |= dict.fromkeys(dropping.guarded, "left: a try or with stands around it")
    whys |= dict.fromkeys(dropping.gone, "left: without it other calls would result") | dict.fromkeys(gone, done)
    notes = [PassNote(call.span, whys.get(name, left), name in gone) for name, call in dead.items()]
    return CallRewrite(after, tuple(notes), gone)


def ask_at_once(text: str, file: str) -> CallRewrite:
    """The file with awaited calls that do not need each other in one ``asyncio.gather``.

    Raises:
        SourceError: LibCST cannot parse the file.
        UsageError: LibCST is not installed.
    """
    agent = _agent(text, file)
    source, wrapper = _source(text, agent)
    keeps = kept_state(agent.calls)
    source = replace(source, calls={node: call for node, call in source.calls.items() if call.id not in keeps})
    after, notes = _gathered(text, agent, source, wrapper)
    awaited = {call.span: call.awaited for call in agent.calls}
    for note in IndependentCalls().run(agent).notes:
        why = _CHANGES if awaited[note.span] else _WAITS
        said = f"{note.text}; left: {why}" if note.text.endswith(AT_ONCE) else note.text
        notes.setdefault(note.span, PassNote(note.span, said, changed=False))
    return CallRewrite(after, tuple(notes[span] for span in sorted(notes)))


def _gathered(text: str, agent: Agent, source: Source, wrapper: Any) -> tuple[str, dict[Span, PassNote]]:
    """The file with calls asked at once, and notes by place. A function whose calls would be others is left, and the
    rest is tried without it."""
    gathering = Gathering(source)
    try:
        changed = wrapper.visit(gathering.visitor())
    except source.cst.CSTValidationError:  # a list that stands right behind a word, as in return[...]
        gathering = Gathering(source, lists=False)
        changed = wrapper.visit(gathering.visitor())
    notes = dict(gathering.notes)
    if not any(note.changed for note in notes.values()):
        return text, notes
    if not is_free(source.cst, source.module):
        why = "left: asyncio may be the name of something else here"
        return text, {span: PassNote(span, why, changed=False) for span in notes}
    after = str(with_import(source.cst, changed).code)
    odd = _differing(agent, after)
    if not odd:
        return after, notes
    refused = {call.span: call for call in agent.calls if call.function in odd and call.span in notes}
    if not refused:  # none of those that were rewritten: what differs cannot be told
        return text, {span: PassNote(span, _OTHERS, changed=False) for span in notes}
    rest = replace(source, calls={node: call for node, call in source.calls.items() if call.function not in odd})
    after, notes = _gathered(text, agent, rest, wrapper)
    return after, notes | {span: PassNote(span, _OTHERS, changed=False) for span in refused}


def _differing(agent: Agent, after: str) -> set[str]:
    """The functions whose calls, or what they send, would be others than before; all, if Python refuses the text."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the agent's text, and said where it is run
            compile(after, agent.name, "exec", dont_inherit=True)
    except SyntaxError:
        return {call.function for call in agent.calls}
    before, now = _by_function(agent.calls), _by_function(_agent(after, agent.name).calls)
    return {name for name in before.keys() | now.keys() if before.get(name) != now.get(name)}


def _by_function(calls: Iterable[Call]) -> dict[str, list[object]]:
    found: dict[str, list[object]] = {}
    for call in calls:
        found.setdefault(call.function, []).append(_facts(call, ()))
    return found


def renumbered(call_id: str, gone: Iterable[str]) -> str:
    """The id of a call after those of ``gone`` were taken out: the calls of a function are numbered from 1."""
    function, _, number = call_id.rpartition("#")
    if not number.isdecimal():
        return call_id
    numbers = [int(name.rpartition("#")[2]) for name in gone if name.rpartition("#")[0] == function]
    return f"{function}#{int(number) - sum(each < int(number) for each in numbers)}"


def _agent(text: str, file: str) -> Agent:
    return Agent(file, AgentASTParser().parse_source(text, file).calls)


def _source(text: str, agent: Agent) -> tuple[Source, Any]:
    """The module with its calls, and LibCST's wrapper, which visits it."""
    cst, metadata = libcst()
    wrapper = read_module(text, agent.name)
    by_span = {call.span: call for call in agent.calls}
    calls = {}
    for node, place in wrapper.resolve(metadata.PositionProvider).items():
        span = Span(agent.name, place.start.line, place.start.column + 1, place.end.line, place.end.column + 1)
        if isinstance(node, cst.Call) and span in by_span:
            calls[node] = by_span[span]
    module = wrapper.module
    changing, shadowed = changing_names(cst, module), shadowed_names(cst, module)
    return Source(
        cst, module, calls, frozenset(changing), frozenset(shadowed), frozenset(constants(cst, module))
    ), wrapper


def _same_calls(before: Sequence[Call], after: Sequence[Call], gone: Sequence[str] = ()) -> bool:
    """Whether the same calls are made with the same prompts and dependences, in the same order."""
    return [_facts(call, gone) for call in before] == [_facts(call, ()) for call in after]


def _facts(call: Call, gone: Sequence[str]) -> object:
    given = (call.kind, call.api, call.callee, call.model, call.max_tokens, call.temperature, call.settings)
    ids = [renumbered(name, gone) for name in (call.id, *call.depends_on)]
    return given, ids, [[_facts_of(part, gone) for part in message] for message in plain(call)], call.loop_depth


def _facts_of(part: object, gone: Sequence[str]) -> object:
    if isinstance(part, tuple):
        return tuple(_facts_of(each, gone) for each in part)
    return renumbered(part, gone) if isinstance(part, str) else part
