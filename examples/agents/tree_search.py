"""Tree search: several next steps of an analysis are proposed and scored; the best is kept, and extended again.

A plain agent, as its author first wrote it, after "Tree of Thoughts" (Yao et al., 2023), with a beam of one.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any

WIDTH = 3
DEPTH = 2

PROPOSE = """You explain why a figure in an annual report changed, step by step.

Figures:
{table}

Notes:
{notes}

Question: {question}

Steps so far:
{steps}

Give the next step of the explanation in one sentence.
Next step:"""

SCORE = """You judge steps of an explanation: 10 is fully supported by the figures, 0 is made up. Answer with a number.

Figures:
{table}

Question: {question}

Step to judge: {step}

Score:"""


def read_score(text: str) -> float:
    """The first number of an answer; 5 where there is none."""
    found = re.search(r"\d+(?:\.\d+)?", text)
    return min(float(found.group()), 10.0) if found else 5.0


class TreeSearch:
    """Proposals and scores of one level go out together; ``llm`` offers ``agenerate(prompt, max_tokens, ...)``."""

    def __init__(self, llm: Any) -> None:
        self.llm = llm

    async def explain(self, table: str, notes: str, questions: list[str]) -> dict[str, Any]:
        question = questions[0]
        steps: list[str] = []
        for level in range(DEPTH):
            prompt = PROPOSE.format(
                table=table, notes=notes, question=question, steps="\n".join(steps) or "(none yet)"
            )
            proposals = await asyncio.gather(
                *(
                    self.llm.agenerate(prompt, max_tokens=40, temperature=0.8, seed=level * WIDTH + branch)
                    for branch in range(WIDTH)
                )
            )
            scores = await asyncio.gather(
                *(
                    self.llm.agenerate(SCORE.format(table=table, question=question, step=step.strip()), max_tokens=6)
                    for step in proposals
                )
            )
            best = max(range(WIDTH), key=lambda index: read_score(scores[index]))
            steps.append(f"{level + 1}. {proposals[best].strip()}")
        return {"steps": steps}
