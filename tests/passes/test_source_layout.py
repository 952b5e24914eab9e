"""Layouts written into the source: the same prompts as at run time, comments and formatting kept."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from layout_cases import Case, cases, shown

from charter_compiler.diagnostics.errors import SourceError
from charter_compiler.ir.nodes import Agent
from charter_compiler.parser.ast_parser import AgentASTParser
from charter_compiler.passes.layout import layout
from charter_compiler.passes.literals import literals_of
from charter_compiler.passes.source_layout import SourceRewrite, rewrite_source

EXAMPLES = Path(__file__).parents[2] / "examples" / "agents"
PLAIN = ("pairwise in a chat", "a date stands in the system message", "arithmetic: a closing call to think")
"""Made of f-strings and plain strings, which become f-strings."""
CASES = [case for case in cases() if case.expected is not None]


def rewritten(text: str, file: str = "agent.py") -> SourceRewrite:
    calls = AgentASTParser().parse_source(text, file).calls
    return rewrite_source(text, file, layout(Agent(file, calls)).sites)


@pytest.mark.parametrize("case", CASES, ids=[case.title for case in CASES])
def test_the_rewritten_source_sends_what_the_run_time_sends(case: Case) -> None:
    result = rewritten(case.code)
    assert not result.left
    calls = AgentASTParser().parse_source(result.after, "agent.py").calls
    assert [shown(call, calls) for call in calls] == [text.rstrip("\n") for text in case.expected or ()]
    plain = case.title in (
        "pairwise in a chat",
        "a date stands in the system message",
        "arithmetic: a closing call to think",
    )
    assert sorted(result.after) == sorted(case.code + "ff"[: result.after.count('f"') - case.code.count('f"')])
    assert (len(result.after) > len(case.code)) is plain


@pytest.mark.parametrize("part", ["second", "third"])
def test_what_is_written_into_the_source_is_what_the_run_time_sends(part: str) -> None:
    """And what is left has its reason: parts in lists and sums, per cent signs, Jinja."""
    reasons = set()
    for case in cases(part):
        calls = AgentASTParser().parse_source(case.code, "agent.py").calls
        found = layout(Agent("agent.py", calls))
        result = rewrite_source(case.code, "agent.py", found.sites)
        after = AgentASTParser().parse_source(result.after, "agent.py").calls
        wanted = [(found.agent.call(call.id) if call.id in result.applied else call) for call in calls]
        assert [shown(call, after) for call in after] == [shown(call, calls) for call in wanted]
        assert {site.call.id for site in found.changed} == {*result.applied, *result.left}
        reasons |= set(result.left.values())
    assert reasons == {"what moves stands in several literals", "the literal is changed before it is sent"}


@pytest.mark.parametrize("name", ["document_processor", "delta_processor", "report_analyst"])
def test_the_examples_are_rewritten_by_moving_lines(name: str) -> None:
    text = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
    result = rewritten(text)
    assert result.applied
    assert not result.left
    changed = {line for line in result.after.splitlines() if line not in text.splitlines()}
    below = "Task: extract the named entities of the document above."
    assert changed == ({below} if name == "document_processor" else set())


COMMENTED = """
def process(document, llm):
    # why this task
    prompt = (
        f"Document: {document}\\n\\n"  # the value
        f"Name the author of any \\"quoted\\" text.\\n\\n"  # the task
        f"Author:"
    )
    return llm.generate(prompt, max_tokens=5)   # three  spaces
"""


def test_literals_side_by_side_are_moved_with_what_stands_between_them() -> None:
    result = rewritten(COMMENTED)
    (call,) = AgentASTParser().parse_source(result.after, "agent.py").calls
    assert shown(call, [call]) == 'Name the author of any "quoted" text.\n\nDocument: {document}\n\nAuthor:'
    for comment in ("# why this task", "# the value", "# the task", "# three  spaces"):
        assert comment in result.after


def test_a_template_of_two_calls_is_changed_once_and_both_are_named() -> None:
    code = (
        'T = """Name: {name}\n\nSay hello in one line.\n\nHello:"""\n\n\n'
        "def one(name, llm):\n    return llm.generate(T.format(name=name))\n\n\n"
        "def two(name, llm):\n    return llm.generate(T.format(name=name))\n"
    )
    calls = AgentASTParser().parse_source(code, "agent.py").calls
    assert set(rewritten(code).applied) == {"agent.py:one#1", "agent.py:two#1"}
    only = rewrite_source(code, "agent.py", layout(Agent("agent.py", calls[:1])).sites)
    assert (only.applied, only.others) == (("agent.py:one#1",), ("agent.py:two#1",))


def test_what_stands_in_two_constants_is_left_with_a_reason() -> None:
    code = (
        'RULES = """Answer in one line.\n\nNever guess."""\nASK = "Question: "\n\n\n'
        "def process(question, llm):\n"
        '    return llm.generate(ASK + question + "\\n\\n" + RULES + "\\n\\nAnswer:")\n'
    )
    result = rewritten(code)
    assert result.after == code
    assert result.left == {"agent.py:process#1": "what moves stands in several literals"}
    assert result.diff() == ""


def test_values_at_the_ends_of_a_literal_are_moved() -> None:
    code = (
        "def process(b, d, llm):\n"
        '    x = llm.generate(f"Say yes or no to it all with great care.\\n\\nQuestion: {b}\\n\\n{d}")\n'
        '    y = llm.generate(f"Question: {b}\\n\\n{d}\\n\\nGive one name only, please.")\n'
        "    return x + y\n"
    )
    result = rewritten(code)
    assert not result.left
    assert '(f"Question: {b}\\n\\n{d}\\n\\nSay yes or no to it all with great care.")' in result.after


def test_a_patch_has_the_lines_of_the_file() -> None:
    """A line separator in a literal ends no line of a patch."""
    code = 'def process(a, llm):\n    return llm.generate(f"Text: {a}\\n\\nName the\u2028author.")\n'
    lines = rewritten(code).diff().split("\n")
    assert [line[0] for line in lines if line] == ["-", "+", "@", " ", "-", "+"]


def test_unchanged_source_is_not_touched() -> None:
    code = 'def process(text, llm):\n\treturn llm.generate( f"Translate.\\n\\n{text}\\n\\nFrench:" ) # odd  \r\n'
    assert rewritten(code).after == code


def test_a_file_that_does_not_parse() -> None:
    with pytest.raises(SourceError, match=r"a.py:1: cannot be parsed"):
        literals_of("x = (", "a.py")


@given(st.text(max_size=30), st.sampled_from(["'", '"', '"""', "'''"]), st.sampled_from(["", "r", "u", "f"]))
def test_characters_of_a_literal_are_those_that_python_reads(inside: str, quote: str, prefix: str) -> None:
    code = f"x = {prefix}{quote}{inside}{quote}\n"
    try:
        value = ast.literal_eval(code[4:].strip()) if prefix != "f" else None
        if prefix == "f":
            value = ast.literal_eval(code[5:].strip().replace("{", "").replace("}", ""))
        ast.parse(code)
        literals = literals_of(code, "a.py")
    except (SyntaxError, ValueError, SourceError):
        return
    if len(literals) == 1 and len(literals[0].parts) == 1 and not (prefix == "f" and ("{" in inside or "}" in inside)):
        assert "".join(piece.text or "" for piece in literals[0].pieces) == value
