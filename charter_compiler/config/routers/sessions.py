"""What to send with each request so that a router keeps an item's calls, and the items of a group, together."""

from __future__ import annotations

import json
from typing import Any

from charter_compiler.config.hints.openai_fields import SESSION_HEADER, dynamo_fields, trtllm_serve_fields, vllm_fields
from charter_compiler.plan.execution_plan import ExecutionPlan

GROUP, ITEM = "{group}", "{item}"
"""Stand for what is known at run time: a hash of the row's values of the fields, and the item's number."""


def sessions_json(header: str, plan: ExecutionPlan) -> str:
    """``sessions.json``: headers and fields of the body, by receiver and call site; what holds for all calls under
    ``every_call``."""
    session = f"charter-{GROUP if plan.group_by else ITEM}"
    receivers: dict[str, Any] = {
        "dynamo": {
            "every_call": {"headers": {SESSION_HEADER: session}},
            "calls": {one.call: {"body": dict(dynamo_fields(one, session).body)} for one in plan.hints},
            "router": "--router-mode kv --router-session-affinity-ttl-secs 600",
        },
        "trtllm-serve": {
            "every_call": {"body": {"conversation_params": {"conversation_id": session}}},
            "calls": {one.call: {"body": dict(trtllm_serve_fields(one, session).body)} for one in plan.hints},
        },
        "vllm": {
            "every_call": {"body": {"session_id": session}},
            "calls": {
                one.call: {"body": {"priority": vllm_fields(one, session).body["priority"]}} for one in plan.hints
            },
        },
        "openai": {"every_call": {"body": {"prompt_cache_key": session}}},
        "sglang-router": {"every_call": {}, "note": "policy cache_aware reads the prompts themselves"},
        "ray-serve-llm": {"every_call": {}, "note": "PrefixCacheAffinityRouter reads the prompts themselves"},
    }
    value = {
        "about": header,
        "group_by": list(plan.group_by),
        "group": "16 hexadecimal digits of BLAKE2b (8 bytes) over the JSON of each field's value, joined by '-': "
        "charter_compiler.plan.placement.group_of",
        "receivers": receivers,
    }
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
