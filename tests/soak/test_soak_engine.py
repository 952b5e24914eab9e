"""The engine's long benchmarks as tests: what they count must hold."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.server, pytest.mark.soak, pytest.mark.timeout(7200)]

FOLDER = Path(__file__).parents[2] / "benchmarks" / "engine"


@pytest.mark.parametrize(
    ("script", "arguments"), [("counted.py", ["--requests", "1000"]), ("endurance.py", ["--requests", "20000"])]
)
def test_nothing_is_miscounted_and_nothing_left(
    script: str, arguments: list[str], tmp_path: Path, figures: dict[str, float]
) -> None:
    command = [sys.executable, FOLDER / script, *arguments, "-o", tmp_path / "out.jsonl"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    figures.update(requests=int(arguments[1]), exit_code=done.returncode)
    assert done.returncode == 0, done.stdout + done.stderr
