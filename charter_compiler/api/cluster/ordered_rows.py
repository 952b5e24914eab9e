"""Rows of a run in input order, in bounded memory: those that come early wait on the disk."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Self

import numpy as np

from charter_compiler.executor.results import UNENCODABLE, ResultRow, unwritable


class OrderedRows:
    """Writes ``OUT.jsonl`` as ``results.RowWriter`` does, for rows that may come a whole run too early: 16 bytes of
    memory a row.

    Args:
        path: the rows. Those that wait are in a file without a name in the same folder.
        count: how many rows there are.

    Raises:
        OutputError: from each method, when a file cannot be written.
    """

    def __init__(self, path: Path, count: int) -> None:
        self._path = path
        self._next = 0
        self._places = np.full(count, -1, dtype=np.int64)
        self._sizes = np.zeros(count, dtype=np.int64)
        self._end = 0
        try:
            self._file = path.open("wb")
            self._waiting = tempfile.TemporaryFile(dir=path.parent)  # noqa: SIM115  closed with the rows
        except OSError as error:
            raise unwritable(path, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def add(self, row: ResultRow) -> None:
        """Take a row; each index once."""
        line = (row.text + "\n").encode("utf-8", UNENCODABLE)
        try:
            if row.index != self._next:
                self._wait(row.index, line)
                return
            self._file.write(line)
            self._next += 1
            while self._next < len(self._places) and self._places[self._next] >= 0:
                self._file.write(self._waited(self._next))
                self._next += 1
        except OSError as error:
            raise unwritable(self._path, error) from error

    def close(self) -> None:
        """Write what still waits: rows before it are missing then, and the others' ``index`` shows it."""
        try:
            for index in np.flatnonzero(self._places[self._next :] >= 0) + self._next:
                self._file.write(self._waited(int(index)))
            self._file.close()
        except OSError as error:
            raise unwritable(self._path, error) from error
        finally:
            self._waiting.close()

    def _wait(self, index: int, line: bytes) -> None:
        self._waiting.seek(self._end)
        self._waiting.write(line)
        self._places[index], self._sizes[index] = self._end, len(line)
        self._end += len(line)

    def _waited(self, index: int) -> bytes:
        self._waiting.seek(int(self._places[index]))
        return self._waiting.read(int(self._sizes[index]))
