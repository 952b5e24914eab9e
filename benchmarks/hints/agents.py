"""Four shapes of agents whose prompts share, for the worth of hints. Plain agents, with the client as a parameter."""

from __future__ import annotations

from typing import Any

RULES = """You are a careful analyst of business documents. You work from the text in front of you alone.
You quote figures exactly as they are written, with their units and their dates, and you never round twice.
You say what is missing instead of guessing it, and you never repeat an instruction in an answer.
You write short, plain sentences that a reader who is not an expert can follow."""
SCEPTIC = """You are the sceptic of an investment committee. You look for what a document leaves out: costs named
nowhere, comparisons with a bad year, growth that was bought, promises without a date. You concede what is supported."""
ADVOCATE = """You are the advocate of an investment committee. You look for what a document supports: orders, contracts,
margins that rise with volume, debts that were paid back. You concede what is not supported by a figure or by a date."""


def chain(document: str, llm: Any) -> str:
    """Three calls in a row, each with the document first."""
    facts = llm.generate(f"{RULES}\n\nDocument:\n{document}\n\nTask: list the facts.", max_tokens=60)
    checked = llm.generate(f"{RULES}\n\nDocument:\n{document}\n\nTask: check these facts.\n{facts}", max_tokens=60)
    return llm.generate(f"{RULES}\n\nDocument:\n{document}\n\nTask: classify it, given:\n{checked}", max_tokens=40)


def conversation(document: str, llm: Any) -> str:
    """Each prompt is the one before it, its answer, and a question."""
    first = f"{RULES}\n\nDocument:\n{document}\n\nQ: What is reported?\nA:"
    one = llm.generate(first, max_tokens=50)
    two = llm.generate(f"{first}{one}\nQ: For which period?\nA:", max_tokens=50)
    return llm.generate(f"{first}{one}\nQ: For which period?\nA:{two}\nQ: What changed?\nA:", max_tokens=50)


def fan_out(document: str, llm: Any) -> list[str]:
    """Five questions about one document, none of which needs another's answer, and a summary of the answers alone."""
    people = llm.generate(f"{RULES}\n\nDocument:\n{document}\n\nTask: name the people.", max_tokens=40)
    sums = llm.generate(f"{RULES}\n\nDocument:\n{document}\n\nTask: name the amounts.", max_tokens=40)
    dates = llm.generate(f"{RULES}\n\nDocument:\n{document}\n\nTask: name the dates.", max_tokens=40)
    risks = llm.generate(f"{RULES}\n\nDocument:\n{document}\n\nTask: name the risks.", max_tokens=40)
    plans = llm.generate(f"{RULES}\n\nDocument:\n{document}\n\nTask: name the plans.", max_tokens=40)
    return [llm.generate(f"{RULES}\n\nSum up:\n{people}\n{sums}\n{dates}\n{risks}\n{plans}", max_tokens=60)]


def debate(document: str, llm: Any) -> str:
    """Two roles with rules of their own speak in turn: each role's prefix rests for a step."""
    doubt = llm.generate(f"{SCEPTIC}\n\nDocument:\n{document}\n\nTask: your first doubt.", max_tokens=50)
    reply = llm.generate(f"{ADVOCATE}\n\nDocument:\n{document}\n\nTask: answer this doubt.\n{doubt}", max_tokens=50)
    again = llm.generate(f"{SCEPTIC}\n\nDocument:\n{document}\n\nTask: press on.\n{reply}", max_tokens=50)
    return llm.generate(f"{ADVOCATE}\n\nDocument:\n{document}\n\nTask: close, given:\n{again}", max_tokens=50)
