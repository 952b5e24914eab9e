"""Files and folders: what is read, what it is called, and what happens to files that cannot be read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from charter_compiler.diagnostics.errors import SourceError, VerificationError
from charter_compiler.ir.verify import verify
from charter_compiler.parser import ast_parser
from charter_compiler.parser.ast_parser import AgentASTParser

CALL = "def run(llm, doc):\n    llm.generate(doc)\n"


def write(path: Path, content: str | bytes = CALL) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_a_folder_is_walked_in_order_without_foreign_folders(tmp_path: Path) -> None:
    for name in (
        "b.py",
        "a/z.py",
        "a/__init__.py",
        ".hidden/x.py",
        ".x.py",
        ".ipynb_checkpoints/x.ipynb",
        "__pycache__/x.py",
        "node_modules/x.py",
    ):
        write(tmp_path / name)
    write(tmp_path / "my_env" / "pyvenv.cfg", "")
    write(tmp_path / "my_env" / "lib" / "x.py")
    write(tmp_path / "notes.txt", "no Python")
    parsed = AgentASTParser().parse_paths([tmp_path])
    assert [call.span.file for call in parsed.calls] == ["a/__init__.py", "a/z.py", "b.py"]
    assert parsed.files == 3
    verify(parsed.agent)


def test_links_that_loop_end(tmp_path: Path) -> None:
    write(tmp_path / "a.py")
    os.symlink(tmp_path, tmp_path / "again")
    os.symlink(tmp_path / "a.py", tmp_path / "b.py")
    os.symlink(tmp_path / "c.py", tmp_path / "c.py")
    parsed = AgentASTParser().parse_paths([tmp_path])
    assert [call.span.file for call in parsed.calls] == ["a.py"]
    assert [failed.file for failed in parsed.failed] == ["c.py"]


def test_a_file_is_named_from_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "pkg" / "agent.py")
    monkeypatch.chdir(tmp_path)
    assert AgentASTParser().parse_file("pkg/agent.py").calls[0].id == "pkg/agent.py:run#1"
    assert AgentASTParser().parse_file(tmp_path / "pkg" / "agent.py").calls[0].id == "pkg/agent.py:run#1"
    assert AgentASTParser().parse_paths(["pkg"]).calls[0].id == "agent.py:run#1"


def test_equal_names_in_two_folders_stay_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "one" / "agent.py")
    write(tmp_path / "two" / "agent.py")
    monkeypatch.chdir(tmp_path)
    parsed = AgentASTParser().parse_paths(["one", "two", "one/agent.py"])
    assert [call.span.file for call in parsed.calls] == ["agent.py", "two/agent.py"]
    verify(parsed.agent)


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        ("x = (\n", 1, "syntax error: '(' was never closed"),
        ("def f(:\n    pass\n", 1, "syntax error"),
        ("  x = 1\n", 1, "syntax error: unexpected indent"),
        ("x = 'é'\n".encode("latin-1"), None, "missing encoding declaration"),
        ("\n\nx = 'é'\n".encode("latin-1"), None, "not utf-8 text: byte 7"),
        (b"# coding: no-such-encoding\n", None, "syntax error: unknown encoding"),
        (b"x = 1\0\n", None, "null byte"),
        ("print 'two'\n", 1, "syntax error"),
        ("x = " + "(" * 300 + ")" * 300, None, ""),
        ("x = " + "-" * 100_000 + "1", None, ""),
    ],
)
def test_what_cannot_be_parsed_is_listed(tmp_path: Path, content: str | bytes, line: int | None, message: str) -> None:
    bad, good = write(tmp_path / "bad.py", content), write(tmp_path / "good.py")
    parsed = AgentASTParser().parse_paths([tmp_path])
    (failed,) = parsed.failed
    assert failed.file == "bad.py"
    assert message in failed.message
    assert line is None or failed.line == line
    assert [call.span.file for call in parsed.calls] == [good.name]
    with pytest.raises(SourceError, match=r"bad\.py"):
        AgentASTParser().parse_file(bad).require()


@pytest.mark.parametrize(
    "content",
    ["", "\n\n", "# only a comment", b"\xef\xbb\xbf" + CALL.encode(), CALL.replace("\n", "\r\n")],
    ids=["empty", "blank", "comment", "byte order mark", "Windows line ends"],
)
def test_unusual_files_are_read(tmp_path: Path, content: str | bytes) -> None:
    parsed = AgentASTParser().parse_file(write(tmp_path / "a.py", content))
    assert parsed.failed == ()
    assert [call.span.line for call in parsed.calls] == ([2] if b"generate" in (tmp_path / "a.py").read_bytes() else [])


def test_a_declared_encoding_counts(tmp_path: Path) -> None:
    source = "# -*- coding: latin-1 -*-\ndef run(llm):\n    llm.generate('é')\n"
    parsed = AgentASTParser().parse_file(write(tmp_path / "a.py", source.encode("latin-1")))
    assert parsed.calls[0].messages[0].segments[0].text == "é"  # type: ignore[union-attr]


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file"):
        AgentASTParser().parse_file(tmp_path / "missing.py")


def test_nothing_is_run(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    source = f"import pathlib\npathlib.Path({str(marker)!r}).touch()\nraise SystemExit\n" + CALL
    parsed = AgentASTParser().parse_file(write(tmp_path / "a.py", source))
    assert parsed.failed == ()
    assert not marker.exists()


@pytest.mark.timeout(240)  # a hang guard: some seconds alone, more on a busy machine
def test_fifteen_thousand_lines(tmp_path: Path) -> None:
    turn = "    note{n} = f'{{doc}} {n} {{note{m}}}'[:9]\n    if flag == {n}:\n        note{n} = note{n} + 'x'\n"
    body = "".join(turn.format(n=n, m=n - 1) for n in range(1, 5_000))
    source = f"def run(llm, doc, flag):\n    note0 = ''\n{body}    llm.generate(note9)\n"
    parsed = AgentASTParser().parse_file(write(tmp_path / "long.py", source))
    assert parsed.failed == ()
    assert len(parsed.calls) == 1


@pytest.mark.timeout(60)
def test_a_long_chain_of_elif(tmp_path: Path) -> None:
    branches = "".join(f"    elif flag == {n}:\n        text = '{n}'\n" for n in range(400))
    source = f"def run(llm, flag):\n    if flag:\n        text = 'first'\n{branches}    llm.generate(text)\n"
    parsed = AgentASTParser().parse_file(write(tmp_path / "chain.py", source))
    assert len(parsed.calls) == 1


def test_illegal_ir_is_a_defect_and_never_leaves_the_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    (call,) = AgentASTParser().parse_source(CALL, "agent.py").calls
    monkeypatch.setattr(ast_parser, "calls_of", lambda *_: (call, call))
    with pytest.raises(VerificationError, match=r"agent\.py: call agent\.py:run#1: the id is used twice"):
        AgentASTParser().parse_source(CALL, "agent.py")


def test_a_program_in_the_repository_of_an_sdk_uses_the_sdk(tmp_path: Path) -> None:
    write(tmp_path / "pyproject.toml", '[project]\nname = "smolagents"\n')
    write(tmp_path / "src/smolagents/__init__.py", "from .agents import CodeAgent\n")
    write(
        tmp_path / "src/smolagents/agents.py",
        "class CodeAgent:\n    def run(self, task):\n        self.memory = [task]\n",
    )
    example = "from smolagents import CodeAgent\ndef main(doc):\n    CodeAgent(tools=[]).run('Sum up ' + doc)\n"
    write(tmp_path / "examples/sum_up.py", example)
    (call,) = AgentASTParser().parse_paths([tmp_path]).calls
    assert (call.span.file, call.kind, call.api) == ("examples/sum_up.py", "root", "smolagents.agent")


def test_a_project_that_is_no_sdk_keeps_its_own_modules(tmp_path: Path) -> None:
    write(tmp_path / "pyproject.toml", '[project]\nname = "my-agents"\n')
    write(tmp_path / "agents.py", "class Agent:\n    def run(self, llm, task):\n        return llm.generate(task)\n")
    write(
        tmp_path / "main.py", "from agents import Agent\ndef main(llm, doc):\n    Agent().run(llm, 'Sum up ' + doc)\n"
    )
    kinds = {call.span.file: call.kind for call in AgentASTParser().parse_paths([tmp_path]).calls}
    assert kinds == {"agents.py": "root", "main.py": "wrapper"}


def test_a_form_feed_and_a_line_separator_end_no_line() -> None:
    for odd in ("\x0c", "\u2028", "\x85"):
        source = (
            f"class Bot:\n    def run(self, doc):\n        x = 1  # {odd}one\n        return self.llm.generate(doc)\n"
        )
        assert len(AgentASTParser().parse_source(source).calls) == 1, ascii(odd)
