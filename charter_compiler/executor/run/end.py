"""What ends a run before its last row: an error, the budget, Ctrl-C."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from charter_compiler.diagnostics.errors import BudgetError, CharterError
from charter_compiler.executor.metrics import TokenTotals
from charter_compiler.executor.run.options import RunOptions


class RunEnd:
    """Whether a run goes on, and why not. Owned by one event loop.

    Args:
        options: with the budget, and whether Ctrl-C is handled.
        totals: the tokens that the run has used so far.
        elapsed: the seconds, those of the runs that it resumes among them.
        is_held: whether calls wait because a target turned one away, or is away.
        on_change: told whenever there is a reason to end.
        on_interrupt: told how often Ctrl-C was pressed.
    """

    def __init__(
        self,
        options: RunOptions,
        totals: TokenTotals,
        elapsed: Callable[[], float],
        *,
        is_held: Callable[[], bool],
        on_change: Callable[[], None],
        on_interrupt: Callable[[int], None],
    ) -> None:
        self._options = options
        self._totals = totals
        self._elapsed = elapsed
        self._is_held = is_held
        self._on_change = on_change
        self._tell_interrupt = on_interrupt
        self._loop = asyncio.get_running_loop()
        self._stopped: CharterError | None = None
        self._defect: BaseException | None = None
        self._spent: BudgetError | None = None
        self._interrupts = 0

    @property
    def draining(self) -> bool:
        """No more items start."""
        return self.halted or self._interrupts > 0 or self._spent is not None

    @property
    def halted(self) -> bool:
        """Not even the running items go on."""
        return self._stopped is not None or self._defect is not None or self._interrupts > 1

    @property
    def interrupted(self) -> bool:
        """By Ctrl-C, once or more."""
        return self._interrupts > 0

    def reason(self, *, left_out: bool) -> CharterError | None:
        """Why the run ended before its last row, ``None`` if it did not. ``left_out``: rows were not started; a budget
        that is used up with the last one has ended nothing. Raises the defect of ours that ended it, if one did."""
        if self._defect is not None:
            raise self._defect
        return self._stopped or (self._spent if left_out else None)

    # Errors

    def stop(self, error: CharterError) -> None:
        """End the run: nothing more starts, what runs is cancelled, what finished is kept."""
        self._stopped = self._stopped or error
        self._on_change()

    def fail(self, error: BaseException) -> None:
        """End the run with what a task or callback of ours raised."""
        if isinstance(error, CharterError):  # of the log, for one: an item must not be missing without a word
            self.stop(error)
        else:
            self._defect = self._defect or error  # ours: whatever an agent raises is a row
            self._on_change()

    # The budget

    def spent_by_now(self) -> bool:
        """Whether the budget is used up, so that no more items start."""
        self._spent = self._options.budget.exceeded(self._totals, self._elapsed())
        return self._spent is not None

    def watch_time(self) -> None:
        """Wake up when the time is over, so that nobody waits for an item to end."""
        seconds = self._options.budget.seconds
        if seconds is not None:
            self._loop.call_later(max(0.0, seconds - self._elapsed()), self._on_time)

    def _on_time(self) -> None:
        self._spent = self._spent or self._options.budget.exceeded(self._totals, self._elapsed())
        self.on_held()
        self._on_change()

    def on_held(self) -> None:
        """A target that turned calls away, or is away, is waited for until the time is over, and no longer."""
        over = self._options.budget.overtime(self._elapsed())
        if over is not None and self._is_held():
            self.stop(over)

    # Ctrl-C

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """While the context lasts, Ctrl-C ends the run, if the options say so."""
        if not self._options.handle_interrupt or sys.platform == "win32":  # Windows' loops take no signal handlers
            yield
            return
        self._loop.add_signal_handler(signal.SIGINT, self._on_interrupt)
        try:
            yield
        finally:
            self._loop.remove_signal_handler(signal.SIGINT)

    def _on_interrupt(self) -> None:
        self._interrupts += 1
        self._tell_interrupt(self._interrupts)
        self._on_change()
