"""Prompts matched against their templates: in exactly one way, or not at all."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter_compiler.diagnostics.span import Span
from charter_compiler.ir.nodes import Const, Param, Segment
from charter_compiler.passes.template import MessageLayout, TemplatePart, match_template, message_layout

SPAN = Span("a.py", 1, 1, 1, 2)


def seg(text: str) -> Segment:
    return Param(text[1:-1], SPAN) if text.startswith("{") else Const(text, SPAN)


def test_values_are_found_between_the_texts() -> None:
    assert match_template(["Name: ", "\nAge: ", "!"], "Name: Bo\nAge: 7!") == ["Bo", "7"]
    assert match_template(["all"], "all") == []


@pytest.mark.parametrize(
    ("texts", "prompt", "why"),
    [
        (["A: ", "\nB: ", ""], "A: x\nB: y\nB: z", "the label stands in a value as well"),
        (["A: ", "\nB: ", "."], "A: x", "a text is missing"),
        (["A", "A"], "A", "first and last text overlap"),
        (["all"], "some", "constant prompts differ"),
        (["", "aa", ""], "xaaay", "two places overlap"),
    ],
)
def test_other_prompts_are_not_matched(texts: list[str], prompt: str, why: str) -> None:
    assert match_template(texts, prompt) is None, why


@given(st.lists(st.text("ab", max_size=3), min_size=2, max_size=4), st.text("ab", max_size=9))
def test_a_match_is_the_only_one(texts: list[str], prompt: str) -> None:
    """Against all ways to cut the prompt."""
    holes = len(texts) - 1
    ways = set()
    room = len(prompt) - sum(map(len, texts))
    for lengths in itertools.product(range(max(room, 0) + 1), repeat=holes):
        if sum(lengths) != room:
            continue
        position, values = len(texts[0]), []
        for length, text in zip(lengths, texts[1:], strict=True):
            values.append(prompt[position : position + length])
            position += length + len(text)
        if "".join(itertools.chain(*zip(texts, [*values, ""], strict=True))) == prompt:
            ways.add(lengths)
    found = match_template(texts, prompt)
    assert (found is not None) == (len(ways) == 1)


def test_values_that_stay_together_are_one_hole() -> None:
    before = [seg("Name: "), seg("{name}"), seg(" "), seg("{surname}"), seg("\n\nRules.\n\nA:")]
    after = [seg("Rules.\n\nName: "), seg("{name}"), seg(" "), seg("{surname}"), seg("\n\nA:")]
    found = message_layout("raw", before, after)
    assert found == MessageLayout(
        "raw",
        ("Name: ", "\n\nRules.\n\nA:"),
        (TemplatePart("Rules.\n\nName: "), TemplatePart("", 0), TemplatePart("\n\nA:")),
    )
    assert found.apply("Name: Bo van Dyk\n\nRules.\n\nA:") == "Rules.\n\nName: Bo van Dyk\n\nA:"


def test_values_side_by_side_that_part_cannot_be_matched() -> None:
    before = [seg("{a}"), seg("{b}"), seg("end")]
    assert message_layout("raw", before, [seg("{b}"), seg("end"), seg("{a}")]) is None


def test_a_message_that_stays_is_given_back() -> None:
    found = message_layout("user", [seg("Hello "), seg("{a}")], [seg("Hello "), seg("{a}")])
    assert found is not None
    assert found.apply("anything") == "anything"
