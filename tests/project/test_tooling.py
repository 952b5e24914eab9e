"""The ways to run things: every make target that the documents name exists, and the pre-commit hooks are local."""

from __future__ import annotations

import os
import platform
import re
import runpy
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z-]+):.*## ", MAKEFILE, re.M))
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_help_lists_every_documented_target() -> None:
    shown = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, check=True, capture_output=True, text=True, timeout=60
    )
    assert set(re.findall(r"^  make ([a-z-]+)", shown.stdout, re.M)) == TARGETS
    assert {"demo", "test", "test-system", "soak", "check", "format", "lock", "build", "clean"} <= TARGETS


@pytest.mark.parametrize("path", DOCUMENTS, ids=[path.name for path in DOCUMENTS])
def test_every_make_target_in_the_documents_exists(path: Path) -> None:
    named = set(re.findall(r"`make ([a-z-]+)", path.read_text(encoding="utf-8")))
    assert named <= TARGETS


def prerequisites(target: str) -> set[str]:
    (listed,) = re.findall(rf"^{target}:(.*?)##", MAKEFILE, re.M)
    return set(listed.split())


@pytest.mark.parametrize("target", ["test", "test-system", "soak"])
def test_what_asks_the_server_has_platform_and_weights(target: str) -> None:
    assert prerequisites(target) >= {"platform", "weights"}


@pytest.mark.parametrize("mark", ["system", "soak", "peer"])
def test_each_target_for_a_mark_finds_tests(mark: str) -> None:
    files = (ROOT / "tests").rglob("test_*.py")
    decorated = re.compile(rf"^(?:@|pytestmark = .*)pytest\.mark\.{mark}\b", re.M)
    assert any(decorated.search(path.read_text(encoding="utf-8")) for path in files)


def test_programs_of_the_system_are_used_in_system_tests_alone() -> None:
    needed = re.search(r"^needed='(.*)'", (ROOT / "tools" / "system_programs.sh").read_text(encoding="utf-8"), re.M)
    assert needed is not None
    programs = [name for entry in needed[1].split() for name in entry.partition(":")[2].split("|")]
    assert {"curl", "shellcheck", "chromium"} <= set(programs)
    started = re.compile(rf"""\[\s*["'](?:{"|".join(programs)})["']""")
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        if started.search(text):
            assert "pytest.mark.system" in text, path


def test_hooks_run_from_the_environment_and_fetch_nothing() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert [repo["repo"] for repo in config["repos"]] == ["local"]
    for hook in config["repos"][0]["hooks"]:
        assert hook["language"] == "system"
        assert hook["entry"].startswith(".venv/bin/")


def find_python(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {"PATH": f"{tmp_path}:/usr/bin:/bin", **environment}
    return subprocess.run(
        [str(ROOT / "tools" / "find_python.sh")], env=clean, capture_output=True, text=True, timeout=60, check=False
    )


def fake_python(folder: Path, name: str, *, works: bool) -> Path:
    """An interpreter that answers the version check with its own path, or fails as a dangling shim does."""
    path = folder / name
    path.write_text("#!/bin/sh\n" + (f"echo {path}\n" if works else "exit 127\n"))
    path.chmod(0o755)
    return path


def test_an_interpreter_with_server_wheels_comes_first(tmp_path: Path) -> None:
    fake_python(tmp_path, "python3.12", works=False)
    wanted = fake_python(tmp_path, "python3.11", works=True)
    fake_python(tmp_path, "python3", works=True)
    assert find_python(tmp_path).stdout.strip() == str(wanted)


def test_the_interpreter_given_is_taken_or_refused(tmp_path: Path) -> None:
    wanted = fake_python(tmp_path, "mine", works=True)
    assert find_python(tmp_path, PYTHON=str(wanted)).stdout.strip() == str(wanted)
    old = fake_python(tmp_path, "old", works=False)
    refused = find_python(tmp_path, PYTHON=str(old))
    assert refused.returncode == 1
    assert refused.stderr.strip() == f"make: PYTHON={old} is not Python 3.11 or later (give the path of one)"


def test_an_unsupported_platform_is_one_clear_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main = runpy.run_path(str(ROOT / "tools" / "check_platform.py"))["main"]
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert main() == 1
    assert re.fullmatch(r"make: the embedded server needs .*this is Linux riscv64.*\n", capsys.readouterr().err)


def test_ci_is_executable() -> None:
    for name in (".ci/run", "tools/find_python.sh", "tools/system_programs.sh"):
        assert os.access(ROOT / name, os.X_OK), name
