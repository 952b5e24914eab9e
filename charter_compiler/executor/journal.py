"""The run journal: every answered call and every finished item is durable before the agent or the user hears of it, so
that ``--resume`` repeats neither.

JSON Lines, in a file beside the rows (``journal_file``) or on a server that several machines reach
(``journal_redis``). The first line says which run it is; each other line is one answered call, one finished item with
its row and the figures of its calls, or the warm-ups. One process writes it at a time.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from charter_compiler.diagnostics.errors import UsageError
from charter_compiler.executor.metrics import CallFigures
from charter_compiler.executor.results import UNENCODABLE, ResultRow, to_line

VERSION = 2


class JournalStore(Protocol):
    """Where the lines of one journal lie. Used by one thread at a time."""

    @property
    def place(self) -> str:
        """Names it for the user."""

    def read(self) -> list[bytes] | None:
        """Its lines, without one that was cut by a crash; ``None`` where there is no journal.

        Raises:
            UsageError: it cannot be read.
        """

    def open(self, *, empty: bool) -> None:
        """Take it for this process alone; ``empty``: without the lines that are there. Nobody else writes it from then
        on, until ``close`` or the end of the process.

        Raises:
            UsageError: another process writes it.
            OutputError: it cannot be written.
        """

    def append(self, lines: bytes) -> None:
        """Write lines, all of them or none. Raises OutputError."""

    def close(self) -> None:
        """Idempotent."""


@dataclass(frozen=True, slots=True)
class FinishedItem:
    """An item of the journal: its row, the figures of its calls, and the run's seconds until then."""

    row: ResultRow
    calls: tuple[CallFigures, ...]
    elapsed: float


@dataclass(frozen=True, slots=True)
class AnsweredCall:
    """A call of the journal: the item that made it, what it asked (``answers.request_digest``, in hex), the answer, and
    its figures; ``repeatable``: the same question is meant to have the same answer; ``stop``: as in
    ``GenerationResult``."""

    item: int
    asked: str
    text: str
    finish_reason: str | None
    figures: CallFigures
    repeatable: bool
    stop: str | None = None


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


def check_journal(store: JournalStore, identity: Mapping[str, Any]) -> None:
    """Look whether the journal may be resumed, as far as ``identity`` tells; nothing is changed.

    Raises:
        UsageError: as ``Journal.resume``.
    """
    _read(store, identity)


class Journal:
    """Open for appending. Each future is done when the store has its line, cancelled or not; lines that come together
    share one write. A context: at its end every line that was given is there.

    Raises:
        OutputError: the store does not take it.
    """

    def __init__(self, store: JournalStore) -> None:
        self._store = store
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="charter-journal")
        self._pending: list[tuple[str, asyncio.Future[None]]] = []
        self._writing = False

    @classmethod
    def create(cls, store: JournalStore, identity: Mapping[str, Any]) -> Journal:
        """Start a new journal; one that lies there is replaced.

        Raises:
            UsageError: another process writes it.
        """
        store.open(empty=True)
        journal = cls(store)
        journal._commit(json.dumps({"journal": VERSION, "run": dict(identity)}, ensure_ascii=False) + "\n")
        return journal

    @classmethod
    def resume(cls, store: JournalStore, identity: Mapping[str, Any]) -> tuple[Journal, JournalState]:
        """Go on with the journal of the same run.

        Raises:
            UsageError: there is none, it is damaged, another process writes it, or it belongs to another run (other
                agent, inputs or options).
        """
        check_journal(store, identity)
        store.open(empty=False)
        try:
            state = _read(store, identity)  # only now, when nobody can change it any more
        except BaseException:
            store.close()
            raise
        state.resumed = True
        return cls(store), state

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *exception: object) -> None:
        self._thread.shutdown()
        rest, self._pending = self._pending, []
        try:
            self._commit("".join(line for line, _ in rest))
        finally:
            self._store.close()

    def call(self, answered: AnsweredCall) -> asyncio.Future[None]:
        """An answer, before the agent has it."""
        value = {
            "call": [answered.item, answered.asked, answered.text, answered.finish_reason, answered.repeatable],
            "figures": figures_to_json(answered.figures),
        }
        if answered.stop is not None:
            value["stop"] = answered.stop
        return self._append(to_line(value))

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
        if not self._writing:
            self._writing = True
            loop.call_soon(self._write)
        return written

    def _write(self) -> None:
        """What there is, in one write; what comes meanwhile is the next. Callbacks and not a task: the end of the event
        loop cancels every task, and those that wait for these futures would wait for ever."""
        self._writing = bool(self._pending)
        if not self._writing:
            return
        batch, self._pending = self._pending, []
        text = "".join(line for line, _ in batch)
        writing = asyncio.get_running_loop().run_in_executor(self._thread, self._commit, text)
        writing.add_done_callback(partial(self._on_committed, [written for _, written in batch]))

    def _on_committed(self, batch: Sequence[asyncio.Future[None]], writing: asyncio.Future[None]) -> None:
        problem = writing.exception()
        for written in batch:
            if written.done():  # its task was cancelled; the line is written all the same
                continue
            if problem is None:
                written.set_result(None)
            else:
                written.set_exception(problem)
        self._write()

    def _commit(self, text: str) -> None:
        if text:
            self._store.append(text.encode("utf-8", UNENCODABLE))


def figures_to_json(figures: CallFigures) -> dict[str, Any]:
    """As ``CallFigures(**value)`` takes them; ten times faster than ``dataclasses.asdict``."""
    return {name: getattr(figures, name) for name in CallFigures.__slots__}


def _read(store: JournalStore, identity: Mapping[str, Any]) -> JournalState:
    lines = store.read()
    if lines is None:
        raise UsageError("nothing to resume: no journal", place=store.place, remedy="run without --resume")
    if not lines:
        raise UsageError("the journal is empty", place=store.place, remedy="run without --resume")
    state = JournalState()
    for number, raw in enumerate(lines, start=1):
        try:
            line = json.loads(raw)
            if number == 1:
                _check_identity(store.place, line, identity)
            else:
                _apply(state, line)
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(
                f"the journal is damaged: {error}", place=f"{store.place}:{number}", remedy="run without --resume"
            ) from error
    return state


def _check_identity(place: str, header: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    if header["journal"] != VERSION:
        raise UsageError(f"a journal of version {header['journal']}", place=place, remedy="run without --resume")
    changed = [key for key in identity if header["run"].get(key) != identity[key]]
    if changed:
        raise UsageError(
            f"the journal is of another run: {', '.join(changed)} changed",
            place=place,
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
        answered = AnsweredCall(item, asked, text, finish_reason, figures, repeatable, line.get("stop"))
        state.calls[item].append(answered)
        return
    row = ResultRow.from_json(line["row"])
    if row.error is not None:  # another sample may not fail
        state.calls[row.index] = [answered for answered in state.calls[row.index] if answered.repeatable]
    if row.error is None:
        state.calls.pop(row.index, None)
        state.items[row.index] = FinishedItem(
            row, tuple(CallFigures(**call) for call in line["calls"]), line["elapsed_s"]
        )
