"""The passes over calls: before and after, nothing to do, and what they say."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from charter_compiler.diagnostics.errors import VerificationError
from charter_compiler.ir.nodes import Agent
from charter_compiler.ir.text import parse_agent, print_agent
from charter_compiler.parser.ast_parser import AgentASTParser
from charter_compiler.passes.common_calls import CommonCalls
from charter_compiler.passes.dead_calls import DeadCalls
from charter_compiler.passes.independent_calls import IndependentCalls
from charter_compiler.passes.invariant_calls import InvariantCalls
from charter_compiler.passes.pass_base import PROVISO, Pass, PassResult
from charter_compiler.passes.pipeline import DEFAULT_PASSES, run_passes

EXAMPLES = Path(__file__).parents[2] / "examples" / "agents"

TWICE = """
def process(text, llm):
    one = llm.generate(f"Summarize: {text}", max_tokens=9)
    two = llm.generate(f"Summarize: {text}", max_tokens=9)
    return llm.generate(f"Compare {one} with {two}")
"""
LOOP = """
def process(text, parts, llm):
    found = []
    for part in parts:
        rules = llm.generate(f"Name the rules of {text}")
        found.append(llm.generate(f"{rules} {part}"))
    return found
"""
UNREAD = """
def process(text, llm):
    llm.generate(f"Nobody reads this: {text}")
    return llm.generate(f"Summarize: {text}")
"""
APART = """
def process(text, llm):
    names = llm.generate(f"Names in {text}")
    dates = llm.generate(f"Dates in {text}")
    return llm.generate(f"{names} {dates}")
"""


def agent_of(source: str) -> Agent:
    return AgentASTParser().parse_source(source, "a.py").agent


def short(result: PassResult) -> list[tuple[int, str, bool]]:
    return [(note.span.line, note.text, note.changed) for note in result.notes]


def ids(agent: Agent) -> list[str]:
    return [call.id.rpartition("#")[2] for call in agent.calls]


def test_the_second_of_two_equal_calls_takes_the_answer_of_the_first() -> None:
    result = CommonCalls().run(agent_of(TWICE))
    assert ids(result.agent) == ["1", "3"]
    assert result.agent.calls[1].depends_on == ("a.py:process#1",)
    assert short(result) == [(4, f"takes the answer of the same request at line 3, {PROVISO}", True)]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('    two = llm.generate(f"Summarize', '    two = llm.generate(f"Sum up'), []),
        (("max_tokens=9)\n    return", "max_tokens=8)\n    return"), []),
        (("    two =", "    text = text[1:]\n    two ="), []),
        (("max_tokens=9", "max_tokens=9, temperature=0.8"), [(4, "asks the same as line 3, but it samples", False)]),
        (("max_tokens=9)\n    return", "max_tokens=9, stop=['.'])\n    return"), []),
        (("max_tokens=9)\n    return", "max_tokens=9, seed=7)\n    return"), []),
        (("max_tokens=9)\n    return", "max_tokens=9, response_format=form)\n    return"), []),
        (("max_tokens=9)\n    return", "max_tokens=9, tools=[text])\n    return"), []),
        (("max_tokens=9)\n    return", "max_tokens=9, **more)\n    return"), []),
        (("max_tokens=9)\n    return", "max_tokens=9, *more)\n    return"), []),
        (("    one =", "    one = ''\n    if text:\n        one ="), []),
    ],
)
def test_calls_that_may_differ_are_not_merged(change: tuple[str, str], said: list[tuple[int, str, bool]]) -> None:
    agent = agent_of(TWICE.replace(*change))
    result = CommonCalls().run(agent)
    assert result.agent is agent
    assert short(result) == said


def test_calls_of_equal_settings_are_merged() -> None:
    agent = agent_of(TWICE.replace("max_tokens=9", "seed=7, max_tokens=9, stop=['.']"))
    assert agent.calls[0].settings == ("seed=7", "stop=['.']")
    assert ids(CommonCalls().run(agent).agent) == ["1", "3"]


def test_messages_of_a_conversation_are_neither_merged_nor_dead_nor_invariant() -> None:
    made = "from google import genai\nchat = genai.Client().chats.create(model='m')\n"
    kinds: list[tuple[str, Pass, str]] = [
        (TWICE, CommonCalls(), "asks the same as line 5"),
        (UNREAD, DeadCalls(remove=True), "nothing reads the answer"),
        (LOOP, InvariantCalls(), "no turn of its loop changes the request"),
    ]
    for text, each, said in kinds:
        agent = agent_of(made + text.replace("llm.generate", "chat.send_message"))
        result = each.run(agent)
        assert result.agent == agent
        assert [note.text for note in result.notes] == [f"{said}, but its client may keep a conversation or a state"]


def test_calls_whose_tools_act_on_the_outside_are_neither_merged_nor_hoisted() -> None:
    for text, each in ((TWICE, CommonCalls(sampling=True)), (LOOP, InvariantCalls(sampling=True))):
        agent = agent_of(text)
        agent = replace(agent, calls=tuple(replace(call, effects=("writes files",)) for call in agent.calls))
        result = each.run(agent)
        assert result.agent == agent
        assert [note.text.endswith(", but a tool of it writes files") for note in result.notes] == [True]


def test_sampling_calls_are_merged_when_told_to() -> None:
    agent = agent_of(TWICE.replace("max_tokens=9", "max_tokens=9, temperature=0.8"))
    result = CommonCalls(sampling=True).run(agent)
    assert ids(result.agent) == ["1", "3"]
    assert short(result)[0][1].endswith("line 3, if its other settings are equal")


def test_an_invariant_call_leaves_its_loop_and_the_other_stays() -> None:
    result = InvariantCalls().run(agent_of(LOOP))
    assert [call.loop_depth for call in result.agent.calls] == [0, 1]
    assert short(result) == [(5, f"no turn of its loop changes the request: it is sent once, {PROVISO}", True)]
    agent = agent_of(LOOP.replace("rules of {text}", "rules of {part}"))
    assert InvariantCalls().run(agent).agent is agent
    sampling = agent_of(LOOP.replace('{text}")', '{text}", temperature=1.0)'))
    assert short(InvariantCalls().run(sampling)) == [
        (5, "no turn of its loop changes the request, but it samples", False)
    ]


def test_dead_calls_are_reported_and_taken_out_only_when_told_to() -> None:
    agent = agent_of(UNREAD)
    assert DeadCalls().run(agent).agent is agent
    assert short(DeadCalls().run(agent)) == [(3, "nothing reads the answer; it is sent all the same", False)]
    assert ids(DeadCalls(remove=True).run(agent).agent) == ["2"]
    alive = agent_of(TWICE)
    assert DeadCalls(remove=True).run(alive) == PassResult(alive)


def test_independent_calls_are_named() -> None:
    agent = agent_of(APART)
    assert short(IndependentCalls().run(agent)) == [
        (4, "uses nothing of the call at line 3: both could be asked at once", False)
    ]
    chain = agent_of((EXAMPLES / "document_processor.py").read_text(encoding="utf-8"))
    assert IndependentCalls().run(chain) == PassResult(chain)


@pytest.mark.parametrize("source", [TWICE, LOOP, UNREAD, APART])
def test_ir_after_each_pass_verifies_prints_and_parses_back(source: str) -> None:
    for ran in run_passes(agent_of(source), (*DEFAULT_PASSES, DeadCalls(remove=True))):
        assert parse_agent(print_agent(ran.result.agent)) == ran.result.agent


def test_the_example_agents_have_nothing_for_them() -> None:
    for path in EXAMPLES.glob("*.py"):
        agent = AgentASTParser().parse_file(path).agent
        assert run_passes(agent)[-1].result.agent is agent


def test_a_pass_that_breaks_the_ir_is_named() -> None:
    @dataclass(frozen=True)
    class Breaking:
        name: str = "breaking"

        def run(self, agent: Agent) -> PassResult:
            return PassResult(replace(agent, calls=agent.calls * 2))

    broken: Pass = Breaking()
    with pytest.raises(VerificationError, match=r"after the pass breaking: .*the id is used twice"):
        run_passes(agent_of(APART), (broken,))
