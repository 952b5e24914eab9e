"""The KV hint envelope, version 0.1 (vLLM pull request 53423; proposals for SGLang and TensorRT-LLM; sent by Dynamo).

The envelope is standard, its actions are not yet: Charter sends actions of its own, ``charter.retain`` and so on, with
a version each. A receiver ignores actions that it does not know. Only a trusted orchestrator may send an envelope, and
never among the sampling parameters.
"""

from __future__ import annotations

import uuid
from collections.abc import Container, Sequence
from typing import Any

from charter_compiler.plan.hint_ranges import HintRange, PromptHints
from charter_compiler.plan.hints import HintAction

PROTOCOL_VERSION = "0.1"
ACTION_VERSION = "1.0"
PREFIX = "charter."
PIN_LEASE_MS = 600_000
"""A pin is a bounded lease; each call that begins with the prefix renews it."""
_NAMESPACE = uuid.UUID("6f7a4a5e-6d0c-5c1e-9a9a-7f0d8f1c3b52")


def action_type(action: HintAction) -> str:
    """As it stands in an envelope."""
    return f"{PREFIX}{action}"


ACTION_TYPES = (*(action_type(action) for action in HintAction), f"{PREFIX}expect")
"""``charter.expect`` is a signal: how long the answer will be, and what comes after it."""


def envelope(
    hints: PromptHints,
    session: str,
    *,
    blocks: tuple[int, Sequence[str]] | None = None,
    accepted: Container[str] = ACTION_TYPES,
) -> dict[str, Any] | None:
    """The envelope of one request; ``None`` if the receiver accepts none of its actions. The same request of the same
    session gets the same ids.

    Args:
        session: the id that the request carries, too; ranges are half-open ranges of the session's prompt tokens.
        blocks: tokens of a block and the hashes of the prompt's full blocks, in order, where the receiver names blocks
            by hash.
        accepted: action types that the receiver announces.
    """
    step = hints.hints.step
    message = uuid.uuid5(_NAMESPACE, f"{session}/{step}/{hints.prompt_tokens}")
    found = [*_ranges(hints, session, blocks), *_prefetches(hints, session), _expect(hints, session)]
    actions = [
        {"action_id": f"{message}/{number}", "action_type": kind, "action_version": ACTION_VERSION, "payload": payload}
        for number, (kind, payload) in enumerate(found)
        if kind in accepted
    ]
    if not actions:
        return None
    return {"protocol_version": PROTOCOL_VERSION, "message_id": str(message), "actions": actions}


def _ranges(
    hints: PromptHints, session: str, blocks: tuple[int, Sequence[str]] | None
) -> list[tuple[str, dict[str, Any]]]:
    return [(action_type(part.action), _payload(part, session, blocks)) for part in hints.ranges]


def _payload(part: HintRange, session: str, blocks: tuple[int, Sequence[str]] | None) -> dict[str, Any]:
    target: dict[str, Any] = {"session_id": session, "token_range": [part.start, part.end]}
    if blocks is not None:
        size, hashes = blocks
        target["block_hashes"] = list(hashes[-(-part.start // size) : part.end // size])
    payload: dict[str, Any] = {"target": target}
    if part.future is not None and not part.future.parameters:
        target["prefix_id"] = str(part.future.cache_id)  # by which a later prefetch names it
    if part.action is not HintAction.RELEASE:
        payload["priority"] = part.priority
    if part.action is HintAction.PIN:
        payload["lease_ms"] = PIN_LEASE_MS
    future = part.future
    if future is not None:
        payload["future"] = {
            "remaining_calls": future.remaining_calls,
            "steps_to_next": future.steps_to_next,
            "output_tokens_before": future.output_tokens,
            "after_tools": list(future.after_tools),
            "other_sessions": future.other_items,
        }
    return payload


def _prefetches(hints: PromptHints, session: str) -> list[tuple[str, dict[str, Any]]]:
    """Prefixes of the next call, named by content: the receiver knows them from an earlier session."""
    return [
        (action_type(HintAction.PREFETCH), {"target": {"session_id": session, "prefix_id": str(cache_id)}})
        for cache_id in hints.hints.prefetch
    ]


def _expect(hints: PromptHints, session: str) -> tuple[str, dict[str, Any]]:
    own = hints.hints
    return f"{PREFIX}expect", {
        "target": {"session_id": session},
        "output_tokens": own.expected_output_tokens,
        "step": own.step,
        "steps": own.steps,
        "output_reused": own.output_reused,
    }
