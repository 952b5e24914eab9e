"""Rows of a run: their form, and the file that takes them in input order while they finish in any order."""

from __future__ import annotations

import dataclasses
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TextIO

from charter_compiler.diagnostics.errors import OutputError

to_line = json.JSONEncoder(ensure_ascii=False).encode
"""One line of JSON. ``json.dumps`` would make an encoder for each."""


@dataclass(frozen=True, slots=True)
class RowError:
    """Why an item failed. ``call`` is the call at which it failed (its id in the IR, else file and line), ``line`` the
    line of the agent's code; both ``None`` when it failed outside its own code."""

    type: str
    message: str
    call: str | None
    line: int | None


@dataclass(frozen=True)
class ResultRow:
    """One line of ``OUT.jsonl``. ``output`` is what the agent returned, as JSON; ``None`` when it failed."""

    index: int
    input: Mapping[str, Any]
    output: Any
    error: RowError | None

    def to_json(self) -> dict[str, Any]:
        error = None if self.error is None else dataclasses.asdict(self.error)
        return {"index": self.index, "input": self.input, "output": self.output, "error": error}

    @cached_property
    def text(self) -> str:
        """The row as JSON, without the end of the line; the journal holds it too."""
        return to_line(self.to_json())

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ResultRow:
        error = value["error"]
        return cls(value["index"], value["input"], value["output"], None if error is None else RowError(**error))


def plain_json(value: object) -> Any:
    """What an agent returned, as JSON values: dataclasses and objects with ``model_dump()`` (pydantic) become objects.

    Raises:
        TypeError, ValueError: it holds something that JSON cannot express.
    """
    if value is None or isinstance(value, str):
        return value
    return json.loads(json.dumps(value, default=_expand, allow_nan=False))


def _expand(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    dump = getattr(value, "model_dump", None)
    if callable(dump):
        return dump()
    raise TypeError(f"the agent returned a {type(value).__name__}, which JSON cannot express")


UNENCODABLE = "backslashreplace"
"""How text files treat half of a surrogate pair, which UTF-8 has not: as its JSON escape."""


class RowWriter:
    """Writes ``OUT.jsonl`` in input order; a row that is early waits for those before it.

    Rows are in the file after ``flush`` at the latest. ``close`` writes what still waits, so that after an interrupted
    run every finished item has its row; rows of items that did not finish are missing then, and the others' ``index``
    shows it.

    Raises:
        OutputError: from each method, when the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._early: dict[int, ResultRow] = {}
        self._next = 0
        try:
            self._file = path.open("w", encoding="utf-8", errors=UNENCODABLE)
        except OSError as error:
            raise unwritable(path, error) from error

    def __enter__(self) -> RowWriter:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def add(self, row: ResultRow) -> None:
        """Take a row; each index once."""
        self._early[row.index] = row
        while self._next in self._early:
            self._write(self._early.pop(self._next))
            self._next += 1

    def flush(self) -> None:
        """Hand the rows to the operating system, for those who read along."""
        try:
            self._file.flush()
        except OSError as error:
            raise unwritable(self._path, error) from error

    def close(self) -> None:
        for index in sorted(self._early):
            self._write(self._early.pop(index))
        try:
            self._file.close()
        except OSError as error:
            raise unwritable(self._path, error) from error

    def _write(self, row: ResultRow) -> None:
        try:
            self._file.write(row.text + "\n")
        except OSError as error:
            raise unwritable(self._path, error) from error


def write_json(path: Path, value: object) -> None:
    """Write one indented JSON document.

    Raises:
        OutputError: the file cannot be written.
    """
    try:
        path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8", errors=UNENCODABLE)
    except OSError as error:
        raise unwritable(path, error) from error


def open_private(path: Path, *, keep: bool = False) -> TextIO:
    """Open a file for writing, readable by its owner alone: empty, or with ``keep`` at its end. A device or a pipe is
    left as it is.

    Raises:
        OutputError: the file cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | (os.O_APPEND if keep else os.O_TRUNC), 0o600)
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            path.chmod(0o600)  # the mode above is for a new file only
    except OSError as error:
        raise unwritable(path, error) from error
    return os.fdopen(descriptor, "w", encoding="utf-8", errors=UNENCODABLE)


def unwritable(path: Path, error: OSError) -> OutputError:
    return OutputError(f"cannot write: {error.strerror}", place=str(path), remedy="give another place with -o")
