"""An agent whose prompts have nothing in common: one call an item, the document first."""

from __future__ import annotations

from typing import Any


def headline(document: str, llm: Any) -> str:
    """One call; `llm` offers ``generate(prompt, max_tokens) -> str``."""
    return str(llm.generate(f"{document}\n\nA headline for this text:", max_tokens=60))
