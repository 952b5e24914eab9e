"""Providers' own services: what marks a prefix for their caches.

Anthropic: ``cache_control`` on the last block of what is to be cached, at most four marks a request, 5 minutes or an
hour (https://docs.claude.com/en/docs/build-with-claude/prompt-caching). OpenAI: the first 1,024 tokens and more are
cached by themselves; ``prompt_cache_key`` brings requests with one prefix to one machine
(https://platform.openai.com/docs/guides/prompt-caching). Gemini: cached content with a lifetime, made beforehand and
named in requests (https://ai.google.dev/gemini-api/docs/caching).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from charter_compiler.plan.execution_plan import ExecutionPlan, PlannedPrefix
from charter_compiler.plan.hints import CallHints, HintAction

MOST_BREAKPOINTS = 4
LEAST_TOKENS = 1024
"""The shortest prefix that the providers' current models cache; some want more (see finding CH107)."""
LIFETIME = "3600s"


def hosted_files(header: str, plan: ExecutionPlan) -> Mapping[str, str]:
    """``anthropic.json``, ``openai.json`` and ``gemini.json``: for each call, what to add to its request."""
    by_id = {prefix.cache_id: prefix for prefix in plan.prefixes if not prefix.parameters}

    def text(calls: dict[str, Any]) -> str:
        return json.dumps({"about": header, "calls": calls}, indent=2, sort_keys=True, ensure_ascii=False) + "\n"

    return {
        "anthropic.json": text({one.call: anthropic_breakpoints(one, by_id) for one in plan.hints}),
        "openai.json": text({one.call: openai_fields(one, by_id) for one in plan.hints}),
        "gemini.json": text({one.call: gemini_cache(one, by_id) for one in plan.hints}),
    }


def _constant(hints: CallHints, by_id: Mapping[int, PlannedPrefix]) -> Iterable[tuple[PlannedPrefix, HintAction]]:
    """The constant prefixes of a call's prompts that are worth keeping, shortest first."""
    for hint in hints.hints:
        future = None if hint.future is None else hints.futures[hint.future]
        if future is not None and not future.parameters and future.cache_id in by_id and not future.dead:
            yield by_id[future.cache_id], hint.action


def anthropic_breakpoints(hints: CallHints, by_id: Mapping[int, PlannedPrefix]) -> dict[str, Any]:
    """Marks at the ends of constant prefixes, the longest ones where there are more than four. A prefix that is too
    short is listed with the reason and not marked: the provider would ignore the mark, and it counts among the four."""
    marks, short = [], []
    for prefix, action in _constant(hints, by_id):
        if prefix.tokens < LEAST_TOKENS:
            short.append({"prefix": str(prefix.cache_id), "tokens": prefix.tokens, "least": LEAST_TOKENS})
            continue
        control = {"type": "ephemeral", "ttl": "1h" if action is HintAction.PIN else "5m"}
        marks.append({"prefix": str(prefix.cache_id), "after_characters": len(prefix.text), "cache_control": control})
    return {"breakpoints": marks[-MOST_BREAKPOINTS:], "too_short": short}


def openai_fields(hints: CallHints, by_id: Mapping[int, PlannedPrefix]) -> dict[str, Any]:
    """One key for all requests that begin with the longest constant prefix of the call."""
    longest = [prefix for prefix, _ in _constant(hints, by_id)]
    if not longest:
        return {}
    return {"prompt_cache_key": f"charter-{longest[-1].cache_id:x}", "prefix_tokens": longest[-1].tokens}


def gemini_cache(hints: CallHints, by_id: Mapping[int, PlannedPrefix]) -> dict[str, Any]:
    """The content to cache: the longest constant prefix, if it is long enough."""
    longest = [prefix for prefix, _ in _constant(hints, by_id) if prefix.tokens >= LEAST_TOKENS]
    if not longest:
        return {}
    return {"cached_content": {"display_name": f"charter-{longest[-1].cache_id:x}", "ttl": LIFETIME}}
