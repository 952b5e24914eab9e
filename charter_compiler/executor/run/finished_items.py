"""Items that are over: durable in the journal first, then a row of the results."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import partial

from charter_compiler.diagnostics.errors import AgentError, CharterError
from charter_compiler.executor.answered import AnsweredCalls
from charter_compiler.executor.journal import FinishedItem
from charter_compiler.executor.metrics import Tally
from charter_compiler.executor.results import RowError
from charter_compiler.executor.run.context import RunFiles
from charter_compiler.executor.run.end import RunEnd


class FinishedItems:
    """Writes and counts the items of a run that are over, failed ones too. Owned by one event loop.

    Args:
        files: the journal and the rows.
        tally: where they are counted.
        answered: the journal's answers to calls, which an item that is over needs no more.
        max_failures: the run ends when more items than that have failed; ``None`` for never.
        end: of the run, told when files cannot be written.
        on_progress: told of the tally after each item.
        on_change: told after each item, when it is known how it ended.
    """

    def __init__(
        self,
        files: RunFiles,
        tally: Tally,
        answered: AnsweredCalls,
        *,
        max_failures: int | None,
        end: RunEnd,
        on_progress: Callable[[Tally], None],
        on_change: Callable[[], None],
    ) -> None:
        self._files = files
        self._tally = tally
        self._answered = answered
        self._max_failures = max_failures
        self._end = end
        self._on_progress = on_progress
        self._on_change = on_change
        self._loop = asyncio.get_running_loop()
        self._unwritten: set[asyncio.Future[None]] = set()
        self._flushing = False
        self.first_error: tuple[int, RowError] | None = None

    @property
    def unwritten(self) -> bool:
        """Whether there are some that are not in the journal yet."""
        return bool(self._unwritten)

    async def written(self) -> None:
        """Wait until all of them are in the journal."""
        if self._unwritten:
            await asyncio.wait(self._unwritten)

    def take_over(self, items: Iterable[FinishedItem]) -> None:
        """Items that the resumed run had finished."""
        for finished in items:
            for figures in finished.calls:
                self._tally.add_call(figures)
            self._tally.add_item(finished.calls)
            try:
                self._files.rows.add(finished.row)
            except CharterError as error:
                self._end.stop(error)
                return

    def add(self, finished: FinishedItem) -> None:
        """What is in the journal has its row, whatever becomes of the task that ran the item."""
        written = self._files.journal.item(finished)
        self._unwritten.add(written)
        written.add_done_callback(partial(self._on_written, finished))

    def _on_written(self, finished: FinishedItem, written: asyncio.Future[None]) -> None:
        self._unwritten.discard(written)
        try:
            written.result()
            self._files.rows.add(finished.row)
            self._flush_soon()
            self._answered.forget(finished.row.index)
            self._tally.add_item(finished.calls)
            if finished.row.error is not None:
                self._count_failure(finished.row.index, finished.row.error)
            self._on_progress(self._tally)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  of a callback, which nobody awaits
            self._end.fail(error)
        self._on_change()

    def _flush_soon(self) -> None:
        """Once for all rows that one write of the journal has made durable."""
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        try:
            self._files.rows.flush()
        except CharterError as error:
            self._end.stop(error)

    def _count_failure(self, index: int, error: RowError) -> None:
        self._tally.failed += 1
        if self.first_error is None or index < self.first_error[0]:
            self.first_error = (index, error)
        limit = self._max_failures
        if limit is not None and self._tally.failed > limit:
            self._end.stop(
                AgentError(
                    f"{self._tally.failed} items failed, more than --max-failures {limit} allows; "
                    f"the last one with {error.type}: {error.message}",
                    place=f"item {index}",
                    remedy="--resume tries the failed items again",
                )
            )
