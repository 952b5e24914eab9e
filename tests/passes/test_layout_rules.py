"""Rules of the layout that prompts of public agents taught."""

from __future__ import annotations

import pytest
from layout_cases import shown

from charter_compiler.ir.nodes import Agent
from charter_compiler.parser.ast_parser import AgentASTParser
from charter_compiler.passes.layout import layout


def laid_out(prompt: str) -> str:
    names = ", ".join(name for name in ("a", "b", "n") if f"{{{name}}}" in prompt)
    source = f'def process({names}, llm):\n    return llm.generate(f"""{prompt}""")\n'
    (call,) = layout(Agent("a.py", AgentASTParser().parse_source(source, "a.py").calls)).agent.calls
    return shown(call, [call])


def test_no_separator_is_lost_between_the_last_block_and_the_first() -> None:
    assert laid_out("Text: {a}\n\nName the author.") == "Name the author.\n\nText: {a}"
    assert laid_out("\n    Text: {a}\n\n    Name the author.\n    ") == "\n    Name the author.\n\n    Text: {a}\n    "


@pytest.mark.parametrize(
    "prompt",
    [
        "Analyse the sections and name {n} of them that gain most.\n\nFor each section give a number.\n\nReport:\n{a}",
        "Round {n} of 5.\nIn your thoughts, weigh the quality.\n\nRespond in the usual format.",
        "Great work! Refine the part {a} that you wrote.\n\nPay attention to errors of style.",
    ],
)
def test_an_instruction_with_a_value_is_not_overtaken(prompt: str) -> None:
    assert laid_out(prompt) == prompt


def test_a_closing_instruction_with_a_value_stays_last() -> None:
    prompt = "Details:\n{a}\n\nWrite code that runs.\n\nNow, please write the function {n}."
    assert laid_out(prompt) == "Write code that runs.\n\nDetails:\n{a}\n\nNow, please write the function {n}."


def test_the_beginning_of_an_answer_stays_last() -> None:
    prompt = "Hint: {a}\n\nWrite code that runs.\n\n# improved implementation\n{b}"
    assert laid_out(prompt) == "Write code that runs.\n\nHint: {a}\n\n# improved implementation\n{b}"


def test_a_ruler_is_not_crossed() -> None:
    prompt = "Text: {a}\n\n---\n\nName the author of the text.\n\nAuthor:"
    assert laid_out(prompt) == prompt


def test_branches_of_one_condition_share_nothing() -> None:
    source = (
        "def process(a, b, c, fast, llm):\n"
        "    if fast:\n"
        '        return llm.generate(f"A: {a}\\n\\nC: {c}\\n\\nAnswer:")\n'
        "    else:\n"
        '        return llm.generate(f"B: {b}\\n\\nC: {c}\\n\\nAnswer:")\n'
    )
    agent = AgentASTParser().parse_source(source, "a.py").agent
    assert not layout(agent).changed
