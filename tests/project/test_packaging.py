"""The wheel: what it must hold, and what it must not."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    built = subprocess.run(
        [*command, "--wheel-dir", str(folder), str(ROOT)], capture_output=True, text=True, timeout=120, check=False
    )
    assert built.returncode == 0, built.stderr
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def tracked(*patterns: str) -> set[str]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", *patterns], cwd=ROOT, check=True, capture_output=True, text=True, timeout=60
    )
    return {name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()}


def test_every_file_of_the_package_is_in_the_wheel(wheel: zipfile.ZipFile) -> None:
    files = tracked("charter_compiler")
    assert "charter_compiler/py.typed" in files
    assert "charter_compiler/report/templates/report.html.j2" in files
    assert files <= set(wheel.namelist())


def test_the_examples_that_charter_demo_runs_are_in_the_wheel(wheel: zipfile.ZipFile) -> None:
    examples = {f"charter_compiler/{name}" for name in tracked("examples/agents", "examples/data")}
    assert "charter_compiler/examples/agents/document_processor.py" in examples
    assert examples <= set(wheel.namelist())


def test_the_wheel_holds_nothing_else(wheel: zipfile.ZipFile) -> None:
    roots = {name.split("/", 1)[0] for name in wheel.namelist()}
    info = {name for name in roots if name.endswith(".dist-info")}
    assert roots - info == {"charter_compiler"}
    assert not [name for name in wheel.namelist() if name.endswith((".pyc", ".gguf", ".so"))]


def test_the_metadata_names_command_extras_and_licence(wheel: zipfile.ZipFile) -> None:
    names = wheel.namelist()
    (metadata_name,) = (name for name in names if name.endswith(".dist-info/METADATA"))
    metadata = Parser().parsestr(wheel.read(metadata_name).decode())
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata.get_all("License-File") == ["LICENSE", "NOTICE"]
    assert set(metadata.get_all("Provides-Extra") or ()) >= {"local", "dev"}
    (entry_points,) = (name for name in names if name.endswith(".dist-info/entry_points.txt"))
    assert "charter = charter_compiler.cli.main:main" in wheel.read(entry_points).decode()
