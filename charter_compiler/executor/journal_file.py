"""The journal of a run on this machine: a file beside its rows, readable by its owner alone."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TextIO

from charter_compiler.diagnostics.errors import UsageError
from charter_compiler.executor.results import open_private, unwritable


def journal_path(output: Path) -> Path:
    """Where the journal of a run lies."""
    return output.with_name(output.name + ".journal")


class JournalFile:
    """A ``JournalStore``; what was appended is on the disk. A last line that was cut by a crash is dropped."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: TextIO | None = None
        self._length = 0

    @property
    def place(self) -> str:
        """See ``JournalStore``."""
        return str(self._path)

    def read(self) -> list[bytes] | None:
        """See ``JournalStore``."""
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UsageError(f"cannot read the journal: {error.strerror}", place=self.place) from error
        return data[: data.rfind(b"\n") + 1].splitlines()

    def open(self, *, empty: bool) -> None:
        """See ``JournalStore``."""
        file = open_private(self._path, keep=True)
        try:
            lock(self._path, file)
            self._length = 0 if empty else self._path.read_bytes().rfind(b"\n") + 1
            os.ftruncate(file.fileno(), self._length)
            os.lseek(file.fileno(), self._length, os.SEEK_SET)
        except OSError as error:
            file.close()
            raise unwritable(self._path, error) from error
        except BaseException:
            file.close()
            raise
        self._file = file

    def append(self, lines: bytes) -> None:
        """See ``JournalStore``."""
        assert self._file is not None
        descriptor, done = self._file.fileno(), 0
        try:
            while done < len(lines):
                done += os.write(descriptor, lines[done:])
            os.fsync(descriptor)
            self._length += len(lines)
        except OSError as error:
            with contextlib.suppress(OSError):  # what was written of them is a cut line, which a resumed run drops
                os.ftruncate(descriptor, self._length)
                os.lseek(descriptor, self._length, os.SEEK_SET)
            raise unwritable(self._path, error) from error

    def close(self) -> None:
        """See ``JournalStore``."""
        if self._file is not None:
            self._file.close()


def lock(path: Path, file: TextIO) -> None:
    """Held until the file is closed, by whatever end of the process. Raises UsageError where another holds it."""
    if sys.platform == "win32":
        return  # no advisory locks there: two runs that write one output are not told apart
    import fcntl

    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UsageError(
            "another run writes this journal", place=str(path), remedy="wait for its end, or give another -o"
        ) from error
