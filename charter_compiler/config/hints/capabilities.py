"""Which hints a target takes: by what it announces, else by its version."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from charter_compiler.config.hints.envelope import PREFIX, action_type
from charter_compiler.config.target import EngineName
from charter_compiler.plan.hints import HintAction


class HintKind(StrEnum):
    """An action on blocks, or what is said of the request as a whole."""

    RETAIN = "retain"
    PIN = "pin"
    DEMOTE = "demote"
    PREFETCH = "prefetch"
    RELEASE = "release"
    EXPECTED_OUTPUT = "expected output length"
    SESSION = "session"
    PRIORITY = "priority"


@dataclass(frozen=True, slots=True)
class Capability:
    """What a target does with one kind; ``carrier`` is how it is told, ``None`` if it cannot be. ``note`` says why not,
    or what is lost on the way."""

    kind: HintKind
    carrier: str | None
    note: str = ""


_TENSORS = "retention tensors of the inner model"
_NO_CHANNEL = "it has no field for it"
_BY_VERSION: dict[EngineName, dict[HintKind, tuple[str | None, str]]] = {
    EngineName.ENGINE: {
        HintKind.RETAIN: (_TENSORS, ""),
        HintKind.PIN: (_TENSORS, "as the highest priority: it may still be evicted"),
        HintKind.DEMOTE: (_TENSORS, "as the lowest priority that goes to host memory"),
        HintKind.RELEASE: (_TENSORS, "as priority 0"),
        HintKind.PREFETCH: (None, "blocks come back from host memory when a request finds them, not before"),
        HintKind.EXPECTED_OUTPUT: (None, "request_output_len is a limit, which the agent sets itself"),
        HintKind.SESSION: (None, _NO_CHANNEL),
        HintKind.PRIORITY: (None, "the Triton model has no input for it"),
    },
    EngineName.LLMAPI: {
        HintKind.PRIORITY: ("priority of trtllm-serve", "Triton's model has no input for it"),
        HintKind.SESSION: ("conversation_params of trtllm-serve", "Triton's model has no input for it"),
    },
    EngineName.VLLM: {
        HintKind.PRIORITY: ("priority", "lower is earlier"),
        HintKind.SESSION: ("session_id", ""),
    },
    EngineName.SGLANG: {HintKind.PRIORITY: ("priority", "one for the whole request")},
    EngineName.LLAMACPP: {HintKind.SESSION: ("id_slot", "a request is sent to the slot of its session")},
    EngineName.HOSTED: {
        HintKind.PIN: ("cache_control with ttl 1h, Gemini cached content", "OpenAI: only by prompt_cache_key"),
        HintKind.RETAIN: ("cache_control", "OpenAI: only by prompt_cache_key"),
        HintKind.SESSION: ("prompt_cache_key", "Anthropic and Gemini have none"),
    },
}
_WHY_NOT = {
    EngineName.LLMAPI: "neither trtllm-serve nor Triton's model takes retention; the KV hint envelope is a proposal",
    EngineName.VLLM: "0.32 carries the KV hint envelope, and its default block pool does not read it",
    EngineName.SGLANG: "the KV hint envelope is a proposal there",
    EngineName.LLAMACPP: _NO_CHANNEL,
    EngineName.HOSTED: "the provider decides",
}


def capabilities(engine: EngineName, announced: Iterable[str] = ()) -> tuple[Capability, ...]:
    """What the target takes, one entry a kind.

    Args:
        announced: action types of the KV hint envelope that the engine says it executes, outside of any request:
            ``charter.retain`` or plainly ``retain``.
    """
    by_version = _BY_VERSION[engine]
    said = {name.removeprefix(PREFIX) for name in announced}
    found = []
    for kind in HintKind:
        carrier, note = by_version.get(kind, (None, _WHY_NOT.get(engine, _NO_CHANNEL)))
        name = "expect" if kind is HintKind.EXPECTED_OUTPUT else str(kind)
        if carrier is None and name in said:
            carrier, note = "KV hint envelope", "announced by the target"
        found.append(Capability(kind, carrier, note))
    return tuple(found)


def taken_actions(engine: EngineName, announced: Iterable[str] = ()) -> tuple[HintAction, ...]:
    """The actions on blocks among them."""
    taken = {one.kind for one in capabilities(engine, announced) if one.carrier is not None}
    return tuple(action for action in HintAction if HintKind(action.value) in taken)


def accepted_types(announced: Iterable[str]) -> tuple[str, ...]:
    """The envelope's action types that may be sent to a target that announces these."""
    said = {name.removeprefix(PREFIX) for name in announced}
    known = (*(action_type(action) for action in HintAction), f"{PREFIX}expect")
    return tuple(name for name in known if name.removeprefix(PREFIX) in said)
