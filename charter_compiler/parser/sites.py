"""Call sites: recognising a model call, and turning what was found into ``ir.Call``."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from charter_compiler.diagnostics.span import Span
from charter_compiler.ir.nodes import Call, CallRef, Choice, Const, Message, Param, Repeat, Segment, Unknown, walk
from charter_compiler.parser import sdk
from charter_compiler.parser.carriers import CHAIN, carried, chain_messages, is_model_chain
from charter_compiler.parser.effects import effects_of
from charter_compiler.parser.messages import ROLES, content_of, is_cached, looks_like_prompt, messages_of
from charter_compiler.parser.sdk import injected
from charter_compiler.parser.sdk.signature import Signature, Slot
from charter_compiler.parser.strings import Arguments, constant_text
from charter_compiler.parser.values import (
    FLOW,
    Chain,
    Either,
    External,
    Input,
    Item,
    Opaque,
    Plain,
    Record,
    Series,
    Text,
    Value,
    deps_of,
    results_of,
)


@dataclass(frozen=True, slots=True)
class Site:
    """A model call as the interpreter found it. ``key`` stands for its id until all calls are known.

    ``flows`` maps the parameters whose content reaches the prompt (``Input.origin``) to the role that it reaches.
    """

    key: str
    span: Span
    function: str
    kind: str
    api: str
    texts: tuple[str, ...]
    callee: str
    messages: tuple[Message, ...]
    parameters: frozenset[str]
    deps: frozenset[str]
    flows: Mapping[str, str]
    model: str | None
    max_tokens: int | None
    temperature: float | None
    loops: tuple[Span, ...]
    arms: tuple[Span, ...] = ()
    awaited: bool = False
    used: bool = True
    effects: tuple[str, ...] = ()
    again: bool = False
    settings: tuple[str, ...] = ()


def key_of(span: Span) -> str:
    """A name for a call that no id can be."""
    return f"\0{span.file}\0{span.line}:{span.column}-{span.end_line}:{span.end_column}"


def signature_of(callee: Value, arguments: Arguments) -> Signature | None:
    """The signature of a model call; ``None`` if the call is not known to be one."""
    match callee:
        case Either(options=options):
            return next((found for option in options if (found := signature_of(option, arguments))), None)
        case External(path=path):
            chain = callee.argument("chain")
            if isinstance(chain, Chain) and path.startswith(CHAIN) and not is_model_chain(chain):
                return None
            for signature in sdk.signature(path):
                if (
                    _holds(signature.where, arguments)
                    and _holds(signature.made, _given(callee))
                    and _has_body(signature, arguments)
                ):
                    return signature
            return None
        case Input(root=root, path=path):
            if (known := sdk.by_tail(path)) is not None and prompt_of(known, arguments)[0] is not None:
                return known
            value = prompt_of(injected.SIGNATURE, arguments)[0]
            if value is not None and injected.is_model_call(root, path, looks_like_prompt(value)):
                return injected.SIGNATURE
    return None


def _given(callee: External) -> Arguments:
    """The arguments that the object was made with."""
    found = Arguments()
    for slot, value in callee.given:
        if isinstance(slot, str):
            found.keywords.setdefault(slot, value)
        elif slot == len(found.positional):
            found.positional.append(value)
    return found


def _holds(conditions: Iterable[tuple[Slot, str]], arguments: Arguments) -> bool:
    """Whether the arguments are those that tell this call from others of the same function."""
    for slot, pattern in conditions:
        value = argument_of(arguments, slot)
        texts = [""] if value is None else [*_constants(value)] or [""]
        if not any(re.search(pattern, text) for text in texts):
            return False
    return True


def _has_body(signature: Signature, arguments: Arguments) -> bool:
    """Whether the prompt argument is a dictionary with a key of each group."""
    if not signature.body:
        return True
    value = next((each for slot in signature.prompt if (each := argument_of(arguments, slot)) is not None), None)
    options = value.options if isinstance(value, Either) else (value,)
    return any(
        isinstance(option, Record) and all(any(option.get(key) is not None for key in keys) for keys in signature.body)
        for option in options
    )


def _constants(value: Value) -> Iterator[str]:
    """What is constant in a text, each possible one."""
    match value:
        case Text(segments=segments):
            yield "".join(segment.text if isinstance(segment, Const) else "\0" for segment in segments)
        case Either(options=options):
            for option in options:
                yield from _constants(option)


def argument_of(arguments: Arguments, slot: Slot) -> Value | None:
    """The argument of that keyword or position."""
    if isinstance(slot, str):
        return arguments.keywords.get(slot)
    return arguments.positional[slot] if slot < len(arguments.positional) else None


def prompt_of(signature: Signature, arguments: Arguments) -> tuple[Value | None, Span | None]:
    """The argument that decides the prompt, and its place."""
    for slot in signature.prompt:
        value = argument_of(arguments, slot)
        if value is not None:
            return _inside(value, signature.within), arguments.spans.get(slot)
    rest = arguments.rest
    if isinstance(rest, Record):
        found = next((each for slot in signature.prompt if isinstance(slot, str) and (each := rest.get(slot))), None)
        rest = found if found is not None else rest.rest or rest
    return rest, arguments.rest_span


def _inside(value: Value, keys: tuple[str, ...]) -> Value:
    """The parts of a dictionary that hold the prompt; the value itself where it has none of them."""
    if isinstance(value, Either) and keys:
        return Either(tuple(_inside(option, keys) for option in value.options))
    if not isinstance(value, Record) or not keys:
        return value
    found = [each for key in keys if (each := value.get(key)) is not None]
    if not found:
        return value
    return found[0] if len(found) == 1 else Series(tuple(found))


def root_site(
    node: ast.Call, callee: Value, signature: Signature, arguments: Arguments, span: Span, **place: object
) -> Site:
    """A call of a model library or of an injected client."""
    value, where = prompt_of(signature, arguments)
    listed = signature.form == "messages" or (value is not None and value is arguments.keywords.get("messages"))
    sources: list[Value | None] = [value]
    messages: tuple[Message, ...] = ()
    chain = callee.argument("chain") if isinstance(callee, External) else None
    if isinstance(chain, Chain):
        messages, more = chain_messages(chain, value, where or span)
        sources.extend(more)
    elif signature.form == "fields":
        for name, field in arguments.keywords.items():
            if name in signature.options:
                continue
            messages += _as_user(messages_of(field, arguments.spans[name], listed=False))
            sources.append(field)
        for index, field in enumerate(arguments.positional):
            messages += _as_user(messages_of(field, arguments.spans[index], listed=False))
            sources.append(field)
        if arguments.rest is not None:
            messages += _as_user(messages_of(arguments.rest, arguments.rest_span or span, listed=False))
            sources.append(arguments.rest)
    elif value is not None:
        messages = messages_of(value, where or span, listed=listed)
    before: tuple[Message, ...] = ()
    for source in (callee, *(argument_of(arguments, slot) for slot in signature.also)):
        if source is not None and chain is None:
            before += carried(source, span)
            if source is not callee or before:
                sources.append(source)
    system = argument_of(arguments, signature.system) if signature.system is not None else None
    if system is not None and system != Plain(None):
        segments = content_of(system, arguments.spans.get(signature.system or 0, span)).segments
        before += (Message("system", segments, is_cached(system)),) if segments else ()
        sources.append(system)
    before = tuple(dict.fromkeys(before))  # a crew holds its agents, and so does each task
    if before or (signature.form == "either" and signature is not injected.SIGNATURE):
        messages = _as_user(messages)
    messages = before + messages
    if not messages:
        messages = messages_of(Opaque("the call is given no prompt"), span, listed=listed)
    max_tokens, temperature = _number(arguments, signature.max_tokens), _number(arguments, ("temperature",))
    return Site(
        key=key_of(span),
        span=span,
        kind="root",
        api=signature.api,
        texts=signature.texts,
        callee=ast.unparse(node.func),
        messages=messages,
        deps=results_of(*sources),
        flows=_flows([("system", system), *((None, each) for each in sources if each is not system)], messages),
        model=_model(callee, arguments),
        effects=_tool_effects(callee, arguments),
        settings=_settings(node, signature),
        max_tokens=max_tokens if isinstance(max_tokens, int) else None,
        temperature=None if temperature is None else float(temperature),
        **place,  # type: ignore[arg-type]
    )


def _settings(node: ast.Call, signature: Signature) -> tuple[str, ...]:
    """The arguments as written that neither hold the prompt nor are fields of their own. Where the prompt is a part of
    an argument (``json={...}``), the rest of that may be a setting: it is one as a whole."""
    prompt = () if signature.within else signature.prompt
    system = () if signature.system is None else (signature.system,)
    known = {*prompt, *signature.also, *system, *signature.max_tokens, "model", "temperature"}
    given = [ast.unparse(value) for index, value in enumerate(node.args) if index not in known]
    named = [word for word in node.keywords if word.arg not in known]
    if signature.form == "fields":
        given, named = [], [word for word in named if word.arg in signature.options]
    return tuple(sorted((*given, *(f"{word.arg or '**'}={ast.unparse(word.value)}" for word in named))))


def wrapper_site(
    node: ast.Call, prompts: list[tuple[str, Value, Span]], arguments: Arguments, span: Span, **place: object
) -> Site:
    """A call of a function of the project; ``prompts`` are (role in the callee, value, place) of what it carries."""
    messages: tuple[Message, ...] = ()
    for role, value, where in prompts:
        found = messages_of(value, where, listed=role == "unknown")
        if role in ("system", "user", "assistant", "tool"):
            found = tuple(Message(role, each.segments) if each.role == "raw" else each for each in found)  # type: ignore[arg-type]
        messages += found
    if len(messages) > 1:
        messages = _as_user(messages)
    max_tokens = _number(arguments, injected.SIGNATURE.max_tokens)
    temperature = _number(arguments, ("temperature",))
    values = [value for _, value, _ in prompts]
    return Site(
        key=key_of(span),
        span=span,
        kind="wrapper",
        api="project",
        texts=("",),
        callee=ast.unparse(node.func),
        messages=messages,
        deps=results_of(*values),
        flows=_flows([(role, value) for role, value, _ in prompts], messages),
        model=_model(None, arguments),
        max_tokens=max_tokens if isinstance(max_tokens, int) else None,
        temperature=None if temperature is None else float(temperature),
        **place,  # type: ignore[arg-type]
    )


def _as_user(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """What is a text of its own becomes a message of the user where it is sent beside others."""
    return tuple(replace(message, role="user") if message.role == "raw" else message for message in messages)


def _flows(sources: Iterable[tuple[str | None, Value | None]], messages: tuple[Message, ...]) -> dict[str, str]:
    """The role in which the content of each parameter reaches the model; unknown where it does in several, or where it
    is a list of messages itself."""
    found: dict[str, str] = {}
    for role, source in sources:
        for each, value in _with_roles(role or _only_role(messages), source):
            for dep in deps_of(value):
                if dep.startswith(FLOW):
                    found[dep] = each if found.get(dep, each) == each else "unknown"
    return dict(sorted(found.items()))


def flows_with_roles(value: Value) -> Iterator[tuple[str, str | None]]:
    """The parameters whose content a value holds, each with the role of the message that it stands in where the value
    is a list of messages."""
    for role, part in _with_roles("", value):
        for dep in deps_of(part):
            if dep.startswith(FLOW):
                yield dep, role or None


def _only_role(messages: tuple[Message, ...]) -> str:
    roles = {message.role for message in messages}
    return roles.pop() if len(roles) == 1 else "unknown" if "unknown" in roles else "user"


def _with_roles(role: str, value: Value | None) -> Iterator[tuple[str, Item | None]]:
    """The parts of a list of messages with the roles that they have there; any other value with ``role``."""
    if not isinstance(value, Series):
        yield role, value
        return
    for item in value.items:
        name = item.get("role") if isinstance(item, Record) else None
        yield ROLES.get(constant_text(name) or "", role) if name is not None else role, item


def _tool_effects(callee: Value, arguments: Arguments) -> tuple[str, ...]:
    tools = [arguments.keywords.get("tools"), arguments.keywords.get("functions")]
    values = (callee, *arguments.positional, *arguments.keywords.values())
    tools.extend(value.argument("tools", "functions") for value in values if isinstance(value, External))
    found = dict.fromkeys(effect for each in tools for effect in effects_of(each))
    return tuple(found)


def _model(callee: Value | None, arguments: Arguments) -> str | None:
    given = arguments.keywords.get("model")
    if given is None and isinstance(callee, External):
        given = callee.argument("model", "model_name")
    return constant_text(given) if given is not None else None


def _number(arguments: Arguments, keywords: Iterable[str]) -> int | float | None:
    """The first of these keywords that is given, where it is a constant number."""
    given = next((arguments.keywords[keyword] for keyword in keywords if keyword in arguments.keywords), None)
    if isinstance(given, Plain) and isinstance(given.value, int | float) and not isinstance(given.value, bool):
        return given.value
    return None


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
