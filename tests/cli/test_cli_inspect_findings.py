"""``charter inspect`` and its findings: SARIF, the pre-commit hook, when a tokenizer is loaded."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from charter_compiler.analysis.checks.codes import CODES
from charter_compiler.cli import inspect
from charter_compiler.cli.main import main
from charter_compiler.cli.options.inspect import add_arguments

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / "tests" / "fixtures" / "diagnostics"
RULES = "Answer from the handbook only, name the chapter, and never promise a date. " * 20
DEFECT = f"RULES = {RULES!r}\n\n\ndef run(llm, question):\n    return llm.generate(f'{{question}} {{RULES}}')\n"
CLEAN = f"RULES = {RULES!r}\n\n\ndef run(llm, question):\n    return llm.generate(f'{{RULES}} {{question}}')\n"


@pytest.fixture
def sarif(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    (tmp_path / "bad.py").write_text("def f(:\n", encoding="utf-8")
    (tmp_path / "späße und mehr.py").write_text(DEFECT, encoding="utf-8")
    assert main(["inspect", str(FIXTURES / "defects"), str(tmp_path), "--format", "sarif"]) == 0
    log: dict[str, Any] = json.loads(capsys.readouterr().out)
    return log


def test_sarif_has_what_the_schema_requires(sarif: dict[str, Any]) -> None:
    """The parts of the official schema of SARIF 2.1.0 that concern what we write; it was validated against the whole
    schema with another program when this was written."""
    assert set(sarif) == {"$schema", "version", "runs"}
    assert sarif["version"] == "2.1.0"
    (run,) = sarif["runs"]
    assert set(run) == {"tool", "columnKind", "results", "invocations"}
    assert run["columnKind"] in ("utf16CodeUnits", "unicodeCodePoints")
    assert set(run["tool"]["driver"]) == {"name", "version", "rules"}
    assert len(run["results"]) >= 30
    for result in run["results"]:
        assert set(result) == {"ruleId", "ruleIndex", "level", "message", "locations"}
        assert result["level"] in ("none", "note", "warning", "error")
        assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
        assert isinstance(result["message"]["text"], str)
        for location in result["locations"]:
            check_location(location)
    (invocation,) = run["invocations"]
    assert invocation["executionSuccessful"] is False
    (notification,) = invocation["toolExecutionNotifications"]
    assert set(notification) == {"level", "message", "locations"}
    check_location(notification["locations"][0])


def check_location(location: dict[str, Any]) -> None:
    assert set(location) == {"physicalLocation"}
    place = location["physicalLocation"]
    # A URI reference: RFC 3986 allows no other characters.
    assert re.fullmatch(r"[A-Za-z0-9._~%/-]+", place["artifactLocation"]["uri"])
    region = place["region"]
    assert set(region) <= {"startLine", "startColumn", "endLine", "endColumn"}
    assert all(isinstance(value, int) and value >= 1 for value in region.values())
    if "endLine" in region:
        assert (region["endLine"], region["endColumn"]) >= (region["startLine"], region["startColumn"])


def test_sarif_rules_have_title_and_level(sarif: dict[str, Any]) -> None:
    rules = sarif["runs"][0]["tool"]["driver"]["rules"]
    assert len({rule["id"] for rule in rules}) == len(rules)
    for rule in rules:
        title, level = CODES[rule["id"]]
        assert rule["shortDescription"] == {"text": title}
        assert rule["defaultConfiguration"] == {"level": str(level)}


def hook() -> dict[str, str]:
    """The one hook of ``.pre-commit-hooks.yaml``, of whose form only ``key: value`` is used."""
    text = (ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8")
    assert text.startswith("- id: ")
    return dict(re.findall(r"^[ -] (\w+): (.+)$", text, re.MULTILINE))


@pytest.mark.parametrize(("source", "code"), [(DEFECT, 1), (CLEAN, 0), ("x = 1\n", 0), ("def f(:\n", 1)])
def test_the_pre_commit_hook(source: str, code: int, tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text(source, encoding="utf-8")
    program, *arguments = shlex.split(hook()["entry"])
    command = [str(Path(sys.executable).with_name(program)), *arguments, "agent.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == code, done.stderr
    if source == DEFECT:
        assert "agent.py:5:27: warning[CH101]" in done.stdout
        assert " ^^^^^^^^^^\n" in done.stdout
    if source == CLEAN:
        assert done.stdout == "1 file, 1 model call, 0 findings\n"


def test_the_pre_commit_hook_is_complete() -> None:
    assert set(hook()) == {"id", "name", "description", "entry", "language", "types", "require_serial"}
    assert hook()["language"] == "python"


def test_the_tokenizer_is_loaded_only_where_something_is_to_be_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise AssertionError("nothing is to be counted here")

    monkeypatch.setattr(inspect, "default_tokenizer", fail)
    path = tmp_path / "agent.py"
    path.write_text(CLEAN, encoding="utf-8")
    assert main(["inspect", str(path)]) == 0
    path.write_text(DEFECT, encoding="utf-8")
    with pytest.raises(AssertionError, match="nothing is to be counted"):
        inspect.run(inspect_arguments(path))


def inspect_arguments(path: Path) -> Any:
    import argparse

    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args([str(path)])


def test_findings_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "agent.py"
    path.write_text(DEFECT, encoding="utf-8")
    assert main(["inspect", "--findings", str(path)]) == 0
    output = capsys.readouterr().out
    assert "warning[CH101]" in output
    assert "tokens a call" in output
    assert output.endswith("1 file, 1 model call, 1 finding\n")
    assert "run#1" not in output


@pytest.mark.parametrize(("level", "code"), [("note", 1), ("warning", 1), ("error", 0)])
def test_fail_on_a_finding(level: str, code: int, tmp_path: Path) -> None:
    path = tmp_path / "agent.py"
    path.write_text(DEFECT, encoding="utf-8")
    assert main(["inspect", str(path), "--fail-on", level]) == code
