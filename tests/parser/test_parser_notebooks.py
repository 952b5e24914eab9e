"""Jupyter notebooks: code cells as one module, what is IPython's and not Python's, and where findings stand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from parser_show import prompt

from charter_compiler.analysis.checks import check
from charter_compiler.cli.main import main
from charter_compiler.diagnostics.errors import SourceError
from charter_compiler.ir.verify import verify
from charter_compiler.parser.ast_parser import AgentASTParser, ParsedAgent
from charter_compiler.parser.notebooks import read_notebook, without_magics
from charter_compiler.report.annotations import github, sarif
from charter_compiler.report.inspect_json import document

RULES = "Follow these rules. " * 40


def cell(source: str, kind: str = "code") -> dict[str, Any]:
    more: dict[str, Any] = {"execution_count": None, "outputs": []} if kind == "code" else {}
    return {"cell_type": kind, "metadata": {}, "source": source.splitlines(keepends=True), **more}


def write(path: Path, *cells: dict[str, Any], language: str = "python", indent: int | None = 1) -> Path:
    metadata = {"language_info": {"name": language}}
    content = {"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": list(cells)}
    path.write_text(json.dumps(content, indent=indent), encoding="utf-8")
    return path


def example(path: Path) -> Path:
    return write(
        path / "agent.ipynb",
        cell("# An agent\nllm.generate('no code')", "markdown"),
        cell(f"%load_ext dotenv\n!pip install openai\nfrom openai import OpenAI\nRULES = {RULES!r}\nclient = OpenAI()"),
        cell("def broken(:\n    pass"),
        cell("x = (", "raw"),
        cell(
            "\ndef ask(doc):\n    return client.responses.create(\n        input=f'{doc} {RULES}')\n\n"
            "for doc in load():\n    answer = ask('Sum up ' + doc)"
        ),
        cell("await client.responses.create(input=f'Check {answer}')"),
    )


def parsed(path: Path) -> ParsedAgent:
    found = AgentASTParser().parse_paths([path])
    verify(found.agent)
    return found


def test_the_code_cells_are_one_module(tmp_path: Path) -> None:
    example(tmp_path)
    found = parsed(tmp_path)
    assert [call.id for call in found.calls] == [
        "agent.ipynb:ask#1",
        "agent.ipynb:<module>#1",
        "agent.ipynb:<module>#2",
    ]
    one, two, three = found.calls
    assert prompt(one) == "user: {doc} " + RULES
    assert (prompt(two), two.kind, two.in_loop) == ("user: Sum up {doc@loop}", "wrapper", True)
    assert three.depends_on == (two.id,)


def test_a_cell_that_does_not_parse_is_listed_alone(tmp_path: Path) -> None:
    found = parsed(example(tmp_path))
    assert [(each.cell, each.line, each.message.partition(":")[0]) for each in found.failed] == [(3, 1, "syntax error")]
    assert found.files == 1
    with pytest.raises(SourceError, match=r"agent\.ipynb:cell 3:1: syntax error"):
        found.require()


def test_json_counts_cells_and_lines_within_them(tmp_path: Path) -> None:
    example(tmp_path)
    found = parsed(tmp_path)
    written = document(found, check(found.agent, found.sources))
    assert [(call["cell"], call["line"], call["column"]) for call in written["calls"]] == [
        (5, 3, 12),
        (5, 7, 14),
        (6, 1, 7),
    ]
    places = [(each["code"], each["cell"], each["line"], each["end_line"]) for each in written["diagnostics"]]
    assert ("CH101", 5, 4, 4) in places
    assert [(each["file"], each["cell"], each["line"]) for each in written["failed"]] == [("agent.ipynb", 3, 1)]


def test_a_python_file_has_no_cells(tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text("def run(llm, doc):\n    llm.generate(doc)\n    (", encoding="utf-8")
    (tmp_path / "other.py").write_text("def run(llm, doc):\n    llm.generate(doc)\n", encoding="utf-8")
    written = document(parsed(tmp_path), ())
    assert not any("cell" in each for each in (*written["calls"], *written["failed"]))


@pytest.mark.parametrize("indent", [1, None])
def test_sarif_and_github_name_the_line_of_the_file_and_the_cell(tmp_path: Path, indent: int | None) -> None:
    path = write(
        tmp_path / "n.ipynb",
        cell("# Title", "markdown"),
        cell("broken("),
        cell(f"RULES = {RULES!r}\ndef ask(llm, doc):\n    llm.generate(f'{{doc}} {{RULES}}')"),
        indent=indent,
    )
    found = parsed(tmp_path)
    findings = [each for each in check(found.agent, found.sources) if each.code == "CH101"]
    line = next(
        number
        for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if "llm.generate(" in text
    )
    (result,) = sarif(found, findings, "1")["runs"][0]["results"]
    assert result["locations"][0]["physicalLocation"]["region"] == {"startLine": line, "endLine": line}
    assert result["message"]["text"].startswith("cell 3, line 3: ")
    failure, warning = github(found, findings).splitlines()
    assert failure.startswith("::error file=n.ipynb::cell 2, line 1: syntax error")
    assert warning.startswith(f"::warning file=n.ipynb,line={line},endLine={line},title=CH101::cell 3, line 3: ")


def test_text_names_the_cell_and_shows_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example(tmp_path)
    assert main(["inspect", str(tmp_path)]) == 0
    written = capsys.readouterr().out
    assert "agent.ipynb:cell 5:3:12" in written
    assert "  4 |         input=f'{doc} {RULES}')" in written
    assert "agent.ipynb:cell 3:1: not read: syntax error" in written
    assert "1 cell not read" in written


def test_one_notebook_with_a_broken_cell_is_inspected_all_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(example(tmp_path))]) == 0
    assert "cell 6:1:7" in capsys.readouterr().out


MAGICS = {
    "a line magic": ("%matplotlib inline\nx = 1", ["pass", "x = 1"]),
    "a shell line and a block": ("if x:\n    !ls", ["if x:", "    pass"]),
    "a line that goes on": ("!pip install a \\\n  b\nx", ["pass", "", "x"]),
    "help": ("?llm\nllm.generate??\nx", ["pass", "pass", "x"]),
    "an assignment is not known": ("files = !ls *.md\nx", ["files = ...", "x"]),
    "what is timed is Python": ("%time f(x)\ny = %time f(x)", ["pass; f(x)", "y =       f(x)"]),
    "a cell of another language": ("%%bash\necho 'x", ["", ""]),
    "a timed cell": ("%%time\nf(x)", ["pass", "f(x)"]),
    "a remainder": ("x = (y\n% z)\nx = y \\\n% z", ["x = (y", "% z)", "x = y \\", "% z"]),
    "in a string": ("x = '''\n%d\n!'''\n%time", ["x = '''", "%d", "!'''", "pass"]),
    "a quote in a comment": ("x = 1  # don't (\n!ls", ["x = 1  # don't (", "pass"]),
    "an escaped quote": ("x = 'it\\'s'\n!ls", ["x = 'it\\'s'", "pass"]),
    "unequal": ("x != y", ["x != y"]),
}


@pytest.mark.parametrize("title", MAGICS)
def test_magics(title: str) -> None:
    written, expected = MAGICS[title]
    assert without_magics(written.split("\n")) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not a notebook: Expecting property name"),
        ("[1, 2]", "not a notebook: its cells cannot be found"),
        ('{"cells": 3}', "not a notebook: its cells"),
        ('{"cells": [{"source": "x"}]}', "not a notebook: its cells"),
        ('{"cells": [{"cell_type": "code", "source": [1]}]}', "not a notebook: its cells"),
        ("[" * 200_000, "nested too deeply"),
        ("", "not a notebook: Expecting value"),
    ],
)
def test_what_is_no_notebook_is_listed(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "n.ipynb").write_text(content, encoding="utf-8")
    (failed,) = parsed(tmp_path).failed
    assert (failed.file, failed.cell) == ("n.ipynb", None)
    assert message in failed.message


def test_other_bytes_are_listed(tmp_path: Path) -> None:
    (tmp_path / "n.ipynb").write_bytes(b'{"cells": "\xff"}')
    assert "not utf-8 text" in parsed(tmp_path).failed[0].message


def test_a_notebook_of_another_language_has_no_calls(tmp_path: Path) -> None:
    write(tmp_path / "n.ipynb", cell("llm.generate('x')"), language="R")
    found = parsed(tmp_path)
    assert (found.calls, found.failed, found.files) == ((), (), 1)


def test_older_and_terser_forms(tmp_path: Path) -> None:
    old = {
        "nbformat": 3,
        "worksheets": [{"cells": [{"cell_type": "code", "input": ["def run(llm):\n", "    llm('a')"]}]}],
    }
    assert read_notebook(json.dumps(old)).source == "def run(llm):\n    llm('a')\n"
    whole = {"cells": [{"cell_type": "code", "source": "a = 1\r\nb = 2"}]}
    notebook = read_notebook(json.dumps(whole))
    assert notebook.source == "a = 1\nb = 2\n"
    assert notebook.in_file(2) == 1


def test_lines_of_the_file_are_found_past_outputs_that_look_alike() -> None:
    cells = [
        {
            "source": ["a\n", "b"],
            "cell_type": "code",
            "outputs": [{"cells": [{"source": ["x"]}], "text": '{"source": ['}],
        },
        {"attachments": {"cells": {"source": "y"}}, "cell_type": "markdown", "source": ["z"]},
        {"cell_type": "code", "metadata": {"source": "m"}, "source": ["c\n", "d"]},
    ]
    text = json.dumps({"metadata": {"cells": [{"source": "w"}]}, "cells": cells}, indent=1)
    notebook = read_notebook(text)
    lines = text.splitlines()
    assert [lines[notebook.in_file(number) - 1].strip() for number in (1, 2, 3, 4)] == [
        '"a\\n",',
        '"b"',
        '"c\\n",',
        '"d"',
    ]
