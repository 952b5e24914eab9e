"""Coding team: a planner, a programmer, a reviewer and a tester work on one request for a change of one module.

A plain agent, as its author first wrote it: each member has a role of its own, and is shown the module and what the
others have said so far.
"""

from __future__ import annotations

from typing import Any

ROUNDS = 2

PLANNER = "You plan changes of Python code. Name the functions that change, in order, and what each does afterwards."
PROGRAMMER = "You change Python code as a plan says. Show the changed functions alone, complete, with their types."
REVIEWER = "You review changes of Python code. Name at most three faults: what is wrong, where, what to do instead."
TESTER = "You write tests of Python code with pytest. One test a behaviour, and a name that says what is expected."


def change(request: str, module: str, llm: Any) -> dict[str, Any]:
    """A plan, code and review in turns, then tests; ``llm`` offers ``generate(prompt, max_tokens) -> str``."""
    work = f"The request: {request}\n\nThe module:\n```python\n{module}\n```"
    plan = llm.generate(f"{PLANNER}\n\n{work}\n\nYour plan:", max_tokens=60)
    code = llm.generate(f"{PROGRAMMER}\n\n{work}\n\nThe plan:\n{plan}\n\nYour code:", max_tokens=80)
    reviews = []
    for _ in range(ROUNDS):
        review = llm.generate(f"{REVIEWER}\n\n{work}\n\nThe new code:\n{code}\n\nYour review:", max_tokens=40)
        reviews.append(review)
        code = llm.generate(
            f"{PROGRAMMER}\n\n{work}\n\nThe last code:\n{code}\n\nIts review:\n{review}\n\nYour code:", max_tokens=80
        )
    tests = llm.generate(f"{TESTER}\n\n{work}\n\nThe new code:\n{code}\n\nYour tests:", max_tokens=60)
    return {"plan": plan, "code": code, "reviews": reviews, "tests": tests}
