"""The `vllm` profile against vLLM's own manager of KV blocks, request by request (`make test-peer`)."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PEER = Path(os.environ.get("CHARTER_PEER_PYTHON", ROOT / ".venv-peer" / "bin" / "python"))
REQUESTS = 100
WORKLOADS = 24

pytestmark = pytest.mark.peer


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    assert PEER.exists(), f"{PEER} is missing: make test-peer sets it up"
    output = tmp_path_factory.mktemp("peer") / "equality.jsonl"
    script = ROOT / "benchmarks" / "cache" / "vllm_peer.py"
    command = [str(PEER), str(script), "-o", str(output), "--requests", str(REQUESTS)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert output.exists(), ended.stderr[-2000:]
    return [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()][1:]


def test_cached_tokens_are_equal_request_by_request(rows: list[dict[str, Any]]) -> None:
    assert len(rows) == WORKLOADS
    assert sum(row["requests"] for row in rows) >= 2000
    for row in rows:
        assert row["charter"] == row["cached"], row["workload"]
        assert row["differences"] == [], "admissions, free blocks and preemptions are equal too"


def test_the_workloads_are_what_they_are_for(rows: list[dict[str, Any]]) -> None:
    """Shared prefixes, both block sizes, concurrency, pressure."""
    assert {row["workload"]["block_size"] for row in rows} == {16, 32}
    assert all(row["workload"]["concurrency"] > 1 for row in rows)
    assert len({row["workload"]["num_blocks"] for row in rows}) >= 4
    assert sum(row["preemptions"] for row in rows) > 20
    assert all(row["cached_tokens"] > 0 for row in rows)
