"""Which calls ask a model: a callee and its arguments, held against the signatures of the SDKs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from charter_compiler.diagnostics.span import Span
from charter_compiler.ir.nodes import Const
from charter_compiler.parser import sdk
from charter_compiler.parser.carriers import CHAIN, is_model_chain
from charter_compiler.parser.messages import looks_like_prompt
from charter_compiler.parser.sdk import injected
from charter_compiler.parser.sdk.signature import Signature, Slot
from charter_compiler.parser.strings import Arguments
from charter_compiler.parser.values import Chain, Either, External, Input, Record, Series, Text, Value


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
