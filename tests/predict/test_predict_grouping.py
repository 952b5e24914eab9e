"""Which items share the start of a prompt, as the templates tell it."""

from __future__ import annotations

from pathlib import Path

import pytest

from charter_compiler.ir.nodes import Call
from charter_compiler.predict.grouping import ItemWeights, group_fields
from charter_compiler.predict.planning import calls_of_entry

AGENT = """
def process(question, document, page, llm):
    kind = llm.generate(f"Which kind? {question}", max_tokens=4)
    found = llm.generate(f"Read. {document} {page} {question}", max_tokens=8)
    return llm.generate(f"{kind} {document} {found}", max_tokens=1000)
"""


@pytest.fixture
def calls(tmp_path: Path) -> tuple[Call, ...]:
    (tmp_path / "agent.py").write_text(AGENT, encoding="utf-8")
    return calls_of_entry(f"{tmp_path / 'agent.py'}:process")


def rows(*values: tuple[str, str, str]) -> list[dict[str, str]]:
    return [dict(zip(("question", "document", "page"), row, strict=True)) for row in values]


def test_the_call_that_shares_the_most_says_what_groups_are(calls: tuple[Call, ...]) -> None:
    text = "a long document " * 4
    assert group_fields(calls, rows(("why", text, "1"), ("why", "b", "1"), ("how", text, "2"))) == ("document",)
    assert group_fields(calls, rows(("why", text, "1"), ("how", text, "1"))) == ("document", "page")
    assert group_fields(calls, rows(("why", "a", "1"), ("why", "b", "2"))) == ("question",)


def test_rows_that_differ_share_nothing(calls: tuple[Call, ...]) -> None:
    assert group_fields(calls, rows(("why", "a", "1"), ("how", "b", "1"))) == ()
    assert group_fields(calls, [{"document": "a"}, {"other": "a"}]) == ()
    assert group_fields((), rows(("why", "a", "1"), ("why", "a", "1"))) == ()


def test_a_longer_row_weighs_more_and_an_answers_cap_counts(calls: tuple[Call, ...]) -> None:
    short, long = rows(("why", "a", "1"), ("why", "a" * 401, "1"))
    weigh = ItemWeights(calls, max_tokens=10)
    assert weigh(long) - weigh(short) == pytest.approx(2 * 100), "two prompts hold the document"
    assert ItemWeights(calls)(short) - weigh(short) == 990
    assert weigh({}) > 0
