"""Retrieval: the passages of a report that are most like a question are put before it; one answer a question.

A plain agent, as its author first wrote it: passages stand in the order of their score.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import Any

TOP = 3

PROMPT = """Answer the question from the passages below, which come from one annual report. Quote the words that your answer
rests on. If the passages do not hold the answer, write "not stated" and nothing else.

{passages}

Question: {question}
Answer:"""


def words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


class Index:
    """Passages ranked by BM25 (Robertson and Zaragoza, 2009; k1 = 1.2, b = 0.75)."""

    def __init__(self, passages: list[str]) -> None:
        self.passages = passages
        self.counts = [Counter(words(passage)) for passage in passages]
        self.mean = sum(sum(count.values()) for count in self.counts) / max(len(passages), 1)

    def score(self, question: str, index: int) -> float:
        count = self.counts[index]
        length = sum(count.values())
        total = 0.0
        for word in set(words(question)):
            having = sum(word in other for other in self.counts)
            rarity = math.log(1 + (len(self.passages) - having + 0.5) / (having + 0.5))
            total += rarity * count[word] * 2.2 / (count[word] + 1.2 * (0.25 + 0.75 * length / self.mean))
        return total

    def best(self, question: str, top: int = TOP) -> list[str]:
        ranked = sorted(range(len(self.passages)), key=lambda index: (-self.score(question, index), index))
        return [self.passages[index] for index in ranked[:top]]


class Retrieval:
    """``llm`` offers ``generate(prompt, max_tokens) -> str``."""

    def __init__(self, llm: Any) -> None:
        self.llm = llm

    def answer(self, table: str, notes: str, questions: list[str]) -> dict[str, Any]:
        paragraphs = [paragraph.strip() for paragraph in notes.split("\n\n") if paragraph.strip()]
        index = Index([f"Table:\n{table}", *paragraphs])
        answers = {}
        for question in questions:
            listed = "\n\n".join(f"Passage: {passage}" for passage in index.best(question))
            answers[question] = self.llm.generate(PROMPT.format(passages=listed, question=question), max_tokens=50)
        return {"answers": answers}
