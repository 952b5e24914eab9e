"""The progress bar of a run: items, hit rate, tokens a second, time left; silent where there is no terminal."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from charter_compiler.executor.metrics import Tally

INTERVAL = 0.1
"""Seconds between two updates: thousands of calls a second have better uses for the time."""


class RunProgress:
    """Between ``start`` and ``stop``, ``update`` takes the tally whenever it changed.

    Args:
        console: where to draw; nothing is drawn if it is no terminal.
        label: what runs.
        total: rows of the inputs.
    """

    def __init__(self, console: Console, label: str, total: int) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._last: Tally | None = None
        self._shown = 0.0
        self._task = self._progress.add_task(label, total=total, figures="")

    def start(self) -> None:
        self._progress.start()

    def stop(self) -> None:
        if self._last is not None:
            self._show(self._last)
        self._progress.stop()

    def update(self, tally: Tally) -> None:
        """Show the totals so far, ten times a second at most."""
        now = time.monotonic()
        self._last = tally
        if now - self._shown >= INTERVAL:
            self._shown = now
            self._show(tally)

    def _show(self, tally: Tally) -> None:
        rate = "hit rate not reported" if tally.hit_rate is None else f"hit rate {tally.hit_rate:.1%}"
        elapsed = self._progress.tasks[0].elapsed
        tokens = None if tally.totals.prompt is None or tally.totals.output is None else tally.totals
        speed = (
            "" if not elapsed or tokens is None else f", {_tokens(tokens.prompt, tokens.output) / elapsed:,.0f} tok/s"
        )
        failed = f", {tally.failed} failed" if tally.failed else ""
        self._progress.update(self._task, completed=tally.items, figures=f"{rate}{speed}{failed}")


def _tokens(*counts: int | None) -> int:
    return sum(count or 0 for count in counts)
