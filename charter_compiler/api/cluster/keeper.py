"""The journals of a run's shards, kept on the machine of the driver, so that no lost node takes them along."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from charter_compiler.diagnostics.errors import CharterError, OutputError
from charter_compiler.executor.journal_file import JournalFile, journal_path, lock
from charter_compiler.executor.results import open_private


def shards_folder(output: Path) -> Path:
    """Where the journals of a run's shards lie."""
    return journal_path(output).with_suffix(".shards")


class JournalKeeper:
    """An actor. A shard that is taken up by another worker is closed to the one before, alive or not.

    Args:
        folder: made if it is not there, for its owner alone.
        targets: handed out to the workers in turn; a worker that Ray restarts gets its own again.
    """

    def __init__(self, folder: str, targets: Sequence[str]) -> None:
        self._folder = Path(folder)
        self._targets = targets
        self._given: dict[str, str] = {}
        self._open: dict[int, tuple[str, JournalFile]] = {}
        self._lock: TextIO | None = None

    def begin(self) -> None:
        """Take the folder, until ``end`` or the keeper's own. Raises UsageError where another run has it."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / "lock"
        file = open_private(path, keep=True)
        try:
            lock(path, file)
        except BaseException:
            file.close()
            raise
        self._lock = file

    def end(self) -> None:
        """Give the folder back. Who still works on a shard can write no more."""
        for shard in list(self._open):
            self._close(shard)
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def empty(self) -> None:
        """Delete the journals of the run before."""
        for path in self._folder.glob("*.jsonl"):
            path.unlink()

    def target(self, worker: str) -> str:
        """The target of a worker."""
        return self._given.setdefault(worker, self._targets[len(self._given) % len(self._targets)])

    def read(self, shard: int) -> list[bytes] | None:
        """See ``JournalStore``; so are the others, of one shard. Only its ``owner`` may append."""
        return self._file(shard).read()

    def open(self, shard: int, owner: str, *, empty: bool) -> None:
        self._close(shard)
        file = self._file(shard)
        file.open(empty=empty)
        self._open[shard] = owner, file

    def append(self, shard: int, owner: str, lines: bytes) -> None:
        holder, file = self._open.get(shard, (None, None))
        if holder != owner or file is None:
            raise OutputError("another worker took this shard over", place=f"shard {shard}")
        file.append(lines)

    def close(self, shard: int, owner: str) -> None:
        if self._open.get(shard, (None,))[0] == owner:
            self._close(shard)

    def _close(self, shard: int) -> None:
        if shard in self._open:
            self._open.pop(shard)[1].close()

    def _file(self, shard: int) -> JournalFile:
        if self._lock is None:
            raise OutputError("the run has ended", place=str(self._folder))
        return JournalFile(self._folder / f"{shard:06}.jsonl")


class KeptJournal:
    """A ``JournalStore`` of one shard, through the keeper's actor handle."""

    def __init__(self, keeper: Any, shard: int) -> None:
        self._keeper = keeper
        self._shard = shard
        self._owner = os.urandom(8).hex()

    @property
    def place(self) -> str:
        """See ``JournalStore``."""
        return f"the journal of shard {self._shard}"

    def read(self) -> list[bytes] | None:
        """See ``JournalStore``."""
        lines: list[bytes] | None = self._ask(self._keeper.read.remote(self._shard))
        return lines

    def open(self, *, empty: bool) -> None:
        """See ``JournalStore``."""
        self._ask(self._keeper.open.remote(self._shard, self._owner, empty=empty))

    def append(self, lines: bytes) -> None:
        """See ``JournalStore``."""
        self._ask(self._keeper.append.remote(self._shard, self._owner, lines))

    def close(self) -> None:
        """See ``JournalStore``."""
        with contextlib.suppress(OutputError):
            self._ask(self._keeper.close.remote(self._shard, self._owner))

    def _ask(self, answer: Any) -> Any:
        return answer_of(answer, self.place)


def answer_of(answer: Any, place: str) -> Any:
    """What the keeper answers. Raises the error of ours that it raised, and OutputError where it has ended."""
    import ray
    from ray.exceptions import RayActorError, RayTaskError

    try:
        return ray.get(answer)
    except RayActorError as error:
        raise OutputError("the journals' keeper has ended with its node", place=place) from error
    except RayTaskError as error:
        if isinstance(error.cause, CharterError):
            raise error.cause from error
        raise
