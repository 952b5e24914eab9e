"""One asynchronous call an item: the least that a run can do."""

from __future__ import annotations

from typing import Any


async def ask(text: str, llm: Any) -> str:
    """`llm` offers ``agenerate(prompt, max_tokens)``."""
    return str(await llm.agenerate(text, max_tokens=4))
