"""The document processor of the examples with the layout already in it: what its three prompts share stands first."""

from __future__ import annotations

from typing import Any

SYSTEM_PROMPT = """You are a careful document analyst.
You extract people, organizations, dates, places and amounts of money exactly as they are written.
You check every statement against its source and you never invent a fact.
You answer in the format that the task asks for, without comments before or after it."""


class DocumentProcessor:
    """Three stages over one document; `llm_client` offers ``generate(prompt, max_tokens) -> str``."""

    def __init__(self, llm_client: Any = None) -> None:
        self.llm = llm_client

    def process(self, document: str) -> dict[str, str]:
        head = f"{SYSTEM_PROMPT}\n\nDocument:\n{document}\n\n"
        entities = self.llm.generate(
            f"""{head}Task: extract the named entities of the document above.
Format: one JSON object with the keys people, organizations, dates, places, amounts.

Entities:""",
            max_tokens=200,
        )
        validated = self.llm.generate(
            f"""{head}Task: compare the extracted entities with the source document.
Mark each entity as verified, uncertain or wrong, and say in a few words why.

Extracted entities:
{entities}

Validation:""",
            max_tokens=200,
        )
        classification = self.llm.generate(
            f"""{head}Task: classify the document, using its text and the validated entities.
Give document_type, main_topic, confidence between 0 and 1, and two key points.

Validated entities:
{validated}

Classification:""",
            max_tokens=120,
        )
        return {"entities": entities, "validated": validated, "classification": classification}
