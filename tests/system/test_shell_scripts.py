from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def shell_scripts() -> list[Path]:
    """Tracked files whose first line names a shell."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True, timeout=60)
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    return [
        path
        for path in paths
        if path.is_file() and path.read_bytes().startswith((b"#!/bin/sh", b"#!/usr/bin/env bash"))
    ]


@pytest.mark.system
def test_shellcheck_finds_nothing() -> None:
    scripts = shell_scripts()
    assert ROOT / ".ci" / "run" in scripts
    found = subprocess.run(["shellcheck", *map(str, scripts)], capture_output=True, text=True, timeout=120, check=False)
    assert found.returncode == 0, found.stdout
