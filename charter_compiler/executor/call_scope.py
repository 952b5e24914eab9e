"""gRPC calls of several threads that are given up together."""

from __future__ import annotations

import threading
from typing import Any


class CallScope:
    """Calls under way. Safe to use from many threads; once cancelled it stays so."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: set[Any] = set()
        self._cancelled = threading.Event()
        self.reason: BaseException | None = None

    def add(self, call: Any) -> None:
        """Take a call in; in a cancelled scope it is cancelled at once."""
        with self._lock:
            cancelled = self._cancelled.is_set()
            if not cancelled:
                self._calls.add(call)
        if cancelled:
            call.cancel()

    def discard(self, call: Any) -> None:
        """The call has ended."""
        with self._lock:
            self._calls.discard(call)

    def cancel(self, reason: BaseException | None = None) -> None:
        """Cancel all calls, and those that will come; ends waits. The first ``reason`` is kept."""
        with self._lock:
            self._cancelled.set()
            self.reason = self.reason or reason
            calls, self._calls = self._calls, set()
        for call in calls:
            call.cancel()

    @property
    def cancelled(self) -> bool:
        return self._cancelled.is_set()

    def wait(self, seconds: float) -> None:
        """Wait, or until the scope is cancelled."""
        self._cancelled.wait(seconds)
