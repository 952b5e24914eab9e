"""Findings for other programs: SARIF 2.1.0 for code scanners, workflow commands for GitHub Actions."""

from __future__ import annotations

import urllib.parse
from collections.abc import Sequence
from typing import Any

from charter_compiler.analysis.checks.codes import CODES
from charter_compiler.diagnostics.diagnostic import Diagnostic, Severity
from charter_compiler.diagnostics.span import Span
from charter_compiler.parser.ast_parser import FailedFile, ParsedAgent

SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
FAILED_LEVEL = Severity.ERROR
"""The level of a file that could not be parsed."""


def sarif(parsed: ParsedAgent, findings: Sequence[Diagnostic], version: str) -> dict[str, Any]:
    """A SARIF log of one run; ``version`` is that of Charter. Columns count Unicode characters. In a notebook, a place
    is the line of its file, and the message names the cell.

    Files that could not be parsed are notifications of the run, as the standard has it (section 3.20.21).
    """
    rules = list(dict.fromkeys(diagnostic.code for diagnostic in findings))
    return {
        "$schema": SARIF_SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": {"name": "charter", "version": version, "rules": [_rule(code) for code in rules]}},
                "columnKind": "unicodeCodePoints",
                "results": [_result(diagnostic, rules.index(diagnostic.code), parsed) for diagnostic in findings],
                "invocations": [
                    {
                        "executionSuccessful": not parsed.failed,
                        "toolExecutionNotifications": [
                            {
                                "level": str(FAILED_LEVEL),
                                "message": {"text": _message(failed)},
                                "locations": [_location(failed.file, {"startLine": _line_of(failed) or 1})],
                            }
                            for failed in parsed.failed
                        ],
                    }
                ],
            }
        ],
    }


def worst_severity(parsed: ParsedAgent, findings: Sequence[Diagnostic]) -> Severity | None:
    """The highest level of an annotation, ``None`` without any. A failed file is an error."""
    failed = (FAILED_LEVEL for _ in parsed.failed)
    return max((*failed, *(diagnostic.severity for diagnostic in findings)), default=None)


def _rule(code: str) -> dict[str, Any]:
    title, severity = CODES[code]
    return {"id": code, "shortDescription": {"text": title}, "defaultConfiguration": {"level": str(severity)}}


def _line_of(failed: FailedFile) -> int | None:
    """The line of the file; that of a cell is none."""
    return failed.line if failed.cell is None else None


def _message(failed: FailedFile) -> str:
    if failed.cell is None:
        return failed.message
    return f"cell {failed.cell}{'' if failed.line is None else f', line {failed.line}'}: {failed.message}"


def _in_notebook(span: Span, parsed: ParsedAgent) -> tuple[str, dict[str, int]] | None:
    """Of a span in a notebook: the words for its place, and the lines of the file on which it stands."""
    notebook = parsed.notebooks.get(span.file)
    if notebook is None:
        return None
    start, end = notebook.in_file(span.line), notebook.in_file(span.end_line)
    cell = notebook.at(span.line).number
    return f"cell {cell}, line {notebook.within(span).line}: ", {"startLine": start, "endLine": end}


def _result(diagnostic: Diagnostic, rule: int, parsed: ParsedAgent) -> dict[str, Any]:
    span = diagnostic.span
    words, region = _in_notebook(span, parsed) or (
        "",
        {
            "startLine": span.line,
            "startColumn": span.column,
            "endLine": span.end_line,
            "endColumn": span.end_column,
        },
    )
    return {
        "ruleId": diagnostic.code,
        "ruleIndex": rule,
        "level": str(diagnostic.severity),
        "message": {"text": f"{words}{diagnostic.message}. {diagnostic.help}"},
        "locations": [_location(span.file, region)],
    }


def _location(file: str, region: dict[str, int]) -> dict[str, Any]:
    uri = urllib.parse.quote(file)
    return {"physicalLocation": {"artifactLocation": {"uri": uri}, "region": region}}


_GITHUB_LEVELS = {Severity.NOTE: "notice", Severity.WARNING: "warning", Severity.ERROR: "error"}


def github(parsed: ParsedAgent, findings: Sequence[Diagnostic]) -> str:
    """One workflow command a finding and a failed file; empty without any."""
    lines = []
    for failed in parsed.failed:
        number = _line_of(failed)
        line = f",line={number}" if number is not None else ""
        place = f"file={_property(failed.file)}{line}"
        lines.append(f"::{_GITHUB_LEVELS[FAILED_LEVEL]} {place}::{_data(_message(failed))}")
    for diagnostic in findings:
        span = diagnostic.span
        # GitHub takes columns only for a range within one line.
        columns = f",col={span.column},endColumn={span.end_column}" if span.line == span.end_line else ""
        lines_of = f"line={span.line},endLine={span.end_line}{columns}"
        words = ""
        if (found := _in_notebook(span, parsed)) is not None:
            words, region = found
            lines_of = f"line={region['startLine']},endLine={region['endLine']}"
        place = f"file={_property(span.file)},{lines_of}"
        text = _data(f"{words}{diagnostic.message}. {diagnostic.help}")
        lines.append(f"::{_GITHUB_LEVELS[diagnostic.severity]} {place},title={diagnostic.code}::{text}")
    return "".join(line + "\n" for line in lines)


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
