"""The run journal: every answered call and every finished item is durable before the agent or the user hears of it, so
that ``--resume`` repeats neither.

``OUT.jsonl.journal``, JSON Lines, readable by its owner alone. The first line says which run it is; each other line is
one answered call, one finished item with its row and the figures of its calls, or the warm-ups. A last line that was
cut by a crash is dropped. One process writes it at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from charter_compiler.diagnostics.errors import CharterError, UsageError
from charter_compiler.executor.metrics import CallFigures
from charter_compiler.executor.results import UNENCODABLE, ResultRow, open_private, unwritable

VERSION = 2


def journal_path(output: Path) -> Path:
    """Where the journal of a run lies."""
    return output.with_name(output.name + ".journal")


@dataclass(frozen=True, slots=True)
class FinishedItem:
    """An item of the journal: its row, the figures of its calls, and the run's seconds until then."""

    row: ResultRow
    calls: tuple[CallFigures, ...]
    elapsed: float


@dataclass(frozen=True, slots=True)
class AnsweredCall:
    """A call of the journal: the item that made it, what it asked (``answers.request_digest``, in hex), the answer, and
    its figures; ``repeatable``: the same question is meant to have the same answer."""

    item: int
    asked: str
    text: str
    finish_reason: str | None
    figures: CallFigures
    repeatable: bool


@dataclass(slots=True)
class JournalState:
    """What an earlier run left: ``items`` by index, without failed ones, so that a resumed run tries those again;
    ``calls`` by item, those that were answered in items that did not finish; of failed ones, those that would be
    answered the same again.

    ``resumed``: there was an earlier run, even if it finished nothing.
    """

    resumed: bool = False
    items: dict[int, FinishedItem] = field(default_factory=dict)
    calls: defaultdict[int, list[AnsweredCall]] = field(default_factory=lambda: defaultdict(list))
    warm_ups: tuple[CallFigures, ...] = ()
    elapsed: float = 0.0


def check_journal(path: Path, identity: Mapping[str, Any]) -> None:
    """Look whether the journal may be resumed, as far as ``identity`` tells; nothing is changed.

    Raises:
        UsageError: as ``Journal.resume``.
    """
    _read(path, identity)


class Journal:
    """Open for appending. Each future is done when its line is on the disk, cancelled or not; lines that come together
    share one write. A context: at its end every line that was given is there.

    Raises:
        OutputError: the disk does not take it.
    """

    def __init__(self, path: Path, file: TextIO, length: int = 0) -> None:
        self._path = path
        self._file = file
        self._length = length
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="charter-journal")
        self._pending: list[tuple[str, asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None

    @classmethod
    def create(cls, path: Path, identity: Mapping[str, Any]) -> Journal:
        """Start a new journal; one that lies there is replaced.

        Raises:
            UsageError: another process writes it.
        """
        file = open_private(path, keep=True)
        try:
            _lock(path, file)
            os.ftruncate(file.fileno(), 0)
        except BaseException:
            file.close()
            raise
        journal = cls(path, file)
        journal._commit(json.dumps({"journal": VERSION, "run": dict(identity)}, ensure_ascii=False) + "\n")
        return journal

    @classmethod
    def resume(cls, path: Path, identity: Mapping[str, Any]) -> tuple[Journal, JournalState]:
        """Go on with the journal of the same run.

        Raises:
            UsageError: there is none, it is damaged, another process writes it, or it belongs to another run (other
                agent, inputs or options).
        """
        check_journal(path, identity)
        try:
            file = path.open("r+", encoding="utf-8", errors=UNENCODABLE)
            try:
                _lock(path, file)  # and only now is read what nobody can change any more
                state, length = _read(path, identity)
                state.resumed = True
                os.ftruncate(file.fileno(), length)
                os.lseek(file.fileno(), length, os.SEEK_SET)
            except BaseException:
                file.close()
                raise
        except OSError as error:
            raise unwritable(path, error) from error
        return cls(path, file, length), state

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *exception: object) -> None:
        self._thread.shutdown()
        rest, self._pending = self._pending, []
        try:
            self._commit("".join(line for line, _ in rest))
        finally:
            self._file.close()

    def call(self, answered: AnsweredCall) -> asyncio.Future[None]:
        """An answer, before the agent has it."""
        value = {
            "call": [answered.item, answered.asked, answered.text, answered.finish_reason, answered.repeatable],
            "figures": figures_to_json(answered.figures),
        }
        return self._append(json.dumps(value, ensure_ascii=False))

    def item(self, finished: FinishedItem) -> asyncio.Future[None]:
        """A finished item, before the user hears of it."""
        calls = json.dumps([figures_to_json(call) for call in finished.calls])
        return self._append(f'{{"row": {finished.row.text}, "calls": {calls}, "elapsed_s": {finished.elapsed}}}')

    def warm_ups(self, calls: Sequence[CallFigures], elapsed: float) -> asyncio.Future[None]:
        """Warm-ups that this server has had."""
        return self._append(json.dumps({"warm_ups": [figures_to_json(c) for c in calls], "elapsed_s": elapsed}))

    def _append(self, text: str) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        written: asyncio.Future[None] = loop.create_future()
        self._pending.append((text + "\n", written))
        if self._writer is None:
            self._writer = loop.create_task(self._write())
        return written

    async def _write(self) -> None:
        """Until nothing is left to be written; what comes meanwhile is one more write."""
        loop = asyncio.get_running_loop()
        try:
            while self._pending:
                batch, self._pending = self._pending, []
                problem: CharterError | None = None
                try:
                    await loop.run_in_executor(self._thread, self._commit, "".join(line for line, _ in batch))
                except CharterError as error:
                    problem = error
                for _, written in batch:
                    if written.done():  # its task was cancelled; the line is written all the same
                        continue
                    if problem is None:
                        written.set_result(None)
                    else:
                        written.set_exception(problem)
        finally:
            self._writer = None

    def _commit(self, text: str) -> None:
        """Write lines, all of them or none."""
        data, descriptor = text.encode("utf-8", UNENCODABLE), self._file.fileno()
        try:
            done = 0
            while done < len(data):
                done += os.write(descriptor, data[done:])
            if data:
                os.fsync(descriptor)
            self._length += len(data)
        except OSError as error:
            with contextlib.suppress(OSError):  # what was written of them is a cut line, which a resumed run drops
                os.ftruncate(descriptor, self._length)
                os.lseek(descriptor, self._length, os.SEEK_SET)
            raise unwritable(self._path, error) from error


def figures_to_json(figures: CallFigures) -> dict[str, Any]:
    """As ``CallFigures(**value)`` takes them; ten times faster than ``dataclasses.asdict``."""
    return {name: getattr(figures, name) for name in CallFigures.__slots__}


def _lock(path: Path, file: TextIO) -> None:
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


def _read(path: Path, identity: Mapping[str, Any]) -> tuple[JournalState, int]:
    """The state, and the length in bytes of the journal without a last line that was cut."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UsageError("nothing to resume: no journal", place=str(path), remedy="run without --resume") from None
    except OSError as error:
        raise UsageError(f"cannot read the journal: {error.strerror}", place=str(path)) from error
    length = data.rfind(b"\n") + 1
    state = JournalState()
    for number, raw in enumerate(data[:length].splitlines(), start=1):
        try:
            line = json.loads(raw)
            if number == 1:
                _check_identity(path, line, identity)
            else:
                _apply(state, line)
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(
                f"the journal is damaged: {error}", place=f"{path}:{number}", remedy="run without --resume"
            ) from error
    if length == 0:
        raise UsageError("the journal is empty", place=str(path), remedy="run without --resume")
    return state, length


def _check_identity(path: Path, header: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    if header["journal"] != VERSION:
        raise UsageError(f"a journal of version {header['journal']}", place=str(path), remedy="run without --resume")
    changed = [key for key in identity if header["run"].get(key) != identity[key]]
    if changed:
        raise UsageError(
            f"the journal is of another run: {', '.join(changed)} changed",
            place=str(path),
            remedy="run without --resume to start over",
        )


def _apply(state: JournalState, line: Mapping[str, Any]) -> None:
    state.elapsed = max(state.elapsed, line.get("elapsed_s", 0.0))
    if "warm_ups" in line:
        state.warm_ups += tuple(CallFigures(**call) for call in line["warm_ups"])
        return
    if "call" in line:
        item, asked, text, finish_reason, repeatable = line["call"]
        figures = CallFigures(**line["figures"])
        state.calls[item].append(AnsweredCall(item, asked, text, finish_reason, figures, repeatable))
        return
    row = ResultRow.from_json(line["row"])
    if row.error is not None:  # another sample may not fail
        state.calls[row.index] = [answered for answered in state.calls[row.index] if answered.repeatable]
    if row.error is None:
        state.calls.pop(row.index, None)
        state.items[row.index] = FinishedItem(
            row, tuple(CallFigures(**call) for call in line["calls"]), line["elapsed_s"]
        )
