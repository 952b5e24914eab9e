"""Reflection: a draft, a critique of it, a better draft; twice.

A plain agent, as its author first wrote it: the draft stands before the document that it is checked against.
"""

from __future__ import annotations

from typing import Any

ROUNDS = 2

STYLE = """House style: plain English, one idea a sentence, no adjectives of praise, amounts with currency and year, the
largest change first, no forecasts, no first person, at most five sentences."""


def write_note(table: str, notes: str, llm: Any) -> dict[str, Any]:
    """A short note on a table of figures; ``llm`` offers ``generate(prompt, max_tokens) -> str``."""
    source = f"Figures:\n{table}\n\nNotes:\n{notes}"
    draft = llm.generate(f"Write a short note for investors.\n\n{STYLE}\n\n{source}\n\nNote:", max_tokens=80)
    critiques = []
    for _ in range(ROUNDS):
        critique = llm.generate(
            f"""List the mistakes in this note: wrong amounts, wrong years, breaches of the house style.

{STYLE}

Note:
{draft}

{source}

Mistakes:""",
            max_tokens=60,
        )
        critiques.append(critique)
        draft = llm.generate(
            f"""Rewrite this note without the mistakes that an editor found in it.

{STYLE}

Note:
{draft}

Mistakes:
{critique}

{source}

Corrected note:""",
            max_tokens=80,
        )
    return {"note": draft, "critiques": critiques}
