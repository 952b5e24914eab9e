"""Writes what a soak run did as JSON Lines: a line of conditions, then a line a test with its figures."""

from __future__ import annotations

import datetime
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from charter_compiler.api.environment import describe_environment

RESULTS = "SOAK_RESULTS"
"""Environment variable with the file to write; ``make soak`` sets it. Without it nothing is written."""
ROOT = Path(__file__).resolve().parents[2]


def _append(value: object, mode: str = "a") -> None:
    path = os.environ.get(RESULTS)
    if path:
        with Path(path).open(mode, encoding="utf-8") as file:
            file.write(json.dumps(value) + "\n")


@pytest.fixture(scope="session")
def conditions() -> None:
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    _append({"measured": now, "commit": commit.stdout.strip(), "environment": dict(describe_environment())}, "w")


@pytest.fixture
def figures(request: pytest.FixtureRequest, conditions: None) -> Iterator[dict[str, float]]:
    """A test puts its figures here; they are written when it has ended, beside whether it passed."""
    values: dict[str, float] = {}
    failed = request.session.testsfailed
    yield values
    _append({"test": request.node.name, "passed": request.session.testsfailed == failed, **values})
