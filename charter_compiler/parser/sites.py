"""Call sites: what a model call sends, as the interpreter found it."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from charter_compiler.diagnostics.span import Span
from charter_compiler.ir.nodes import Message
from charter_compiler.parser.carriers import carried, chain_messages
from charter_compiler.parser.effects import effects_of
from charter_compiler.parser.messages import ROLES, content_of, is_cached, messages_of
from charter_compiler.parser.recognition import argument_of, prompt_of
from charter_compiler.parser.sdk import injected
from charter_compiler.parser.sdk.signature import Signature
from charter_compiler.parser.strings import Arguments, constant_text
from charter_compiler.parser.values import (
    FLOW,
    Chain,
    External,
    Item,
    Opaque,
    Plain,
    Record,
    Series,
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
