"""Debate: two analysts argue over a question about a report, in turns; a third one decides.

A plain agent, as its author first wrote it: each speaker has a role of its own, and reads what was said so far.
"""

from __future__ import annotations

from typing import Any

ROUNDS = 2

ROLES = {
    "Optimist": "You are an analyst who looks for what went well. You argue from figures and you never invent one.",
    "Sceptic": "You are an analyst who looks for what could be wrong. You argue from figures and you never invent one.",
}
JUDGE = "You are the head of research. You decide between two analysts, by their evidence alone, in two sentences."


class Debate:
    """A transcript that grows by one argument a turn; ``llm`` offers ``chat(messages, max_tokens) -> str``."""

    def __init__(self, llm: Any) -> None:
        self.llm = llm

    def decide(self, table: str, notes: str, questions: list[str]) -> dict[str, Any]:
        case = f"Figures:\n{table}\n\nNotes:\n{notes}\n\nQuestion: {questions[0]}"
        transcript: list[str] = []
        for _ in range(ROUNDS):
            for name, role in ROLES.items():
                said = "\n".join(transcript) or "(nothing yet)"
                argument = self.llm.chat(
                    [
                        {"role": "system", "content": role},
                        {"role": "user", "content": f"{case}\n\nSaid so far:\n{said}\n\nYour argument, one sentence:"},
                    ],
                    max_tokens=50,
                )
                transcript.append(f"{name}: {argument.strip()}")
        verdict = self.llm.chat(
            [
                {"role": "system", "content": JUDGE},
                {"role": "user", "content": f"{case}\n\nThe debate:\n" + "\n".join(transcript) + "\n\nYour decision:"},
            ],
            max_tokens=80,
        )
        return {"transcript": transcript, "verdict": verdict}
