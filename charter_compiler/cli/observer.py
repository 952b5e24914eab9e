"""Shows on a terminal how a run goes."""

from __future__ import annotations

from rich.console import Console

from charter_compiler.api.run_request import RunObserver
from charter_compiler.executor.metrics import Tally
from charter_compiler.executor.progress import RunProgress


class ConsoleObserver(RunObserver):
    """Status lines while there is nothing to count, then the progress bar; both only on a terminal."""

    def __init__(self, console: Console, label: str) -> None:
        self._console = console
        self._label = label
        self._status = console.status("")
        self._progress: RunProgress | None = None

    def __enter__(self) -> ConsoleObserver:
        return self

    def __exit__(self, *exception: object) -> None:
        self.finished()

    def opening(self, target: str) -> None:
        self._show(f"opening {target} ...")

    def predicting(self, items: int) -> None:
        self._show(f"predicting {items} items ...")

    def running(self, items: int) -> None:
        self._status.stop()
        self._progress = RunProgress(self._console, self._label, items)
        self._progress.start()

    def progress(self, tally: Tally) -> None:
        if self._progress is not None:
            self._progress.update(tally)

    def interrupted(self, times: int) -> None:
        if times == 1:
            self._console.print("finishing the items that run; Ctrl-C again stops them", highlight=False)

    def finished(self) -> None:
        self._status.stop()
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _show(self, text: str) -> None:
        if self._console.is_terminal:
            self._status.update(text)
            self._status.start()
