"""The wheel: what it must hold, and what it must not."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from charter_compiler.cli.demo import ENTRY, INPUTS

ROOT = Path(__file__).parents[2]


FIND_EXAMPLES = "from charter_compiler.cli import demo; print(demo.__file__, demo.examples_folder(), sep='\\n')"


@pytest.fixture(scope="module")
def wheel_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    built = subprocess.run(
        [*command, "--wheel-dir", str(folder), str(ROOT)], capture_output=True, text=True, timeout=120, check=False
    )
    assert built.returncode == 0, built.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def wheel(wheel_path: Path) -> zipfile.ZipFile:
    return zipfile.ZipFile(wheel_path)


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


def test_an_installed_wheel_finds_its_own_examples(wheel_path: Path, tmp_path: Path) -> None:
    target, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(target)]
    subprocess.run([*install, str(wheel_path)], check=True, capture_output=True, timeout=120)
    found = subprocess.run(
        [sys.executable, "-c", FIND_EXAMPLES],
        cwd=elsewhere,
        env={**os.environ, "PYTHONPATH": str(target)},  # comes before the checkout, which is installed editable
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    module, examples = map(Path, found.stdout.splitlines())
    assert module == target / "charter_compiler" / "cli" / "demo.py"
    assert examples == target / "charter_compiler" / "examples"
    assert (examples / ENTRY.partition(":")[0]).is_file()
    assert (examples / INPUTS).is_file()
