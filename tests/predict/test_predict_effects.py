from __future__ import annotations

from pathlib import Path

import pytest

from charter_compiler.predict.effects import possible_effects, project_files

EXAMPLES = Path(__file__).parents[2] / "examples" / "agents"


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_the_shipped_agents_only_compute(path: Path) -> None:
    assert possible_effects(path, path.parent) == ()


@pytest.mark.parametrize(
    ("source", "line", "reason"),
    [
        ("import json\nimport requests\n", 2, "imports requests"),
        ("from os.path import join\n", 1, "imports os.path"),
        ("def f():\n    from subprocess import run\n", 2, "imports subprocess"),
        ("def f():\n    return open('x')\n", 2, "calls open()"),
        (
            "import asyncio\nasync def f():\n    await asyncio.create_subprocess_exec('x')\n",
            3,
            "create_subprocess_exec",
        ),
        ("from . import missing\n", 1, "imports ."),
        ("def broken(:\n", 1, "cannot be read"),
    ],
)
def test_what_may_act_on_the_outside_is_seen(tmp_path: Path, source: str, line: int, reason: str) -> None:
    path = tmp_path / "agent.py"
    path.write_text(source, encoding="utf-8")
    effects = possible_effects(path, tmp_path)
    assert [effect.line for effect in effects] == [line]
    assert reason in effects[0].reason


def test_modules_of_the_project_are_read_too(tmp_path: Path) -> None:
    package = tmp_path / "pkg"
    package.mkdir()
    (package / "__init__.py").write_text("import json\n", encoding="utf-8")
    (package / "agent.py").write_text("from . import helper\nfrom pkg.other import f\n", encoding="utf-8")
    (package / "helper.py").write_text("import re\n", encoding="utf-8")
    (package / "other.py").write_text("import re\nimport smtplib\n", encoding="utf-8")
    effects = possible_effects(package / "agent.py", tmp_path)
    assert [str(effect) for effect in effects] == [f"{package / 'other.py'}:2 imports smtplib"]
    (package / "unused.py").touch()
    names = {path.name for path in project_files(package / "agent.py", tmp_path)}
    assert names == {"__init__.py", "agent.py", "helper.py", "other.py"}


def test_the_packages_that_a_file_lies_in_run_too(tmp_path: Path) -> None:
    inner = tmp_path / "pkg" / "inner"
    inner.mkdir(parents=True)
    (tmp_path / "pkg" / "__init__.py").write_text("open('x')\n", encoding="utf-8")
    (inner / "__init__.py").touch()
    (inner / "agent.py").touch()
    effects = possible_effects(inner / "agent.py", tmp_path)
    assert [str(effect) for effect in effects] == [f"{tmp_path / 'pkg' / '__init__.py'}:1 calls open()"]
