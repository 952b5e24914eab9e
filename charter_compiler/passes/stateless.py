"""Calls that are known to keep nothing from one to the next: only these may change places, be merged or be left out.

A short list, since one that is missing here costs time, and one that is here wrongly costs an answer: the second
message of a chat session is another request than its text says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from charter_compiler.ir.nodes import Call
from charter_compiler.parser.sdk.injected import is_client_name

_METHODS: Mapping[str, frozenset[str]] = {
    "injected": frozenset({"generate", "agenerate", "complete", "acomplete", "chat", "achat"}),
    "openai.chat.completions": frozenset({"create"}),
    "openai.completions": frozenset({"create"}),
    "openai.responses": frozenset({"create"}),
    "anthropic.messages": frozenset({"create"}),
    "litellm.completion": frozenset({"completion", "acompletion"}),
}
"""By the API's name in the IR: the methods that send what they are given and nothing else."""
_OBJECTS = ("client", "model")
"""Names of injected clients, besides those that say "language model"; an ``agent`` or ``chat`` keeps a conversation."""
_ANSWER = """
model max_tokens max_completion_tokens max_output_tokens max_new_tokens temperature top_p top_k min_p n stop
stop_sequences seed system instructions response_format text presence_penalty frequency_penalty repetition_penalty
logit_bias logprobs top_logprobs reasoning reasoning_effort verbosity stream timeout user
tools tool_choice functions function_call
"""
_SETTINGS = frozenset(_ANSWER.split())
"""Arguments that say how to answer. Any other may be a conversation, a store or a callback."""

KEEPS = "its client may keep a conversation or a state"


def kept_state(calls: Iterable[Call]) -> dict[str, str]:
    """Why a call may depend on the calls before it, or later ones on it, though its prompt does not say so; by its id.
    Those that are known not to are not listed."""
    calls = tuple(calls)
    inside: dict[str, list[Call]] = {}
    for call in calls:
        inside.setdefault(call.function.rpartition(".")[2], []).append(call)
    found = {call.id: reason for call in calls if call.kind == "root" and (reason := _of_root(call))}
    free = {call.id for call in calls if call.kind == "root" and call.id not in found}
    grown = True
    while grown:  # a wrapper is known to keep nothing once all that it calls is
        more = {
            call.id
            for call in calls
            if call.id not in free and call.kind == "wrapper" and (led := inside.get(call.callee.rpartition(".")[2]))
            if all(each.id in free for each in led)
        }
        grown = bool(more)
        free |= more
    return {call.id: found.get(call.id, KEEPS) for call in calls if call.id not in free}


def _of_root(call: Call) -> str:
    owner, _, method = call.callee.rpartition(".")
    if method not in _METHODS.get(call.api, ()):
        return KEEPS
    name = owner.rpartition(".")[2]
    if call.api == "injected" and not is_client_name(name) and name.lstrip("_") not in _OBJECTS:
        return KEEPS
    for setting in call.settings:
        name, named, _ = setting.partition("=")
        if not named or name not in _SETTINGS:
            return f"{name if named else 'an argument'} may keep a conversation or call other code"
    return ""
