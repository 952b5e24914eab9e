"""The text form: everything prints and parses back, and what does not parse is refused with its place."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter_compiler.diagnostics.errors import IRSyntaxError
from charter_compiler.diagnostics.span import Span
from charter_compiler.ir.nodes import Agent, Call, CallRef, Choice, Const, Message, Param, Repeat, Unknown
from charter_compiler.ir.text import parse_agent, print_agent

# Lone surrogates as well: Python source can hold them in escapes.
TEXT = st.text(st.characters(), max_size=30) | st.just("\ud83d\ude00 'quoted' \"twice\" \\ \r\n\t\u2028 {x}")
FILES = st.sampled_from(["agent.py", "a b/ä'.py"]) | TEXT
NUMBERS = st.integers(1, 10_000)
SPANS = st.builds(Span, FILES, NUMBERS, NUMBERS, NUMBERS, NUMBERS)
SEGMENTS = st.recursive(
    st.one_of(
        st.builds(Const, TEXT, SPANS),
        st.builds(Param, TEXT, SPANS, st.sampled_from(["agent", "item", "loop", "call"])),
        st.builds(CallRef, TEXT, SPANS, st.booleans()),
        st.builds(Unknown, TEXT, SPANS),
    ),
    lambda inner: st.one_of(
        st.builds(Choice, st.lists(st.lists(inner, max_size=3).map(tuple), max_size=3).map(tuple), SPANS),
        st.builds(Repeat, st.lists(inner, max_size=3).map(tuple), SPANS),
    ),
    max_leaves=8,
)
MESSAGES = st.builds(
    Message,
    st.sampled_from(["system", "user", "assistant", "tool", "raw", "unknown"]),
    st.lists(SEGMENTS, max_size=4).map(tuple),
)
CALLS = st.builds(
    Call,
    id=TEXT,
    span=SPANS,
    function=TEXT,
    kind=st.sampled_from(["root", "wrapper"]),
    api=TEXT,
    callee=TEXT,
    messages=st.lists(MESSAGES, max_size=3).map(tuple),
    forward=st.booleans(),
    model=st.none() | TEXT,
    max_tokens=st.none() | st.integers(),
    temperature=st.none() | st.floats(allow_nan=False),
    loop_depth=st.integers(0, 5),
    depends_on=st.lists(TEXT, max_size=3).map(tuple),
    loops=st.lists(SPANS, max_size=2).map(tuple),
)
AGENTS = st.builds(Agent, TEXT, st.lists(CALLS, max_size=3).map(tuple))


@given(AGENTS)
def test_what_is_printed_parses_back(agent: Agent) -> None:
    assert parse_agent(print_agent(agent)) == agent


HEAD = "agent 'a'\n\ncall 'a.py:f#1' @'a.py':1:1-1:5\n  function 'f'\n  kind root\n  api 'x'\n  callee 'llm'\n"

BROKEN = [
    ("", "1:1: expected agent"),
    ("call 'x'", "1:1: expected agent, not call"),
    ("agent x", "1:7: expected a string, not x"),
    ("agent 'a' 'b'", "1:11: unexpected 'b'"),
    ("agent 'a", '1:7: cannot read "\'" here'),
    ("agent 'a'\n   call", "the indent is not a multiple"),
    ("agent 'a'\n  call 'x'", "2:1: unexpected indent"),
    ("agent 'a'\ncall 'x' @1:1-1:2\n", "2:10: the span of a call names its file"),
    ("agent 'a'\ncall 'x' @'a.py':1:1-1:2\n", "2:1: the call has no function"),
    (HEAD + "  kind root\n", "8:1: kind stands twice"),
    (HEAD + "  max_tokens many\n", "8:14: expected a number, not many"),
    (HEAD + "  max_tokens\n", "8:13: expected a number"),
    (HEAD + "  message boss\n", "8:11: expected system or"),
    (HEAD + "  message raw\n    what\n", "9:5: expected const or"),
    (HEAD + "  message raw\n    param 'p' always @1:1-1:2\n", "9:15: expected agent or item"),
    (HEAD + "  message raw\n    unknown 'r' 1:1\n", "9:17: expected a span, not 1:1"),
    (HEAD + "  message raw\n    const @1:1-1:2\n      'a\\xg'\n", "10:7: expected a string"),
    (HEAD + "  message raw\n    choice @1:1-1:2\n      const @1:1-1:2\n", "10:7: expected option"),
]


@pytest.mark.parametrize(("text", "expected"), BROKEN, ids=[expected for _, expected in BROKEN])
def test_a_broken_text_is_refused_with_its_place(text: str, expected: str) -> None:
    with pytest.raises(IRSyntaxError) as caught:
        parse_agent(text)
    assert expected in str(caught.value)


@given(AGENTS, st.data())
def test_a_damaged_text_is_refused_or_read_but_never_crashes(agent: Agent, data: st.DataObject) -> None:
    text = print_agent(agent)
    position = data.draw(st.integers(0, len(text)))
    damaged = text[:position] + data.draw(st.sampled_from(["", "'", " ", "\n", "@", "x", "  "])) + text[position + 1 :]
    with contextlib.suppress(IRSyntaxError):
        parse_agent(damaged)
