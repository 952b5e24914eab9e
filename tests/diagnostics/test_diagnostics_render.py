"""Findings as text: place, source line, caret, remedy."""

from __future__ import annotations

import pytest

from charter_compiler.diagnostics.diagnostic import Diagnostic, Severity
from charter_compiler.diagnostics.render import LINE_LIMIT, excerpt, render
from charter_compiler.diagnostics.span import Span

SOURCE = "first line\r\n\tdef é(x): return x\nlast\n"


def test_render() -> None:
    finding = Diagnostic("CH101", Severity.WARNING, Span("a.py", 2, 6, 2, 10), "the message", "the remedy", tokens=12)
    assert render(finding, SOURCE).split("\n") == [
        "a.py:2:6: warning[CH101]: the message (12 tokens a call)",
        "  2 | \tdef é(x): return x",
        "    | \t    ^^^^",
        "  help: the remedy",
    ]
    assert render(finding, None).count("\n") == 1


@pytest.mark.parametrize(
    ("span", "carets"),
    [
        (Span("a.py", 1, 7, 1, 11), "      ^^^^"),
        (Span("a.py", 1, 7, 3, 2), "      ^^^^"),
        (Span("a.py", 1, 7, 1, 7), "      ^"),
        (Span("a.py", 1, 90, 1, 99), "          ^"),
    ],
    ids=["within", "several lines", "empty", "behind the end"],
)
def test_caret(span: Span, carets: str) -> None:
    assert excerpt(span, SOURCE)[1] == "    | " + carets


def test_a_line_that_is_not_there() -> None:
    assert excerpt(Span("a.py", 9, 1, 9, 2), SOURCE) == []


@pytest.mark.parametrize("column", [1, 300, 990])
def test_a_long_line_is_cut_around_the_caret(column: int) -> None:
    line = "".join(chr(ord("a") + index % 26) for index in range(1000))
    shown, caret = excerpt(Span("a.py", 1, column, 1, column + 5), line)
    prefix = len("  1 | ")
    assert len(shown) <= LINE_LIMIT + prefix
    start = caret.index("^")
    assert shown[start : start + 5] == line[column - 1 : column + 4]
    assert caret.count("^") == 5
