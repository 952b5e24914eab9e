"""Diagnostics of the front end, and the comments that silence them."""

from __future__ import annotations

import pytest
from parser_show import parse

RULES = "Follow these rules. " * 40

FOUND = {
    "nothing of the prompt is known": ("llm.generate(make())", [("CH001", "note", 6)]),
    "part of the prompt is known": ("llm.generate('Sum up: ' + make())", []),
    "a parameter alone": ("llm.generate(doc)", []),
    "what varies stands first": ("llm.generate(f'{doc} {RULES}')", [("CH101", "warning", 6)]),
    "what varies stands last": ("llm.generate(f'{RULES} {doc}')", []),
    "a constant that is too short to matter": ("llm.generate(f'{doc} Sum this up.')", []),
    "with unknown text nothing is said": ("llm.generate(f'{doc} {make()} {RULES}')", []),
    "messages": (
        "llm.chat([{'role': 'user', 'content': doc}, {'role': 'system', 'content': RULES}])",
        [("CH101", "warning", 6)],
    ),
    "silenced": ("llm.generate(f'{doc} {RULES}')  # charter: ignore[CH101]", []),
    "silenced with others": ("llm.generate(f'{doc} {RULES}')  # why: measured  # charter: ignore[CH001, CH101]", []),
    "another code is silenced": ("llm.generate(f'{doc} {RULES}')  # charter: ignore[CH001]", [("CH101", "warning", 6)]),
    "a string is no comment": ("llm.generate(f'{doc} # charter: ignore[CH101] {RULES}')", [("CH101", "warning", 6)]),
}


@pytest.mark.parametrize("title", FOUND)
def test_findings(title: str) -> None:
    expression, expected = FOUND[title]
    source = f"from elsewhere import make\n\nRULES = {RULES!r}\n\ndef run(llm, doc):\n    {expression}\n"
    found = parse(source).diagnostics
    assert [(each.code, str(each.severity), each.span.line) for each in found] == expected
    assert all(each.tokens is None for each in found)


def test_the_finding_points_at_what_varies() -> None:
    source = f"RULES = {RULES!r}\ndef run(llm, doc):\n    llm.generate(\n        f'{{doc}} {{RULES}}'\n    )\n"
    (finding,) = parse(source).diagnostics
    assert (finding.span.line, finding.span.column, finding.span.end_column) == (4, 11, 16)
    assert "doc varies" in finding.message


def test_a_comment_on_the_line_of_the_call_counts() -> None:
    call = "    llm.generate(  # charter: ignore[CH101]\n        f'{doc} {RULES}'\n    )\n"
    assert parse(f"RULES = {RULES!r}\ndef run(llm, doc):\n{call}").diagnostics == ()
