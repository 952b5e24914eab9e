"""What travels with an OpenAI-compatible request: Dynamo's ``nvext`` and headers, vLLM's, SGLang's and
``trtllm-serve``'s own fields.

Dynamo: https://docs.nvidia.com/dynamo/v1.6.0/agents/agent-hints; a higher priority is earlier. vLLM: a lower one is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from charter_compiler.plan.hints import CallHints, HintAction

SESSION_HEADER = "X-Dynamo-Session-ID"


@dataclass(frozen=True, slots=True)
class RequestFields:
    """Fields to add to a request's JSON body, and headers."""

    body: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


def dynamo_fields(hints: CallHints, session: str) -> RequestFields:
    """For Dynamo's frontend. ``speculative_prefill`` is asked for where the next prompt of the session begins with this
    one and its answer, which is what Dynamo prefills."""
    agent: dict[str, Any] = {"priority": hints.priority}
    if hints.expected_output_tokens is not None:
        agent["osl"] = hints.expected_output_tokens
    if hints.output_reused:
        agent["speculative_prefill"] = True
    return RequestFields({"nvext": {"agent_hints": agent}}, {SESSION_HEADER: session})


def vllm_fields(hints: CallHints, session: str) -> RequestFields:
    """For vLLM: a lower priority is earlier, so what is nearly done gets the lowest."""
    return RequestFields({"priority": hints.steps - 1 - hints.step, "session_id": session})


def sglang_fields(hints: CallHints, session: str) -> RequestFields:
    """For SGLang's own ``/generate`` and OpenAI endpoints: its priority is used by scheduler and eviction."""
    kept = max((hint.priority for hint in hints.hints if hint.action is not HintAction.RELEASE), default=0)
    return RequestFields({"priority": kept})


def trtllm_serve_fields(hints: CallHints, session: str) -> RequestFields:
    """For ``trtllm-serve``: scheduling alone."""
    return RequestFields({"priority": hints.step})
