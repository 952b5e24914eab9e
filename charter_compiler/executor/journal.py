"""The run journal: every finished item is durable before it is reported, so that ``--resume`` does not repeat it.

``OUT.jsonl.journal``, JSON Lines, readable by its owner alone. The first line says which run it is; each other line is
one finished item with its row and the figures of its calls, or the warm-ups. A last line that was cut by a crash is
dropped.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO

from charter_compiler.diagnostics.errors import UsageError
from charter_compiler.executor.metrics import CallFigures
from charter_compiler.executor.results import UNENCODABLE, ResultRow, open_private, unwritable

VERSION = 1


def journal_path(output: Path) -> Path:
    """Where the journal of a run lies."""
    return output.with_name(output.name + ".journal")


@dataclass(frozen=True, slots=True)
class FinishedItem:
    """An item of the journal: its row, the figures of its calls, and the run's seconds until then."""

    row: ResultRow
    calls: tuple[CallFigures, ...]
    elapsed: float


@dataclass(slots=True)
class JournalState:
    """What an earlier run left: ``items`` by index, without failed ones, so that a resumed run tries those again.

    ``resumed``: there was an earlier run, even if it finished nothing.
    """

    resumed: bool = False
    items: dict[int, FinishedItem] = field(default_factory=dict)
    warm_ups: tuple[CallFigures, ...] = ()
    elapsed: float = 0.0


def check_journal(path: Path, identity: Mapping[str, Any]) -> None:
    """Look whether the journal may be resumed, as far as ``identity`` tells; nothing is changed.

    Raises:
        UsageError: as ``Journal.resume``.
    """
    _read(path, identity)


class Journal:
    """Open for appending. Each method returns when the line is on the disk.

    Raises:
        OutputError: the disk does not take it.
    """

    def __init__(self, path: Path, file: TextIO) -> None:
        self._path = path
        self._file = file

    @classmethod
    def create(cls, path: Path, identity: Mapping[str, Any]) -> Journal:
        """Start a new journal; one that lies there is replaced."""
        journal = cls(path, open_private(path))
        journal._append({"journal": VERSION, "run": dict(identity)})
        return journal

    @classmethod
    def resume(cls, path: Path, identity: Mapping[str, Any]) -> tuple[Journal, JournalState]:
        """Go on with the journal of the same run.

        Raises:
            UsageError: there is none, it is damaged, or it belongs to another run (other agent, inputs or options).
        """
        state, length = _read(path, identity)
        state.resumed = True
        try:
            file = path.open("r+", encoding="utf-8", errors=UNENCODABLE)
            file.truncate(length)
            file.seek(0, os.SEEK_END)
        except OSError as error:
            raise unwritable(path, error) from error
        return cls(path, file), state

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def item(self, finished: FinishedItem) -> None:
        calls = [asdict(call) for call in finished.calls]
        self._append({"row": finished.row.to_json(), "calls": calls, "elapsed_s": finished.elapsed})

    def warm_ups(self, calls: Sequence[CallFigures], elapsed: float) -> None:
        self._append({"warm_ups": [asdict(call) for call in calls], "elapsed_s": elapsed})

    def _append(self, value: Mapping[str, Any]) -> None:
        try:
            self._file.write(json.dumps(value, ensure_ascii=False) + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise unwritable(self._path, error) from error


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
    state.elapsed = max(state.elapsed, line["elapsed_s"])
    if "warm_ups" in line:
        state.warm_ups += tuple(CallFigures(**call) for call in line["warm_ups"])
        return
    row = ResultRow.from_json(line["row"])
    if row.error is None:
        state.items[row.index] = FinishedItem(
            row, tuple(CallFigures(**call) for call in line["calls"]), line["elapsed_s"]
        )
