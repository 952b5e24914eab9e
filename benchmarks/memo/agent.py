"""The agent of the measurement: two calls an item, the second on the first one's answer."""

from __future__ import annotations

from typing import Any


def process(document: str, llm: Any) -> dict[str, str]:
    subject = llm.generate(f"Document: {document}\n\nIn one line, what is it about?\nAnswer:", max_tokens=4)
    title = llm.generate(f"Document: {document}\n\nSubject: {subject}\nA title for it:", max_tokens=4)
    return {"subject": subject, "title": title}
