"""docs/diagnostics: a page for each code, whose bad example has the finding and whose good one has none."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from charter_compiler.analysis.checks import CHECKS, check
from charter_compiler.analysis.checks.codes import CODES
from charter_compiler.parser.ast_parser import AgentASTParser

PAGES = Path(__file__).parents[2] / "docs" / "diagnostics"


def example(code: str, heading: str) -> str:
    text = (PAGES / f"{code}.md").read_text(encoding="utf-8")
    match = re.search(rf"^## {heading}\n\n```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert match is not None
    return match[1]


def codes_found(source: str) -> set[str]:
    parsed = AgentASTParser().parse_source(source, "agent.py")
    assert parsed.failed == ()
    assert parsed.calls
    return {diagnostic.code for diagnostic in check(parsed.agent, parsed.sources)}


def test_every_code_has_a_page_and_every_page_a_code() -> None:
    assert sorted(path.stem for path in PAGES.glob("CH*.md")) == sorted(CODES)


def test_every_check_says_which_code_it_has() -> None:
    documented = [re.match(r"CH\d{3}(?=: )", __import__(one.__module__, fromlist=["_"]).__doc__) for one in CHECKS]
    assert [match and match[0] for match in documented] == sorted(CODES)


@pytest.mark.parametrize("code", CODES)
def test_the_index_and_the_page_have_title_and_level(code: str) -> None:
    title, level = CODES[code]
    assert f"| [{code}]({code}.md) | {level} | {title} |" in (PAGES / "README.md").read_text(encoding="utf-8")
    page = (PAGES / f"{code}.md").read_text(encoding="utf-8")
    assert page.startswith(f"# {code}: {title}\n\nLevel: {level}.\n")


@pytest.mark.parametrize("code", CODES)
def test_the_bad_example_has_the_finding(code: str) -> None:
    assert codes_found(example(code, "Bad")) == {code}


@pytest.mark.parametrize("code", CODES)
def test_the_good_example_has_none(code: str) -> None:
    assert codes_found(example(code, "Good")) == set()
