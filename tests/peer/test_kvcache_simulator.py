"""LRU and Belady against the package `kvcache-simulator` on the public traces (`make test-peer`)."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PEER = Path(os.environ.get("CHARTER_PEER_PYTHON", ROOT / ".venv-peer" / "bin" / "python"))

pytestmark = pytest.mark.peer


def test_lru_and_belady_are_within_a_point(tmp_path: Path) -> None:
    assert PEER.exists(), f"{PEER} is missing: make test-peer sets it up"
    output = tmp_path / "rows.jsonl"
    script = ROOT / "benchmarks" / "cache" / "kvcache_peer.py"
    subprocess.run([str(PEER), str(script), "-o", str(output)], check=True, capture_output=True, timeout=280)
    rows = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()][1:]
    assert len(rows) == 2 * 6 * 2
    for row in rows:
        assert row["largest_difference_points"] < 1, row
