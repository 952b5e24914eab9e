"""What the runs on several servers are asked: 16 documents with four questions each, and the sizes of the servers."""

from __future__ import annotations

import json
from pathlib import Path

DATA = Path(__file__).resolve().parents[2] / "examples" / "data" / "documents.jsonl"
BLOCK_SIZE = 16
BLOCKS = 160
"""Of all servers together: about what the documents need, so that a quarter of it holds a quarter of them."""
IN_FLIGHT = 8
"""Items, at all servers together."""
DOCUMENTS = 16
CHARACTERS = 300
QUESTIONS = (
    "Which amounts are named?",
    "Which years does it cover?",
    "What changed, and why?",
    "Who is responsible for it?",
)


def write_inputs(name: str, folder: Path) -> Path:
    """All documents with the first question, then all with the second, and so on."""
    with DATA.open(encoding="utf-8") as file:
        texts = [json.loads(line)["document"][:CHARACTERS] for line, _ in zip(file, range(DOCUMENTS), strict=False)]
    path = folder / "in.jsonl"
    rows = ({"run": name, "document": text, "question": question} for question in QUESTIONS for text in texts)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
