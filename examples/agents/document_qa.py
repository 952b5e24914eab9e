"""Questions on documents: a draft and a check of it; customers ask about a few documents, in no particular order.

A plain agent, as its author first wrote it. Items that have a document in common are not neighbours.
"""

from __future__ import annotations

from typing import Any

RULES = """You answer questions on excerpts of annual reports. Use the excerpt alone. Give figures as they stand there, with their
unit. If the excerpt does not hold the answer, write "not stated"."""


async def answer(document: str, question: str, llm: Any) -> dict[str, str]:
    """``llm`` offers ``await agenerate(prompt, max_tokens) -> str``."""
    draft = await llm.agenerate(f"{RULES}\n\nExcerpt:\n{document}\n\nQuestion: {question}\nAnswer:", max_tokens=16)
    verdict = await llm.agenerate(
        f"{RULES}\n\nExcerpt:\n{document}\n\nQuestion: {question}\nAnswer: {draft}\nIs it in the excerpt, yes or no?",
        max_tokens=4,
    )
    return {"answer": draft, "supported": verdict}
