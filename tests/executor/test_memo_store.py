"""The memo store itself: what is kept, for how long, for whose eyes, and what damage does."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import stat
import time
from dataclasses import replace
from pathlib import Path

import pytest

from charter_compiler.diagnostics.errors import MemoError
from charter_compiler.executor.memo.keys import MemoKeys
from charter_compiler.executor.memo.sqlite_store import FILE_NAME, SQLiteMemoStore
from charter_compiler.executor.memo.store import CorruptEntryError, MemoEntry, MemoLimits
from charter_compiler.executor.types import GenerationRequest

IDENTITY = {"engine": "e", "model": "m", "weights": "w"}
REQUEST = GenerationRequest(prompt="Read this.", max_tokens=8)
KEYS = MemoKeys(IDENTITY, greedy_by_default=True)


def key(number: int) -> bytes:
    return number.to_bytes(32, "big")


def entry(text: str = "yes") -> MemoEntry:
    return MemoEntry(text, "stop", 7, 1)


def damage(folder: Path, statement: str) -> None:
    database = sqlite3.connect(folder / FILE_NAME, isolation_level=None)
    assert database.execute(statement).rowcount > 0
    database.close()


@pytest.mark.parametrize(
    "other",
    [
        GenerationRequest(prompt="Read this!", max_tokens=8),
        GenerationRequest(prompt="Read this.", max_tokens=9),
        GenerationRequest(prompt="Read this.", max_tokens=8, stop=("x",)),
        GenerationRequest(prompt="Read this.", max_tokens=8, temperature=0),
        GenerationRequest(prompt="Read this.", max_tokens=8, seed=1),
        GenerationRequest(prompt="Read this.", max_tokens=8, response_format={"type": "json_object"}),
        GenerationRequest(messages=({"role": "user", "content": "Read this."},), max_tokens=8),
    ],
)
def test_what_the_engine_sees_is_in_the_key(other: GenerationRequest) -> None:
    assert KEYS.key(other, None) != KEYS.key(REQUEST, None)
    tokens = [4, 5]
    same_prompt = other.prompt == REQUEST.prompt
    assert not same_prompt or KEYS.key(other, tokens) != KEYS.key(REQUEST, tokens)


def test_text_tokens_engine_and_model_are_in_the_key_and_a_timeout_is_not() -> None:
    known = KEYS.key(REQUEST, [4, 5])
    assert known == KEYS.key(replace(REQUEST, timeout=3), [4, 5])
    assert known != KEYS.key(replace(REQUEST, prompt="Read  this."), [4, 5]), "the tokenizer may be another"
    assert known not in (KEYS.key(REQUEST, [4, 6]), KEYS.key(REQUEST, None))
    for name in IDENTITY:
        assert known != MemoKeys(IDENTITY | {name: "other"}, greedy_by_default=True).key(REQUEST, [4, 5])


@pytest.mark.parametrize(
    ("request_", "embedded", "elsewhere"),
    [
        (GenerationRequest(prompt="a"), True, False),
        (GenerationRequest(prompt="a", temperature=0), True, True),
        (GenerationRequest(prompt="a", top_k=1, temperature=1), True, True),
        (GenerationRequest(prompt="a", temperature=0.7), False, False),
        (GenerationRequest(prompt="a", temperature=0.7, seed=3), True, True),
        (GenerationRequest(prompt="a", top_p=0.9), False, False),
        (GenerationRequest(prompt="a", top_k=40), False, False),
    ],
)
def test_only_greedy_and_seeded_calls_have_a_key_unless_allowed(
    request_: GenerationRequest, embedded: bool, elsewhere: bool
) -> None:
    assert (KEYS.key(request_, None) is not None) is embedded
    assert (MemoKeys(IDENTITY, greedy_by_default=False).key(request_, None) is not None) is elsewhere
    assert MemoKeys(IDENTITY, greedy_by_default=False, sampled=True).key(request_, None) is not None


def test_an_entry_comes_back_in_another_process_run(memo_folder: Path) -> None:
    odd = MemoEntry("half \ud83d of a pair, \x00 and ü", None, None, None)
    with SQLiteMemoStore() as store:
        assert store.get(key(1)) is None
        store.put(key(1), "m", odd)
        store.put(key(2), "n", entry())
        store.put(key(2), "n", entry("no"))
    with SQLiteMemoStore() as store:
        assert store.get(key(1)) == odd
        assert store.get(key(2)) == entry("no")
        stats = store.stats()
    assert (stats.place, stats.entries, stats.models) == (str(memo_folder / FILE_NAME), 2, {"m": 1, "n": 1})


def test_only_the_owner_can_read_it(memo_folder: Path) -> None:
    old = os.umask(0)
    try:
        with SQLiteMemoStore() as store:
            store.put(key(1), "m", entry())
            files = list(memo_folder.iterdir())
            assert {file.name for file in files} == {FILE_NAME, f"{FILE_NAME}-wal", f"{FILE_NAME}-shm"}
            assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    finally:
        os.umask(old)
    assert stat.S_IMODE(memo_folder.stat().st_mode) == 0o700
    memo_folder.chmod(0o750)
    with pytest.raises(MemoError, match=r"others may look into the folder \(mode 750\) \(chmod 700\)"):
        SQLiteMemoStore()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entries SET value = CAST(replace(CAST(value AS TEXT), 'yes', 'yet') AS BLOB)",
        "UPDATE entries SET checksum = x'00'",
        "UPDATE entries SET value = 'text'",
        "UPDATE entries SET key = CAST(substr(key, 1, 31) || x'02' AS BLOB)",
    ],
)
def test_a_corrupt_entry_is_told_and_can_be_written_again(memo_folder: Path, statement: str) -> None:
    with SQLiteMemoStore() as store:
        store.put(key(1), "m", entry())
        assert store.verify().corrupt == 0
    damage(memo_folder, statement)
    found = key(2) if "SET key" in statement else key(1)
    with SQLiteMemoStore() as store:
        with pytest.raises(CorruptEntryError):
            store.get(found)
        assert (store.verify().entries, store.verify().corrupt) == (1, 1)
        store.put(found, "m", entry())
        assert store.get(found) == entry()
        assert store.verify().corrupt == 0


def test_a_file_that_is_no_store_is_an_error_with_its_remedy(memo_folder: Path) -> None:
    memo_folder.mkdir(mode=0o700)
    (memo_folder / FILE_NAME).write_bytes(b"not a database, " * 300)
    with pytest.raises(MemoError, match=r"not a database \(run: charter cache clear\)") as caught:
        SQLiteMemoStore()
    assert caught.value.damaged


def test_a_store_of_a_later_version_is_refused(memo_folder: Path) -> None:
    SQLiteMemoStore().close()
    database = sqlite3.connect(memo_folder / FILE_NAME)
    database.execute("PRAGMA user_version = 9")
    database.close()
    with pytest.raises(MemoError, match="a memo store of version 9"):
        SQLiteMemoStore()


def test_what_was_used_longest_ago_goes_first_when_it_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    with SQLiteMemoStore(limits=MemoLimits(max_bytes=10_000)) as store:
        for number in range(30):
            now += 1
            store.put(key(number), "m", entry("x" * 300))
            assert store.get(key(0)) is not None
    with SQLiteMemoStore() as store:
        kept = [number for number in range(30) if store.get(key(number)) is not None]
        assert 9_000 * 0.8 < store.stats().bytes <= 10_000
    assert kept == [0, *range(30 - len(kept) + 1, 30)]


def test_an_old_entry_is_a_miss_and_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    limits = MemoLimits(max_age_s=100)
    with SQLiteMemoStore(limits=limits) as store:
        store.put(key(1), "m", entry())
        now += 60
        store.put(key(2), "m", entry())
        now += 60
        assert store.get(key(1)) is None
        assert store.get(key(2)) == entry()
    with SQLiteMemoStore() as store:
        assert store.stats().entries == 1


def test_clear_leaves_no_text_in_the_files(memo_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    with SQLiteMemoStore() as store:
        store.put(key(1), "m", entry("a secret answer"))
        now += 50
        store.put(key(2), "m", entry("another"))
        assert any(b"a secret answer" in file.read_bytes() for file in memo_folder.iterdir())
        assert store.clear(older_than_s=20) == 1
        assert store.get(key(2)) is not None
        assert not any(b"a secret answer" in file.read_bytes() for file in memo_folder.iterdir())
        assert store.clear() == 1
        assert store.stats().entries == 0


def _use(folder: Path, worker: int, counts: multiprocessing.Queue[int]) -> None:
    found = 0
    with SQLiteMemoStore(folder, MemoLimits(max_bytes=20_000)) as store:
        for number in range(200):
            store.put(key(number), "m", entry(f"answer {number}"))
            got = store.get(key((number * 7) % 200))
            assert got is None or got.text == f"answer {(number * 7) % 200}"
            found += got is not None
    counts.put(found)


def test_processes_share_one_store(memo_folder: Path) -> None:
    context = multiprocessing.get_context("fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn")
    counts = context.Queue()
    workers = [context.Process(target=_use, args=(memo_folder, n, counts)) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert all(counts.get(timeout=5) > 0 for _ in workers)
    with SQLiteMemoStore() as store:
        check = store.verify()
        assert (check.corrupt, check.damage) == (0, None)
        assert 0 < check.entries < 200
