"""Map and reduce: each part of a report is summarized by itself, all at once; then the summaries become one.

A plain agent, as its author first wrote it: the instructions stand before the part.
"""

from __future__ import annotations

import asyncio
from typing import Any

PART_CHARACTERS = 700

MAP_PROMPT = """You read annual reports for a credit committee. Summarize one part of a report in at most three sentences.
Keep every amount of money with its currency and its year, and keep the direction of every change.
Leave out definitions, references to other notes and everything that is true of any company.
Write "nothing material" if the part holds nothing that a lender would ask about.

Part of the report:
{part}

Summary of this part:"""

REDUCE_PROMPT = """You read annual reports for a credit committee. Below are summaries of the parts of one report, in order.
Write one paragraph for the committee: first what changed most, then what explains it, then what is still open.
Use only what the summaries say, and do not repeat an amount twice.

Summaries:
{summaries}

Paragraph for the committee:"""


def split_into_parts(text: str, size: int = PART_CHARACTERS) -> list[str]:
    """Whole lines, at most about ``size`` characters a part."""
    parts: list[str] = []
    part = ""
    for line in text.splitlines():
        if part and len(part) + len(line) > size:
            parts.append(part)
            part = ""
        part += line + "\n"
    return [*parts, part] if part.strip() else parts


async def summarize(document: str, llm: Any) -> dict[str, Any]:
    """Summaries of all parts at once, then one of them together; ``llm`` offers ``agenerate(prompt, max_tokens)``."""
    parts = split_into_parts(document)
    summaries = await asyncio.gather(*(llm.agenerate(MAP_PROMPT.format(part=part), max_tokens=60) for part in parts))
    listed = "\n".join(f"- {summary.strip()}" for summary in summaries)
    return {"parts": len(parts), "summary": await llm.agenerate(REDUCE_PROMPT.format(summaries=listed), max_tokens=120)}
