"""Results of the acceptance tests, and their files: JSON for programs, JUnit XML for continuous integration."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

Figure = float | int | str | bool | None
"""``None`` is a figure that the server does not report."""


class Status(StrEnum):
    """How a case ended. ``ERROR``: it could not be carried out; ``SKIPPED``: it was not begun, and says why."""

    PASSED = "passed"
    FAILED = "failed"
    ERROR = "error"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Check:
    """A figure against what it must be. ``passed`` is ``None`` where it is not judged; ``note`` says why."""

    name: str
    measured: Figure
    required: str
    passed: bool | None
    note: str = ""

    def __str__(self) -> str:
        verdict = {True: "ok", False: "FAILED", None: "not judged"}[self.passed]
        note = f" ({self.note})" if self.note else ""
        return f"{self.name}: {show(self.measured)}, required {self.required}: {verdict}{note}"


@dataclass(frozen=True, slots=True)
class CaseResult:
    """One case. ``seconds`` is its wall time; ``figures`` are what was measured; ``monitored`` is how much each
    monitored sample of the server changed."""

    name: str
    seconds: float
    checks: tuple[Check, ...] = ()
    figures: Mapping[str, Figure] = field(default_factory=dict)
    monitored: Mapping[str, float] = field(default_factory=dict)
    problem: str = ""
    skipped: bool = False

    @property
    def status(self) -> Status:
        if self.skipped:
            return Status.SKIPPED
        if self.problem:
            return Status.ERROR
        return Status.FAILED if any(check.passed is False for check in self.checks) else Status.PASSED


@dataclass(frozen=True, slots=True)
class SuiteResult:
    """All cases, on one server. ``environment`` is the client's machine; ``started`` is UTC in ISO form."""

    target: str
    server: str
    started: str
    cases: tuple[CaseResult, ...]
    environment: tuple[tuple[str, str], ...]

    @property
    def passed(self) -> bool:
        """Every case that was asked for was carried out and reached its thresholds."""
        return all(case.status is Status.PASSED for case in self.cases)

    def count(self, status: Status) -> int:
        return sum(case.status is status for case in self.cases)


def show(value: Figure) -> str:
    """A figure for people."""
    if value is None:
        return "not reported"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def to_json(result: SuiteResult) -> str:
    """``{"target", "server", "started", "passed", "environment", "cases": [{"name", "status", ...}]}``."""
    cases: list[dict[str, Any]] = [{"status": str(case.status), **asdict(case)} for case in result.cases]
    value = {
        "target": result.target,
        "server": result.server,
        "started": result.started,
        "passed": result.passed,
        "environment": dict(result.environment),
        "cases": cases,
    }
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def to_junit(result: SuiteResult, *, name: str = "charter.deployment") -> str:
    """One ``testsuite``, a ``testcase`` a case with its figures as properties: the form that CI services read."""
    suite = ET.Element(
        "testsuite",
        name=name,
        timestamp=result.started,
        tests=str(len(result.cases)),
        failures=str(result.count(Status.FAILED)),
        errors=str(result.count(Status.ERROR)),
        skipped=str(result.count(Status.SKIPPED)),
        time=f"{sum(case.seconds for case in result.cases):.3f}",
    )
    properties = ET.SubElement(suite, "properties")
    for key, text in (("target", result.target), ("server", result.server), *result.environment):
        ET.SubElement(properties, "property", name=key, value=text)
    for case in result.cases:
        _test_case(suite, name, case)
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _test_case(suite: ET.Element, classname: str, case: CaseResult) -> None:
    element = ET.SubElement(suite, "testcase", classname=classname, name=case.name, time=f"{case.seconds:.3f}")
    if case.figures:
        properties = ET.SubElement(element, "properties")
        for key, value in case.figures.items():
            ET.SubElement(properties, "property", name=key, value=show(value))
    if case.status is Status.SKIPPED:
        ET.SubElement(element, "skipped", message=case.problem)
    elif case.status is Status.ERROR:
        ET.SubElement(element, "error", message=case.problem)
    elif case.status is Status.FAILED:
        failed = [str(check) for check in case.checks if check.passed is False]
        ET.SubElement(element, "failure", message=failed[0]).text = "\n".join(failed)
    if case.checks:
        ET.SubElement(element, "system-out").text = "\n".join(map(str, case.checks))
