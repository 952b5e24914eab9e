"""The layout pass on the templates whose expected order was written before it."""

from __future__ import annotations

from pathlib import Path

import pytest
from layout_cases import Case, cases, shown

from charter_compiler.ir.nodes import Call, Const
from charter_compiler.ir.text import parse_agent, print_agent
from charter_compiler.ir.verify import verify
from charter_compiler.passes.layout import layout

SETS = {"": 30, "second": 35, "third": 23, "fourth": 30, "fifth": 30, "sixth": 27}
CASES = [case for part in SETS for case in cases(part)]
IDS = [f"{case.shape}: {case.title}" for case in CASES]
MISSES = {
    "examples between tags, chosen by the agent": "what is joined from a list counts as no more than the item's",
    "a retriever's result, asked about many times": "where a value of which nothing is known was made is not known",
    "draft, errors and revision, with a style of the agent": "without inputs a draft counts for as long as its data",
    "a passage that a model made up, then the search": "without inputs a question counts for less than instructions",
    "the user's name and the talk before the persona": "what stands behind a heading belongs to its section",
    "the examples above show the tone": "a value may come between what stands above and what says so",
    "limits as a bulleted list with values": "a list with values is taken for instructions that others build on",
}
"""Another order than the expected one, of the same meaning."""


@pytest.mark.parametrize(("part", "count"), SETS.items())
def test_each_set_has_templates_of_eight_shapes(part: str, count: int) -> None:
    found = cases(part)
    assert (len(found), len({case.shape for case in found})) == (count, 8)
    assert sum(case.expected is None for case in found) >= count // 6


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_order_is_the_expected_one(case: Case, tmp_path: Path) -> None:
    agent = case.agent(tmp_path)
    found = layout(agent)
    expected = [shown(call, agent.calls) for call in found.agent.calls] == case.wanted(agent)
    assert expected is (case.title not in MISSES)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_ir_after_the_pass_verifies_prints_and_parses_back(case: Case, tmp_path: Path) -> None:
    agent = layout(case.agent(tmp_path)).agent
    verify(agent)
    assert parse_agent(print_agent(agent)) == agent


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_lines_are_moved_whole_and_holes_kept(case: Case, tmp_path: Path) -> None:
    """White space within lines included. Also says that the pass is stable: run on its own result it changes nothing
    more."""
    agent = case.agent(tmp_path)
    after = layout(agent).agent
    for old, new in zip(agent.calls, after.calls, strict=True):
        assert _lines(old) == _lines(new)
        holes = [
            sorted(str(part) for message in call.messages for part in message.segments if not isinstance(part, Const))
            for call in (old, new)
        ]
        assert holes[0] == holes[1]
    again = layout(after)
    assert [shown(call, agent.calls) for call in again.agent.calls] == [shown(c, agent.calls) for c in after.calls]


def _lines(call: Call) -> list[str]:
    """Lines that are not empty, without white space at their ends, each hole as one mark."""
    texts = [
        "".join(part.text if isinstance(part, Const) else "?" for part in message.segments) for message in call.messages
    ]
    return sorted(line.rstrip() for text in texts for line in text.split("\n") if line.strip())
