"""Calls rewritten in the source: before and after, nothing to do, what is left and why; and what both send."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from charter_compiler.passes.source_calls import CallRewrite, ask_at_once, drop_dead, renumbered

FOLDER = Path(__file__).parent / "call_rewrites"
RUNS = {"at_once": ask_at_once, "dead": drop_dead}
ROW = {"doc": "a text", "parts": ["one", "", "two"], "topic": "bees", "loud": True}


def cases(kind: str) -> list[Any]:
    text = (FOLDER / f"{kind}.txt").read_text(encoding="utf-8")
    found = []
    for case in re.split(r"^=== ", text, flags=re.MULTILINE)[1:]:
        title, _, rest = case.partition("\n")
        before, mark, after = re.split(r"^--- (after|left)\n", rest, flags=re.MULTILINE)
        found.append(pytest.param(kind, before, mark, after, id=f"{kind}: {title}"))
    return found


@pytest.mark.parametrize(("kind", "before", "mark", "after"), [case for kind in RUNS for case in cases(kind)])
def test_before_and_after(kind: str, before: str, mark: str, after: str) -> None:
    result = RUNS[kind](before, "agent.py")
    if mark == "after":
        assert result.text == (after or before)
        assert all(note.changed for note in result.notes)
    else:
        assert result.text == before
        assert [f"{note.span.line}: {note.text}" for note in result.notes if not note.changed] == after.splitlines()
    assert RUNS[kind](result.text, "agent.py").text == result.text


class Client:
    """Answers with the prompt, the later the earlier it was asked, and knows which prompts were open at once."""

    def __init__(self) -> None:
        self.prompts: list[str] = []
        self.open = self.most = 0

    async def generate(self, prompt: str, **settings: object) -> str:
        self.prompts.append(prompt)
        self.open += 1
        self.most = max(self.most, self.open)
        for _ in range(20 - len(self.prompts)):
            await asyncio.sleep(0)
        self.open -= 1
        return f"answer, {prompt}"


def run(code: str) -> tuple[object, Client]:
    space: dict[str, Any] = {}
    exec(code, space)
    client = Client()
    process = space["process"]
    names = process.__code__.co_varnames[: process.__code__.co_argcount]
    return asyncio.run(process(**{name: client if name == "llm" else ROW[name] for name in names})), client


@pytest.mark.parametrize("before", [case.values[1] for case in cases("at_once")[:4]])
def test_the_same_prompts_are_sent_and_the_answers_come_in_order(before: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llms", ModuleType("llms"))
    sys.modules["llms"].connect = None  # type: ignore[attr-defined]  # what the agent imports
    result, one = run(before)
    at_once, other = run(ask_at_once(before, "agent.py").text)
    assert at_once == result
    assert sorted(other.prompts) == sorted(one.prompts)
    assert (one.most, other.most > 1) == (1, True)


def test_what_was_done_is_said_at_the_calls() -> None:
    result = ask_at_once(cases("at_once")[0].values[1], "agent.py")
    assert [(note.span.line, note.text) for note in result.notes] == [(11, "asked at once with the call at line 3")]
    dropped = drop_dead(cases("dead")[0].values[1], "agent.py")
    assert dropped.gone == ("agent.py:process#1", "agent.py:process#2")
    assert {note.text for note in dropped.notes} == {"nothing reads the answer: the call is taken out"}


def test_ids_after_calls_were_taken_out() -> None:
    gone = ("a.py:f#2", "a.py:f#3", "b.py:f#1")
    assert [renumbered(f"a.py:f#{number}", gone) for number in (1, 4, 10)] == ["a.py:f#1", "a.py:f#2", "a.py:f#8"]
    assert renumbered("a text #", gone) == "a text #"


def test_a_function_whose_calls_would_be_others_is_left_by_itself() -> None:
    other = """
async def other(parts, llm):
    answers = []
    for part in parts:
        stop = [part]
        answers.append(await llm.generate(f"About the part: {part}", stop=stop))
    return answers
"""
    code = cases("at_once")[1].values[1]
    result = ask_at_once(code + other, "agent.py")
    assert result.text == ask_at_once(code, "agent.py").text + other
    assert [note.text for note in result.notes if not note.changed] == ["left: other calls, or no Python, would result"]


def test_a_file_without_calls_comes_back_as_it_is() -> None:
    odd = "x = 1 ;y= 2   # odd\r\n"
    assert ask_at_once(odd, "a.py") == drop_dead(odd, "a.py") == CallRewrite(odd)
