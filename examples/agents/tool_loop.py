"""Tool loop: the model chooses a tool, sees what it returned, and goes on until it answers (ReAct, Yao et al., 2022).

A plain agent, as its author first wrote it: the whole transcript is sent again at each step.
"""

from __future__ import annotations

import re
from typing import Any

MAX_STEPS = 4

SYSTEM = """You answer questions about a table of an annual report with the help of tools. At each step write one line:
Action: row[NAME]      returns the row of the table whose name is most like NAME
Action: column[YEAR]   returns the figures of one year
Action: note[WORD]     returns the first sentence of the notes that has WORD in it
Action: answer[TEXT]   ends the search with your answer
Do not compute what a tool can tell you, do not repeat an action, and answer as soon as you can."""

ACTION = re.compile(r"(row|column|note|answer)\[([^\]\n]*)\]")


def row(table: str, name: str) -> str:
    words = set(name.lower().split())
    lines = table.splitlines()
    return max(lines, key=lambda line: len(words & set(line.lower().split("|")[0].split())))


def column(table: str, year: str) -> str:
    lines = [line.split("|") for line in table.splitlines()]
    index = next((i for i, cell in enumerate(lines[0]) if year.strip() and year.strip() in cell), 1)
    return "; ".join(f"{cells[0].strip()}: {cells[index].strip()}" for cells in lines[1:6] if index < len(cells))


def note(notes: str, word: str) -> str:
    sentences = re.split(r"(?<=[.!?])\s+", notes)
    return next((s for s in sentences if word.lower() in s.lower()), "nothing found")


class ToolLoop:
    """One transcript a question; ``client`` offers ``generate(prompt, max_tokens, stop) -> str``."""

    def __init__(self, client: Any) -> None:
        self.client = client

    def run(self, table: str, notes: str, questions: list[str]) -> dict[str, Any]:
        question = questions[0]
        labels = [line.split("|")[0].strip() for line in table.splitlines()[1:]]
        transcript = f"Question: {question}\nRows of the table: {', '.join(filter(None, labels))}\n"
        for step in range(MAX_STEPS):
            said = self.client.generate(f"{SYSTEM}\n\n{transcript}Action:", max_tokens=24, stop="\n")
            found = ACTION.search(said)
            # A model that names no tool gets the next row of the table, so that it goes on from something.
            tool, argument = found.groups() if found else ("row", labels[step % len(labels)])
            if tool == "answer":
                return {"answer": argument, "steps": step + 1}
            result = {"row": row, "column": column, "note": note}[tool](notes if tool == "note" else table, argument)
            transcript += f"Action: {tool}[{argument}]\nResult: {result}\n"
        return {"answer": None, "steps": MAX_STEPS}
