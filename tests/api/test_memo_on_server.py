"""A small run again with one item changed, on the real server: ``benchmarks/memo`` measures a large one."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from charter_compiler.serve.server import ServerHandle

pytestmark = [pytest.mark.server, pytest.mark.timeout(600)]

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "memo" / "incremental.py"


def test_exactly_the_changed_items_calls_reach_the_engine(embedded_server: ServerHandle, tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("incremental", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    incremental = sys.modules["incremental"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(incremental)
    first, changed, unchanged = incremental.one_round(embedded_server, tmp_path, items=6, every=6, number=0)
    assert (first.calls, first.memoized_calls, first.requests) == (12, 0, 12)
    assert (changed.calls, changed.memoized_calls, changed.requests) == (2, 10, 2)
    assert (changed.other_items_called, changed.changed_items_not_called) == (0, 0)
    assert (unchanged.calls, unchanged.memoized_calls, unchanged.requests) == (0, 12, 0)
    assert first.failed == changed.failed == unchanged.failed == 0
    rows = [(tmp_path / f"{name}.jsonl").read_text(encoding="utf-8") for name in ("changed", "unchanged")]
    assert rows[0] == rows[1]
