"""Seeded defects in realistic files, each found with its code at its line, and near-misses about which nothing is said.

A file of ``defects`` begins with its title and with what is expected: a code, and words of the line of the finding.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from charter_compiler.analysis.checks import check
from charter_compiler.diagnostics.diagnostic import Diagnostic
from charter_compiler.parser.ast_parser import AgentASTParser
from charter_compiler.tokens.tokenizer import default_tokenizer

FOLDER = Path(__file__).parents[1] / "fixtures" / "diagnostics"
DEFECTS = sorted((FOLDER / "defects").glob("*.py"))
CLEAN = sorted((FOLDER / "clean").glob("*.py"))
_EXPECTED = re.compile(r"# expect: (CH\d{3}) \| (.+)")


def expected(text: str) -> list[tuple[str, int]]:
    """(code, line) of each defect."""
    lines = text.split("\n")
    found = []
    for line in lines:
        match = _EXPECTED.fullmatch(line)
        if match is not None:
            places = [n for n, each in enumerate(lines, 1) if match[2] in each and not each.startswith("# expect: ")]
            assert len(places) == 1, f"{line}: {len(places)} lines hold that"
            found.append((match[1], places[0]))
    return found


def findings(path: Path) -> tuple[Diagnostic, ...]:
    parsed = AgentASTParser().parse_paths([path])
    assert parsed.failed == ()
    return check(parsed.agent, parsed.sources, default_tokenizer)


@pytest.mark.parametrize("path", DEFECTS, ids=[path.stem for path in DEFECTS])
def test_every_defect_is_found_and_nothing_else(path: Path) -> None:
    assert path.read_text(encoding="utf-8").startswith("# title: ")
    found = findings(path)
    assert sorted((each.code, each.span.line) for each in found) == sorted(expected(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", CLEAN, ids=[path.stem for path in CLEAN])
def test_nothing_is_said_of_near_misses(path: Path) -> None:
    assert path.read_text(encoding="utf-8").startswith("# title: ")
    assert [(each.code, each.span.line, each.message) for each in findings(path)] == []


def test_there_are_forty_defects_and_as_many_near_misses() -> None:
    assert sum(len(expected(path.read_text(encoding="utf-8"))) for path in DEFECTS) >= 40
    functions = re.compile(r"^ *(?:async )?def (?!__init__)", re.MULTILINE)
    assert sum(len(functions.findall(path.read_text(encoding="utf-8"))) for path in CLEAN) >= 40


def test_what_a_lost_prefix_costs_is_counted() -> None:
    found = [each for path in DEFECTS for each in findings(path) if each.code in ("CH101", "CH103", "CH104", "CH106")]
    assert found
    assert all(each.tokens is not None and each.tokens >= 100 for each in found)
