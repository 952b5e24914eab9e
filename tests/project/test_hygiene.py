"""What no tracked file may hold: a package registry's host, a path of one machine, a pin without hashes.

The forbidden words are put together here, so that this file does not hold them either.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOT = r"\."
REGISTRIES = (
    "pypi" + DOT + "org",
    "python" + "hosted" + DOT + "org",
    "ana" + "conda" + DOT + "org",
    "npm" + "js" + DOT + "(?:org|com)",
    "crates" + DOT + "io",
    "docker" + DOT + "io",
    "ghcr" + DOT + "io",
    "nvcr" + DOT + "io",
)
HOST = re.compile("|".join(REGISTRIES), re.IGNORECASE)
FOLDERS = ("work", "root", "home", "Users", "farm", "tmp/exp", "tmp/infra")
IMAGE = re.compile("nvcr" + DOT + r"io/nvidia/[a-z-]+:[0-9][0-9.]*[a-z0-9-]+")
"""A pinned container image, which is named so that who sets up a server gets that one and no other."""
MACHINE_PATH = re.compile(r"(?<![\w.\-/])/(?:" + "|".join(FOLDERS) + r")/[A-Za-z0-9_.]")
DATA = ("examples/data/", "LICENSE")
"""Text of others, kept as it is."""


def tracked_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True, timeout=60)
    names = [name for name in listed.stdout.split("\0") if name and not name.startswith(DATA)]
    return [ROOT / name for name in names if (ROOT / name).is_file()]


def matches(pattern: re.Pattern[str]) -> list[str]:
    found = []
    for path in tracked_files():
        text = path.read_bytes().decode("utf-8", errors="replace")
        for number, line in enumerate(text.splitlines(), start=1):
            if pattern.search(IMAGE.sub("", line)):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:120]}")
    return found


def test_no_file_names_a_package_registry() -> None:
    assert matches(HOST) == []


def test_no_file_names_a_path_of_one_machine() -> None:
    assert matches(MACHINE_PATH) == []


def test_the_patterns_find_what_they_are_for() -> None:
    assert HOST.search("https://" + "pypi" + ".org/simple")
    assert HOST.search("https://files." + "python" + "hosted.org/packages")
    image = "nvcr" + ".io/nvidia/tritonserver"
    assert not HOST.search(IMAGE.sub("", f"{image}:25.12-trtllm-python-py3"))
    assert HOST.search(IMAGE.sub("", f"{image}:latest")), "not pinned"
    assert MACHINE_PATH.search("see /" + "work/main")
    assert MACHINE_PATH.search("cd /" + "home/someone")
    assert not MACHINE_PATH.search("docs/work/notes.md and https://example.org/home/page")


CONSTRAINTS = sorted((ROOT / "constraints").glob("*.txt"))


@pytest.mark.parametrize("path", CONSTRAINTS, ids=[path.stem for path in CONSTRAINTS])
def test_every_pin_is_exact_and_has_hashes(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    entries = [entry for entry in re.split(r"\n(?=\S)", text) if not entry.startswith("#")]
    assert len(entries) > 10
    for entry in entries:
        first = entry.splitlines()[0]
        assert re.match(r"[a-z0-9][a-z0-9._-]*==\S+", first), first
        hashes = re.findall(r"--hash=sha256:[0-9a-f]{64}", entry)
        assert hashes, first
        assert len(hashes) == len(entry.splitlines()) - 1, f"something besides hashes: {entry[:200]}"
    assert not re.search(r"://|@ |--(?:index|extra-index|find-links)", text)


def test_there_is_a_set_for_each_way_to_install() -> None:
    assert [path.stem for path in CONSTRAINTS] == ["core", "local", "test"]


def pins(name: str) -> dict[str, set[str]]:
    """Versions by package; a universal set may hold several, each for its own platforms."""
    result: dict[str, set[str]] = {}
    for package, version in re.findall(
        r"^([a-z0-9._-]+)==(\S+)", (ROOT / "constraints" / f"{name}.txt").read_text(), re.M
    ):
        result.setdefault(package, set()).add(version)
    return result


def test_tests_run_with_what_a_user_of_the_local_extra_gets() -> None:
    test, local = pins("test"), pins("local")
    assert {name: test.get(name) for name in local} == local


def test_the_core_set_holds_no_server_and_no_model_library() -> None:
    assert not {"nvidia-pytriton", "xllamacpp", "torch", "vllm", "pytest"} & set(pins("core"))


def test_nothing_sends_the_user_to_another_project_of_the_same_name() -> None:
    """On the Python index ``charter-compiler`` is somebody else's."""
    name = "charter-" + "compiler"
    assert matches(re.compile(rf"pip install[^\n]*{name}(\[|\b(?!['\w\-]*\.whl))")) == []
