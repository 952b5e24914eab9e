"""The structured log of a run or a gateway: one JSON object a line for each call, item and failure, as it happens.

Figures and places only: no prompt, output, user or key is in it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from charter_compiler.diagnostics.errors import CharterError
from charter_compiler.executor.calls import CallRecord
from charter_compiler.executor.results import RowError, open_private, unwritable
from charter_compiler.executor.tracing import RunSpans


def wall_clock() -> datetime:
    """Now, in UTC."""
    return datetime.now(UTC)


class CallLog:
    """Writes the log; a ``RunSpans``. ``append``: after what is there; ``now`` is the clock of its lines.

    Raises:
        OutputError: from each method, where the file does not take it.
    """

    def __init__(self, path: Path, *, append: bool = False, now: Callable[[], datetime] = wall_clock) -> None:
        self._path = path
        self._now = now
        self._file = open_private(path, keep=append)

    def __enter__(self) -> CallLog:
        return self

    def __exit__(self, *exception: object) -> None:
        with suppress(OSError):  # of a line that could not be written, which was told then: each is flushed
            self._file.close()

    def item_started(self, item: int, at: float) -> None:
        """See ``RunSpans``."""
        self._write("item_started", item=item)

    def item_finished(self, item: int, at: float, error: RowError | None) -> None:
        """See ``RunSpans``."""
        self._write("item_finished", item=item, error=error and error.type, site=error and error.call)

    def call(self, record: CallRecord) -> None:
        """See ``RunSpans``."""
        result = record.result
        self._write(
            "call",
            item=record.item,
            site=record.site and record.site.label,
            source="memo" if record.memoized else "engine",
            prompt_tokens=result.prompt_tokens,
            cached_tokens=result.cached_tokens,
            output_tokens=result.output_tokens,
            finish_reason=result.finish_reason,
            latency_s=round(record.latency, 6),
            ttft_s=None if record.ttft is None else round(record.ttft, 6),
            queue_s=round(record.sent - record.submitted, 6),
        )

    def failed(self, error: CharterError) -> None:
        """A call that was not answered."""
        self._write("call_failed", error=type(error).__name__)

    def _write(self, event: str, **fields: Any) -> None:
        known = {name: value for name, value in fields.items() if value is not None}
        line = {"time": self._now().isoformat(timespec="milliseconds"), "event": event, **known}
        try:
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()
        except OSError as error:
            raise unwritable(self._path, error) from error


class SeveralSpans:
    """Tells several what a run tells of itself."""

    def __init__(self, *listeners: RunSpans) -> None:
        self._listeners = listeners

    def item_started(self, item: int, at: float) -> None:
        """See ``RunSpans``."""
        for listener in self._listeners:
            listener.item_started(item, at)

    def item_finished(self, item: int, at: float, error: RowError | None) -> None:
        """See ``RunSpans``."""
        for listener in self._listeners:
            listener.item_finished(item, at, error)

    def call(self, record: CallRecord) -> None:
        """See ``RunSpans``."""
        for listener in self._listeners:
            listener.call(record)
