"""The chain of examples/agents/document_processor.py with several questions a document: extract, validate, answer.

The document stands first, as `--layout` would put it, so that all prompts about one document begin alike.
"""

from __future__ import annotations

from typing import Any

SYSTEM = "You are a careful document analyst. You never invent a fact."


def answer(run: str, document: str, question: str, llm: Any) -> dict[str, str]:
    """``llm`` offers ``generate(prompt, max_tokens) -> str``; ``run`` keeps apart what runs leave in one cache."""
    start = f"Run {run}. {SYSTEM}\n\nDocument:\n{document}\n\nQuestion: {question}\n"
    entities = llm.generate(f"{start}Task: list what the document says about it.\nFacts:", max_tokens=6)
    validated = llm.generate(f"{start}Task: check these facts: {entities}\nValidation:", max_tokens=6)
    said = llm.generate(f"{start}Task: answer from these facts: {validated}\nAnswer:", max_tokens=4)
    return {"entities": entities, "validated": validated, "answer": said}
