"""The memo store of this machine: one SQLite file in WAL mode, readable by its owner alone."""

from __future__ import annotations

import os
import sqlite3
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from charter_compiler.diagnostics.errors import MemoError
from charter_compiler.executor.memo.store import (
    CorruptEntryError,
    MemoCheck,
    MemoEntry,
    MemoLimits,
    MemoStats,
    checksum,
)
from charter_compiler.tokens.models import charter_home

FILE_NAME = "memo.sqlite3"
SCHEMA_VERSION = 1
BUSY_TIMEOUT = 10.0
"""Seconds to wait for another process's transaction."""
ENTRY_OVERHEAD = 128
"""Bytes counted for an entry beside its value: key, checksum, times and what SQLite adds."""
KEPT_SHARE = 0.9
"""Of ``max_bytes``, after entries were pushed out: so that not every write pushes one out."""
CLEAR = "charter cache clear"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
  key BLOB PRIMARY KEY, value BLOB NOT NULL, checksum BLOB NOT NULL,
  model TEXT NOT NULL, size INTEGER NOT NULL, written REAL NOT NULL, used REAL NOT NULL
) WITHOUT ROWID
"""
_PUSH_OUT = """
DELETE FROM entries WHERE key IN (
  SELECT key FROM (SELECT key, SUM(size) OVER (ORDER BY used DESC, key) AS total FROM entries) WHERE total > ?)
"""


def memo_dir() -> Path:
    """Where the store lies: ``$CHARTER_MEMO_DIR``, else ``memo`` in Charter's folder of the user's cache."""
    chosen = os.environ.get("CHARTER_MEMO_DIR")
    return Path(chosen).expanduser() if chosen else charter_home() / "memo"


class SQLiteMemoStore:
    """A ``MemoStore``. Entries are durable against a killed process, not against a power cut.

    Args:
        folder: created if it is not there.
        limits: enforced when the store is closed and after each 1/64 of ``max_bytes`` that was written, so that the
            processes which use a store may exceed its size by that much each.

    Raises:
        MemoError: the store cannot be opened, others may read its folder, or another version wrote it.
    """

    def __init__(self, folder: Path | None = None, limits: MemoLimits | None = None) -> None:
        self._folder = memo_dir() if folder is None else folder
        self._path = self._folder / FILE_NAME
        self._limits = limits or MemoLimits()
        self._used: dict[bytes, float] = {}
        self._unpruned = 0
        _make_private(self._folder, self._path)
        with self._errors():
            self._database = sqlite3.connect(
                self._path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False
            )
        try:
            with self._errors():
                self._prepare()
        except MemoError:
            self._database.close()
            raise

    def __enter__(self) -> SQLiteMemoStore:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def get(self, key: bytes) -> MemoEntry | None:
        """See ``MemoStore``."""
        now = time.time()
        with self._errors():
            row = self._database.execute(
                "SELECT value, checksum FROM entries WHERE key = ? AND written >= ?",
                (key, now - self._limits.max_age_s),
            ).fetchone()
        if row is None:
            return None
        value, expected = row
        if not isinstance(value, bytes) or checksum(key, value) != expected:
            raise CorruptEntryError("an entry is corrupt", place=str(self._path))
        self._used[key] = now
        return MemoEntry.from_bytes(value)

    def put(self, key: bytes, model: str, entry: MemoEntry) -> None:
        """See ``MemoStore``."""
        value, now = entry.to_bytes(), time.time()
        size = len(value) + ENTRY_OVERHEAD
        with self._errors(), self._transaction():
            self._database.execute(
                "INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?, ?, ?, ?)",
                (key, value, checksum(key, value), model, size, now, now),
            )
            self._unpruned += size
            if self._unpruned > self._limits.max_bytes // 64:
                self._prune(now)

    def stats(self) -> MemoStats:
        """See ``MemoStore``."""
        with self._errors():
            entries, size, oldest, newest = self._database.execute(
                "SELECT COUNT(*), COALESCE(SUM(size), 0), MIN(written), MAX(written) FROM entries"
            ).fetchone()
            models = dict(self._database.execute("SELECT model, COUNT(*) FROM entries GROUP BY model ORDER BY model"))
        return MemoStats(str(self._path), entries, size, oldest, newest, models)

    def clear(self, older_than_s: float = 0.0) -> int:
        """See ``MemoStore``; what is erased is overwritten in the file."""
        with self._errors():
            self._database.execute("PRAGMA secure_delete = ON")
            with self._transaction():
                cursor = self._database.execute("DELETE FROM entries WHERE written <= ?", (time.time() - older_than_s,))
            self._used.clear()
            self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._database.execute("VACUUM")
            self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return cursor.rowcount

    def verify(self) -> MemoCheck:
        """See ``MemoStore``; SQLite's own check of the file is made too."""
        entries = corrupt = 0
        try:
            findings = [row[0] for row in self._database.execute("PRAGMA integrity_check(1)")]
            for key, value, expected in self._database.execute("SELECT key, value, checksum FROM entries"):
                entries += 1
                corrupt += not isinstance(value, bytes) or checksum(key, value) != expected
        except sqlite3.DatabaseError as error:
            return MemoCheck(entries, corrupt, str(error))
        return MemoCheck(entries, corrupt, None if findings == ["ok"] else findings[0])

    def close(self) -> None:
        """See ``MemoStore``. Notes which entries were used, and enforces the limits."""
        try:
            with self._errors():
                if self._used or self._unpruned:
                    with self._transaction():
                        self._prune(time.time())
        finally:
            self._used.clear()
            self._unpruned = 0
            self._database.close()

    def _prepare(self) -> None:
        self._to_wal()
        self._database.execute("PRAGMA synchronous = NORMAL")
        with self._transaction():
            (version,) = self._database.execute("PRAGMA user_version").fetchone()
            if version not in (0, SCHEMA_VERSION):
                raise MemoError(
                    f"a memo store of version {version}", place=str(self._path), remedy=f"run: {CLEAR}", damaged=True
                )
            self._database.execute(_SCHEMA)
            if version == 0:
                self._database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def _to_wal(self) -> None:
        """SQLite does not wait for other connections where the journal mode changes, so this does."""
        deadline = time.monotonic() + BUSY_TIMEOUT
        while True:
            try:
                self._database.execute("PRAGMA journal_mode = WAL").fetchone()
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
            time.sleep(0.02)

    def _prune(self, now: float) -> None:
        """Inside a transaction: note uses, then drop what is too old, then what is too much."""
        used = self._used.items()
        self._database.executemany("UPDATE entries SET used = ? WHERE key = ?", [(at, key) for key, at in used])
        self._used.clear()
        self._unpruned = 0
        self._database.execute("DELETE FROM entries WHERE written < ?", (now - self._limits.max_age_s,))
        (total,) = self._database.execute("SELECT COALESCE(SUM(size), 0) FROM entries").fetchone()
        if total > self._limits.max_bytes:
            self._database.execute(_PUSH_OUT, (int(self._limits.max_bytes * KEPT_SHARE),))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:  # locked, full, read-only
            raise MemoError(str(error), place=str(self._path), remedy="--no-memo runs without it") from error
        except sqlite3.Error as error:
            raise MemoError(str(error), place=str(self._path), remedy=f"run: {CLEAR}", damaged=True) from error


def remove_store(folder: Path | None = None) -> bool:
    """Delete the files of a store that cannot be opened any more; false if there are none. No process may use it.

    Raises:
        MemoError: they cannot be deleted.
    """
    path = (memo_dir() if folder is None else folder) / FILE_NAME
    removed = False
    for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
        try:
            path.with_name(name).unlink()
            removed = True
        except FileNotFoundError:
            continue
        except OSError as error:
            raise MemoError(f"cannot be deleted: {error.strerror}", place=str(path.with_name(name))) from error
    return removed


def _make_private(folder: Path, path: Path) -> None:
    """The folder and an empty file, for the owner alone; SQLite gives its other files the mode of that one."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = stat.S_IMODE(folder.stat().st_mode)
        if mode & 0o077 and sys.platform != "win32":
            raise MemoError(f"others may look into the folder (mode {mode:o})", place=str(folder), remedy="chmod 700")
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        path.chmod(0o600)  # the mode above is for a new file only
    except OSError as error:
        raise MemoError(f"cannot be opened: {error.strerror}", place=str(path)) from error
