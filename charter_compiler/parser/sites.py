"""Call sites: recognising a model call, and turning what was found into ``ir.Call``."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from charter_compiler.diagnostics.span import Span
from charter_compiler.ir.nodes import Call, CallRef, Choice, Message, Param, Repeat, Segment, walk
from charter_compiler.parser import sdk
from charter_compiler.parser.messages import content_of, looks_like_prompt, messages_of
from charter_compiler.parser.sdk import injected
from charter_compiler.parser.sdk.signature import Signature
from charter_compiler.parser.strings import Arguments, constant_text
from charter_compiler.parser.values import Either, External, Input, Opaque, Plain, Value, deps_of


@dataclass(frozen=True, slots=True)
class Site:
    """A model call as the interpreter found it. ``key`` stands for its id until all calls of the file are known."""

    key: str
    span: Span
    function: str
    signature: Signature
    callee: str
    messages: tuple[Message, ...]
    parameters: frozenset[str]
    deps: frozenset[str]
    model: str | None
    max_tokens: int | None
    temperature: float | None
    loops: tuple[Span, ...]


def key_of(span: Span) -> str:
    """A name for a call that no id can be."""
    return f"\0{span.line}:{span.column}-{span.end_line}:{span.end_column}"


def signature_of(callee: Value, arguments: Arguments) -> Signature | None:
    """The signature of a model call; ``None`` if the call is not known to be one."""
    match callee:
        case Either(options=options):
            return next((found for option in options if (found := signature_of(option, arguments))), None)
        case External(path=path):
            return sdk.BY_CALLEE.get(path)
        case Input(root=root, path=path):
            for tail, signature in sdk.BY_TAIL.items():
                if path.endswith(tail):
                    return signature
            value = _prompt(injected.SIGNATURE, arguments)[0]
            if value is not None and injected.is_model_call(root, path, looks_like_prompt(value)):
                return injected.SIGNATURE
    return None


def site_of(
    node: ast.Call,
    signature: Signature,
    arguments: Arguments,
    span: Span,
    *,
    function: str,
    parameters: frozenset[str],
    loops: Iterable[Span],
) -> Site:
    """What is known of the call ``node``."""
    value, place = _prompt(signature, arguments)
    listed = signature.form == "messages" or value is arguments.keywords.get("messages")
    if value is None:
        value, place = Opaque(f"no argument {' or '.join(signature.prompt)} is given"), span
    messages = messages_of(value, place or span, listed=listed)
    system = arguments.keywords.get(signature.system) if signature.system else None
    if system is not None and system != Plain(None):
        segments = content_of(system, arguments.spans[signature.system or ""]).segments
        rest = (Message("user", message.segments) if message.role == "raw" else message for message in messages)
        messages = (Message("system", segments), *rest) if segments else messages
    elif signature.form == "either" and signature is not injected.SIGNATURE:
        messages = tuple(Message("user", m.segments) if m.role == "raw" else m for m in messages)
    max_tokens, temperature = _number(arguments, signature.max_tokens), _number(arguments, ("temperature",))
    return Site(
        key=key_of(span),
        span=span,
        function=function,
        signature=signature,
        callee=ast.unparse(node.func),
        messages=messages,
        parameters=parameters,
        deps=deps_of(value, system),
        model=constant_text(arguments.keywords.get("model", Plain(None))),
        max_tokens=max_tokens if isinstance(max_tokens, int) else None,
        temperature=None if temperature is None else float(temperature),
        loops=tuple(loops),
    )


def _prompt(signature: Signature, arguments: Arguments) -> tuple[Value | None, Span | None]:
    """The argument that decides the prompt, and its place."""
    for keyword in signature.prompt:
        if keyword in arguments.keywords:
            return arguments.keywords[keyword], arguments.spans[keyword]
    if signature.position is not None and signature.position < len(arguments.positional):
        return arguments.positional[signature.position], arguments.spans[signature.position]
    return arguments.rest, arguments.rest_span


def _number(arguments: Arguments, keywords: Iterable[str]) -> int | float | None:
    """The first of these keywords that is given, where it is a constant number."""
    given = next((arguments.keywords[keyword] for keyword in keywords if keyword in arguments.keywords), None)
    if isinstance(given, Plain) and isinstance(given.value, int | float) and not isinstance(given.value, bool):
        return given.value
    return None


def calls_of(sites: Iterable[Site], file: str) -> tuple[Call, ...]:
    """The calls of one file in source order, with their ids and dependences."""
    ordered = sorted(
        sites, key=lambda site: (site.span.line, site.span.column, site.span.end_line, site.span.end_column)
    )
    count: Counter[str] = Counter()
    ids: dict[str, str] = {}
    for site in ordered:
        count[site.function] += 1
        ids[site.key] = f"{file}:{site.function}#{count[site.function]}"
    return tuple(_call(site, ids) for site in ordered)


def _call(site: Site, ids: dict[str, str]) -> Call:
    messages = tuple(Message(message.role, tuple(_named(message.segments, ids))) for message in site.messages)
    flowing = {ids[key] for key in site.deps} | {
        segment.id for message in messages for segment in walk(message.segments) if isinstance(segment, CallRef)
    }
    return Call(
        id=ids[site.key],
        span=site.span,
        function=site.function,
        kind="root",
        api=site.signature.api,
        callee=site.callee,
        messages=messages,
        forward=_forwards(messages, site.parameters),
        model=site.model,
        max_tokens=site.max_tokens,
        temperature=site.temperature,
        loop_depth=len(site.loops),
        depends_on=tuple(call_id for call_id in ids.values() if call_id in flowing),
        loops=site.loops,
    )


def _named(segments: Iterable[Segment], ids: dict[str, str]) -> Iterator[Segment]:
    """The segments with the calls' ids in place of their keys."""
    for segment in segments:
        match segment:
            case CallRef():
                yield replace(segment, id=ids[segment.id])
            case Choice(options=options):
                yield replace(segment, options=tuple(tuple(_named(option, ids)) for option in options))
            case Repeat(segments=inner):
                yield replace(segment, segments=tuple(_named(inner, ids)))
            case _:
                yield segment


def _forwards(messages: tuple[Message, ...], parameters: frozenset[str]) -> bool:
    """Whether the whole prompt is one parameter of the enclosing function."""
    match [segment for message in messages for segment in message.segments]:
        case [Param(name=name, scope=scope)]:
            return name in parameters and scope != "loop"
    return False
