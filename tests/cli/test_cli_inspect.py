"""``charter inspect``: its formats, its exit codes, and what it says of bad input."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from charter_compiler.cli.main import main

ROOT = Path(__file__).parent.parent.parent
GOLDEN = ROOT / "tests" / "fixtures" / "inspect"


@pytest.fixture
def agents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "agents").mkdir()
    for name in ("delta_processor.py", "document_processor.py", "report_analyst.py"):
        shutil.copy(ROOT / "examples" / "agents" / name, tmp_path / "agents")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "agents"


@pytest.mark.parametrize(
    ("form", "name"),
    [
        ("json", "document_processor.json"),
        ("text", "delta_processor.txt"),
        ("sarif", "delta_processor.sarif"),
        ("github", "delta_processor.github"),
        ("dot", "document_processor.dot"),
        ("mermaid", "document_processor.mmd"),
    ],
)
def test_golden(
    form: str, name: str, agents: Path, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> None:
    assert main(["inspect", f"agents/{Path(name).stem}.py", "--format", form]) == 0
    output = capsys.readouterr().out
    # Charter's own version is in the SARIF log.
    output = re.sub(r'("version": ")\d+\.\d+\.\d+[^"]*(",\s+"rules")', r"\g<1>VERSION\2", output)
    path = GOLDEN / name
    if request.config.getoption("--update-golden"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(output, encoding="utf-8")
    assert output == path.read_text(encoding="utf-8")


def inspect_json(capsys: pytest.CaptureFixture[str], *paths: str) -> dict[str, Any]:
    assert main(["inspect", *paths, "--format", "json"]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_json_has_the_keys_of_the_contract(agents: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = inspect_json(capsys, "agents")
    assert list(document) == ["version", "files", "failed", "calls", "diagnostics"]
    assert (document["version"], document["files"], document["failed"]) == (1, 3, [])
    assert len(document["calls"]) == 6
    assert list(document["calls"][0]) == [
        "id", "file", "line", "column", "function", "kind", "api", "callee", "forward", "messages", "model",
        "max_tokens", "temperature", "in_loop", "loop_depth", "depends_on",
    ]  # fmt: skip
    assert list(document["diagnostics"][0]) == [
        "code", "severity", "file", "line", "column", "end_line", "end_column", "message", "help", "tokens",
    ]  # fmt: skip


def test_json_shows_every_kind_of_segment(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = (
        "def run(llm, doc, docs):\n"
        "    one = llm.generate(doc)\n"
        "    end = '!' if doc else make()\n"
        "    llm.generate('Read' + one + one.strip() + doc + ''.join(f'{d};' for d in docs) + end)\n"
    )
    (tmp_path / "a.py").write_text(source, encoding="utf-8")
    call = inspect_json(capsys, str(tmp_path))["calls"][1]
    assert call["messages"][0]["segments"] == [
        {"type": "const", "text": "Read"},
        {"type": "call", "id": "a.py:run#1"},
        {"type": "call", "id": "a.py:run#1", "derived": True},
        {"type": "param", "name": "doc"},
        {"type": "repeat", "segments": [{"type": "param", "name": "d"}, {"type": "const", "text": ";"}]},
        {
            "type": "choice",
            "options": [
                [{"type": "const", "text": "!"}],
                [{"type": "unknown", "reason": "what make() returns is not known here"}],
            ],
        },
    ]
    assert call["line"] == 4
    assert call["depends_on"] == ["a.py:run#1"]


@pytest.mark.parametrize(
    ("agent", "level", "code"),
    [
        ("delta_processor", "note", 1),
        ("delta_processor", "warning", 1),
        ("delta_processor", "error", 0),
        ("document_processor", "note", 0),
    ],
)
def test_fail_on(agent: str, level: str, code: int, agents: Path) -> None:
    assert main(["inspect", f"agents/{agent}.py", "--fail-on", level]) == code


def test_a_missing_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(tmp_path / "missing.py")]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert re.fullmatch(r"charter: error: .*missing\.py: no such file or folder \(.*\)\n", captured.err)


@pytest.mark.parametrize("form", ["text", "json", "sarif", "github", "dot", "mermaid"])
def test_one_file_that_does_not_parse(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad.py").write_text("x = 1\ndef f(:\n", encoding="utf-8")
    assert main(["inspect", "bad.py", "--format", form]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("charter: error: bad.py:2: syntax error: ")
    assert captured.err.count("\n") == 1
    if form == "json":
        assert json.loads(captured.out)["failed"][0]["line"] == 2
    if form == "sarif":
        assert json.loads(captured.out)["runs"][0]["invocations"][0]["executionSuccessful"] is False


def test_a_broken_file_among_others_is_listed(agents: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (agents / "bad.py").write_text("def f(:\n", encoding="utf-8")
    assert main(["inspect", "agents"]) == 0
    assert "bad.py:1: not read: syntax error" in capsys.readouterr().out


@pytest.mark.parametrize("form", ["text", "github", "sarif"])
@pytest.mark.parametrize("level", ["note", "warning", "error"])
def test_a_broken_file_among_others_fails_every_level(level: str, form: str, tmp_path: Path) -> None:
    (tmp_path / "good.py").write_text("x = 1\n", encoding="utf-8")
    assert main(["inspect", str(tmp_path), "--fail-on", level, "--format", form]) == 0
    (tmp_path / "bad.py").write_text("def f(:\n", encoding="utf-8")
    assert main(["inspect", str(tmp_path), "--fail-on", level, "--format", form]) == 1


@pytest.mark.parametrize("content", ["", "x = 1\n"])
def test_a_file_without_calls(content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "empty.py"
    path.write_text(content, encoding="utf-8")
    assert main(["inspect", str(path)]) == 0
    assert capsys.readouterr().out == "1 file, 0 model calls, 0 findings\n"
