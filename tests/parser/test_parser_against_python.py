"""The template that the parser reads, filled in, is the prompt that Python really builds."""

from __future__ import annotations

import ast
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from charter_compiler.ir.nodes import CallRef, Choice, Const, Param, Repeat, Segment, Unknown
from charter_compiler.parser.ast_parser import AgentASTParser

VALUES = {"first": "Ada Lovelace", "second": "[1842]"}
WORDS = st.text(alphabet="ab {}\n\t'\"\\é😀%", max_size=8)


def f_string(parts: list[str | ast.expr]) -> ast.expr:
    return ast.JoinedStr(
        [ast.Constant(part) if isinstance(part, str) else ast.FormattedValue(part, -1) for part in parts]
    )


def add(left: ast.expr, right: ast.expr) -> ast.expr:
    return ast.BinOp(left, ast.Add(), right)


def formatted(parts: list[str], arguments: list[ast.expr], by_name: bool) -> ast.expr:
    """``"... {} ...".format(...)`` with one field between two parts."""
    names = [f"f{index}" if by_name else "" for index in range(len(arguments))]
    escaped = [part.replace("{", "{{").replace("}", "}}") for part in parts]
    template = "".join(
        text + ("{" + names[index] + "}" if index < len(names) else "") for index, text in enumerate(escaped)
    )
    function = ast.Attribute(ast.Constant(template), "format", ast.Load())
    if by_name:
        keywords = [ast.keyword(name, value) for name, value in zip(names, arguments, strict=True)]
        return ast.Call(function, [], keywords)
    return ast.Call(function, arguments, [])


NAMES = st.sampled_from(["first", "second", "MODULE"]).map(lambda name: ast.Name(name, ast.Load()))
LEAVES: st.SearchStrategy[ast.expr] = st.one_of(WORDS.map(ast.Constant), NAMES)


def larger(inner: st.SearchStrategy[ast.expr]) -> st.SearchStrategy[ast.expr]:
    lists = st.lists(inner, min_size=1, max_size=3)
    return st.one_of(
        # A sum of two values from outside need not be a text: one operand is visibly one.
        st.builds(lambda one, text, two: add(add(one, ast.Constant(text)), two), inner, WORDS, inner),
        # Python 3.11 cannot write a quote inside a field of an f-string, so that its fields are names.
        st.lists(st.one_of(WORDS, NAMES), min_size=1, max_size=5).map(f_string),
        lists.flatmap(
            lambda arguments: st.builds(
                formatted,
                st.lists(WORDS, min_size=len(arguments) + 1, max_size=len(arguments) + 1),
                st.just(arguments),
                st.booleans(),
            )
        ),
        lists.map(
            lambda items: ast.Call(
                ast.Attribute(ast.Constant(", "), "join", ast.Load()), [ast.List(items, ast.Load())], []
            )
        ),
    )


EXPRESSIONS = st.recursive(LEAVES, larger, max_leaves=12)


class Recorder:
    """A client that keeps the prompts, and answers with their number."""

    def __init__(self) -> None:
        self.prompts: list[str] = []

    def generate(self, prompt: str) -> str:
        self.prompts.append(prompt)
        return f"answer {len(self.prompts)}"


def fill(segments: tuple[Segment, ...]) -> str:
    text = ""
    for segment in segments:
        match segment:
            case Const():
                text += segment.text
            case Param():
                text += VALUES[segment.name]
            case CallRef():
                text += f"answer {segment.id.rpartition('#')[2]}"
            case Choice() | Repeat() | Unknown():
                raise AssertionError(segment)
    return text


@settings(max_examples=200)
@given(EXPRESSIONS, EXPRESSIONS)
def test_the_template_filled_in_is_the_prompt(one: ast.expr, two: ast.expr) -> None:
    source = (
        "MODULE = 'module \\u00e9 constant'\n"
        "def run(llm, first, second):\n"
        f"    first = llm.generate('1: ' + ({ast.unparse(one)}))\n"
        f"    text = {ast.unparse(two)}\n"
        "    llm.generate('2: ' + text)\n"
    )
    recorder = Recorder()
    names: dict[str, Any] = {}
    exec(compile(source, "agent.py", "exec"), names)
    names["run"](recorder, **VALUES)

    parsed = AgentASTParser().parse_source(source, "agent.py")
    assert [fill(call.messages[0].segments) for call in parsed.calls] == recorder.prompts


def parses(source: str) -> bool:
    """Python 3.11 unparses an f-string of several kinds of quotes to what it cannot parse."""
    try:
        ast.parse(source)
    except SyntaxError:
        return False
    return True


@settings(max_examples=200)
@given(st.lists(st.one_of(WORDS, NAMES), min_size=1, max_size=6), st.sampled_from(["", "é = 1; "]))
def test_spans_of_an_f_string_tile_its_source(parts: list[str | ast.expr], before: str) -> None:
    written = ast.unparse(f_string(parts))
    source = f"def run(llm, first, second, MODULE):\n    {before}llm.generate(f'' 'x' {written})\n"
    assume(parses(source))
    (call,) = AgentASTParser().parse_source(source, "agent.py").calls
    lines = source.split("\n")
    end = None
    for segment in call.messages[0].segments:
        span = segment.span
        assert end is None or end == (span.line, span.column)
        end = (span.end_line, span.end_column)
        if isinstance(segment, Param) and span.line == span.end_line:
            assert lines[span.line - 1][span.column - 1 : span.end_column - 1] == "{" + segment.name + "}"
