"""An agent that sends prompts which another run has recorded, one output token each."""

from __future__ import annotations

from typing import Any


def send(calls: list[dict[str, Any]], llm: Any) -> int:
    """``calls`` have a ``prompt``, or ``messages``; returns how many there were."""
    for call in calls:
        if call["messages"] is None:
            llm.generate(call["prompt"], max_tokens=1)
        else:
            llm.chat(call["messages"], max_tokens=1)
    return len(calls)
