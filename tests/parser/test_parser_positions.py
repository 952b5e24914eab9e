"""Spans in characters: columns behind wide characters, and the parts of f-strings (Python 3.11 gives them no place)."""

from __future__ import annotations

import ast

import pytest

from charter_compiler.diagnostics.span import Span
from charter_compiler.parser.positions import Positions

F_STRINGS = {
    'f"a{x}b"': ['f"a', "{x}", 'b"'],
    'rf"\\{x}"': ['rf"\\', "{x}"],
    'f"\\\\{x}"': ['f"\\\\', "{x}"],
    'f"\\\\N{x}"': ['f"\\\\N', "{x}"],
    'f"\\N{BULLET} {x}"': ['f"\\N{BULLET} ', "{x}"],
    'f"{{}}{x}{{"': ['f"{{}}', "{x}", '{{"'],
    "f\"{d['}']}{x}\"": ["{d['}']}", "{x}"],
    'f"{x:{w}}{x!r}"': ["{x:{w}}", "{x!r}"],
    'f"{x=}"': ['f"', "{x=}"],
    '"{no}" f"{x}" "{no}" f\'{w}\'': ['"{no}" f"', "{x}", '" "{no}" f\'', "{w}"],
    'f"""é\n{x}\n  {w}😀"""': ['f"""é\n', "{x}", "\n  ", "{w}", '😀"""'],
    'F"{x}"': ["{x}"],
}


def text_at(source: str, span: Span) -> str:
    lines = source.split("\n")[span.line - 1 : span.end_line]
    lines[-1] = lines[-1][: span.end_column - 1]
    lines[0] = lines[0][span.column - 1 :]
    return "\n".join(lines)


@pytest.mark.parametrize("before", ["y = ", "é = '😀'; y = ", "(\n  "], ids=["plain", "wide", "own line"])
@pytest.mark.parametrize("written", F_STRINGS)
def test_parts_of_an_f_string(written: str, before: str) -> None:
    source = before + written + (")" if before.startswith("(") else "") + "\n"
    node = next(node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.JoinedStr))
    spans = Positions("a.py", source).of_fstring(node)
    assert [text_at(source, span) for span in spans] == F_STRINGS[written]


def test_columns_count_characters() -> None:
    source = "é = '😀'; name\r\nother = 1\n"
    name = ast.parse(source).body[1]
    assert isinstance(name, ast.Expr)
    assert Positions("a.py", source).of(name.value) == Span("a.py", 1, 10, 1, 14)
