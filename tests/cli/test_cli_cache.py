"""``charter cache``."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from charter_compiler.cli.main import main
from charter_compiler.executor.memo.sqlite_store import FILE_NAME, SQLiteMemoStore
from charter_compiler.executor.memo.store import MemoEntry


@pytest.fixture
def store(memo_folder: Path) -> Path:
    with SQLiteMemoStore() as memo:
        for number in range(3):
            memo.put(bytes([number] * 32), "smollm", MemoEntry("yes", "stop", 7, 1))
    return memo_folder / FILE_NAME


def test_stats(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "stats"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == str(store)
    assert lines[1] == "  3 entries, 0.0 MB"
    assert lines[-1] == "  3 of smollm"
    assert main(["cache", "stats", "--format", "json"]) == 0
    stats = json.loads(capsys.readouterr().out)
    assert (stats["entries"], stats["models"]) == (3, {"smollm": 3})


def test_clear(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "clear", "--older-than", "1"]) == 0
    assert main(["cache", "clear"]) == 0
    assert capsys.readouterr().out == "0 entries erased\n3 entries erased\n"


def test_verify_names_corrupt_entries_and_fails(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "verify"]) == 0
    database = sqlite3.connect(store, isolation_level=None)
    database.execute("UPDATE entries SET value = x'7b7d' WHERE key = ?", (bytes([1] * 32),))
    database.close()
    assert main(["cache", "verify"]) == 1
    captured = capsys.readouterr()
    assert captured.out == "3 entries, 0 corrupt\n3 entries, 1 corrupt\n"
    assert captured.err.startswith(f"charter: error: {store.parent}: 1 entries are corrupt (they are computed again")


def test_a_store_that_is_no_store_is_told_and_can_be_cleared(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store.write_bytes(b"not a database, " * 300)
    for action in ("stats", "verify"):
        assert main(["cache", action]) == 1
        assert "file is not a database (run: charter cache clear)" in capsys.readouterr().err
    assert main(["cache", "clear", "--older-than", "1"]) == 1
    assert main(["cache", "clear"]) == 0
    assert main(["cache", "stats"]) == 0
    assert "  0 entries" in capsys.readouterr().out
