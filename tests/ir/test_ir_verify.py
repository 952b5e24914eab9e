"""Each rule of the verifier refuses its breach, and legal IR passes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from charter_compiler.diagnostics.errors import VerificationError
from charter_compiler.diagnostics.span import Span
from charter_compiler.ir.nodes import Agent, Call, CallRef, Choice, Const, Message, Param, Repeat, Segment, Unknown
from charter_compiler.ir.verify import RULES, verify

AT = Span("a.py", 1, 1, 1, 5)
FIRST = Call("a.py:f#1", AT, "f", "root", "injected", "llm", (Message("raw", (Const("x", AT),)),))
SECOND = replace(FIRST, id="a.py:f#2", span=Span("a.py", 2, 1, 2, 5))
LOOP = (Span("a.py", 1, 1, 9, 1),)


def with_segments(*segments: Segment) -> Call:
    return replace(FIRST, messages=(Message("user", segments),))


LEGAL = {
    "nothing": (),
    "two calls": (FIRST, replace(SECOND, depends_on=(FIRST.id,))),
    "itself in a loop": (replace(FIRST, depends_on=(FIRST.id,), loop_depth=1, loops=LOOP),),
    "a call in the arguments": (
        replace(FIRST, span=Span("a.py", 1, 1, 3, 1), depends_on=(SECOND.id,)),
        SECOND,
    ),
}


@pytest.mark.parametrize("title", LEGAL)
def test_legal(title: str) -> None:
    verify(Agent("a", LEGAL[title]))


BREACHES = {
    "ids_are_unique": (FIRST, FIRST),
    "ids_name_file_and_function": (replace(FIRST, id="b.py:f#1"),),
    "dependencies_are_known_calls": (replace(FIRST, depends_on=("a.py:f#9",)),),
    "dependencies_come_earlier": (replace(FIRST, depends_on=(SECOND.id,)), SECOND),
    "references_are_dependencies": (FIRST, replace(with_segments(CallRef(FIRST.id, AT)), id=SECOND.id)),
    "calls_have_a_prompt": (replace(FIRST, messages=()),),
    "roles_and_scopes_are_known": (with_segments(Param("p", AT, "never")),),  # type: ignore[arg-type]  # the breach
    "segments_say_something": (with_segments(Const("", AT)),),
    "loops_agree": (replace(FIRST, loop_depth=2, loops=LOOP),),
    "settings_are_numbers": (replace(FIRST, temperature=float("nan")),),
    "spans_are_ranges": (replace(FIRST, span=Span("a.py", 2, 1, 1, 1)),),
}


@pytest.mark.parametrize("rule", [rule.__name__ for rule in RULES])
def test_breach(rule: str) -> None:
    with pytest.raises(VerificationError, match=rf"call a\.py:f#[12].*\[{rule}\]|call b\.py.*\[{rule}\]"):
        verify(Agent("a", BREACHES[rule]))


MORE_BREACHES = {
    "twice in depends_on": (FIRST, replace(SECOND, depends_on=(FIRST.id, FIRST.id))),
    "itself outside a loop": (replace(FIRST, depends_on=(FIRST.id,)),),
    "raw beside others": (replace(FIRST, messages=FIRST.messages * 2),),
    "unknown role": (replace(FIRST, messages=(Message("boss", ()),)),),  # type: ignore[arg-type]  # the breach
    "a choice of one": (with_segments(Choice(((),), AT)),),
    "an empty repetition": (with_segments(Repeat((), AT)),),
    "no reason": (with_segments(Unknown("", AT)),),
    "no name": (with_segments(Param("", AT)),),
    "inside a choice": (with_segments(Choice(((Const("", AT),), ()), AT)),),
    "negative": (replace(FIRST, max_tokens=-1),),
    "number in the id": (replace(FIRST, id="a.py:f#0"),),
}


@pytest.mark.parametrize("title", MORE_BREACHES)
def test_more_breaches(title: str) -> None:
    with pytest.raises(VerificationError):
        verify(Agent("a", MORE_BREACHES[title]))


def test_the_message_counts_the_others() -> None:
    with pytest.raises(VerificationError, match="and 1 more"):
        verify(Agent("a", (replace(FIRST, max_tokens=-1), replace(SECOND, max_tokens=-1))))
