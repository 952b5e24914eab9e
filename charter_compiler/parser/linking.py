"""From the sites of a project to its calls: ids in source order, and which results flow into which prompt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from charter_compiler.diagnostics.span import Span
from charter_compiler.ir.nodes import Call, CallRef, Choice, Const, Message, Param, Repeat, Segment, Unknown, walk
from charter_compiler.parser.sites import Site
from charter_compiler.parser.values import FLOW


def calls_of(
    sites: Iterable[Site],
    arriving: Mapping[str, frozenset[str]] | None = None,
    returning: Mapping[str, frozenset[str]] | None = None,
) -> tuple[Call, ...]:
    """The calls in the order of files and source, with their ids and dependences. ``arriving`` is what flows into
    parameters, ``returning`` which results a call of a wrapper returns."""
    ordered = sorted(
        sites,
        key=lambda site: (site.span.file, site.span.line, site.span.column, site.span.end_line, site.span.end_column),
    )
    count: Counter[tuple[str, str]] = Counter()
    ids: dict[str, str] = {}
    for site in ordered:
        count[site.span.file, site.function] += 1
        ids[site.key] = f"{site.span.file}:{site.function}#{count[site.span.file, site.function]}"
    order = {call_id: index for index, call_id in enumerate(ids.values())}
    by_key = {site.key: site for site in ordered}
    calls = []
    for site in ordered:
        left_out = _impossible(site, by_key)
        known = {key: call_id for key, call_id in ids.items() if key not in left_out} if left_out else ids
        call = _call(site, ids[site.key], known, order)
        through = {ids[key] for key in _through(site.flows, arriving or {}) if key in ids} - {*call.depends_on}
        inner = {ids[key] for key in (returning or {}).get(site.key, ()) if key in ids} - {call.id}
        arrives = tuple(sorted(through, key=order.__getitem__))
        calls.append(replace(call, arrives=arrives, returns=tuple(sorted(inner, key=order.__getitem__))))
    return tuple(calls)


def _through(flows: Iterable[str], arriving: Mapping[str, frozenset[str]]) -> set[str]:
    """The results that callers give for parameters, through any number of functions."""
    found: set[str] = set()
    waiting = list(flows)
    while waiting:
        for dep in arriving.get(waiting.pop(), ()):
            if dep not in found:
                found.add(dep)
                waiting.append(dep)
    return {dep for dep in found if not dep.startswith(FLOW)}


def _impossible(site: Site, sites: Mapping[str, Site]) -> set[str]:
    """Results in the prompt that are there only because the function runs more than once: kept in an object, they are
    those of an earlier run. Within one run of a function the text of a later call cannot have arrived yet."""
    place = (site.span.line, site.span.column)
    return {
        key
        for key in _referred(site)
        if (other := sites.get(key)) is not None
        and not site.loops
        and not site.again
        and (other.span.file, other.function) == (site.span.file, site.function)
        and (other is site or ((other.span.line, other.span.column) >= place and not _within(other.span, site.span)))
    }


def _referred(site: Site) -> set[str]:
    segments = (segment for message in site.messages for segment in walk(message.segments))
    return set(site.deps) | {segment.id for segment in segments if isinstance(segment, CallRef)}


def _within(inner: Span, outer: Span) -> bool:
    return (outer.line, outer.column) <= (inner.line, inner.column) and (inner.end_line, inner.end_column) <= (
        outer.end_line,
        outer.end_column,
    )


def _call(site: Site, call_id: str, ids: Mapping[str, str], order: Mapping[str, int]) -> Call:
    messages = tuple(replace(message, segments=tuple(_named(message.segments, ids))) for message in site.messages)
    flowing = {ids[key] for key in site.deps if key in ids} | {
        segment.id for message in messages for segment in walk(message.segments) if isinstance(segment, CallRef)
    }
    return Call(
        id=call_id,
        span=site.span,
        function=site.function,
        kind="root" if site.kind == "root" else "wrapper",
        api=site.api,
        callee=site.callee,
        messages=messages,
        forward=_forwards(messages, site.parameters),
        model=site.model,
        max_tokens=site.max_tokens,
        temperature=site.temperature,
        loop_depth=len(site.loops),
        depends_on=tuple(sorted(flowing, key=order.__getitem__)),
        loops=site.loops,
        arms=site.arms,
        awaited=site.awaited,
        used=site.used,
        effects=site.effects,
        again=site.again,
        settings=site.settings,
    )


def _named(segments: Iterable[Segment], ids: Mapping[str, str]) -> Iterator[Segment]:
    """The segments with the calls' ids in place of their keys."""
    for segment in segments:
        match segment:
            case CallRef(id=key, span=span):
                if key in ids:
                    yield replace(segment, id=ids[key])
                else:
                    yield Unknown("the result of a call that is not listed", span)
            case Choice(options=options):
                yield replace(segment, options=tuple(tuple(_named(option, ids)) for option in options))
            case Repeat(segments=inner):
                yield replace(segment, segments=tuple(_named(inner, ids)))
            case _:
                yield segment


def _forwards(messages: tuple[Message, ...], parameters: frozenset[str]) -> bool:
    """Whether the whole prompt is parameters of the enclosing function, handed on as they are."""
    segments = [segment for message in messages for segment in message.segments]
    return bool(segments) and all(_is_parameter(segment, parameters) for segment in segments)


def _is_parameter(segment: Segment, parameters: frozenset[str]) -> bool:
    match segment:
        case Param(name=name, scope=scope):
            return name in parameters and scope != "loop"
        case Choice(options=((Param() as one,), *others)):
            # A parameter with a default.
            return _is_parameter(one, parameters) and all(isinstance(part, Const) for each in others for part in each)
    return False
