"""What a run notes of its calls while its items run."""

from __future__ import annotations

from collections.abc import Callable

from charter_compiler.executor.calls import CallRecord
from charter_compiler.executor.metrics import CallFigures, Tally
from charter_compiler.executor.recording import Recorder
from charter_compiler.executor.results import RowError
from charter_compiler.executor.tracing import RunSpans


class RunRecords:
    """The answered calls: counted in the tally and with their item, recorded, and told to the spans.

    Args:
        tally: of the run.
        clock: seconds of the run.
        spans: told of items and calls.
        recorder: takes each call that was made; ``None`` where they are not recorded.
        on_progress: told of the tally after each call.
    """

    def __init__(
        self,
        tally: Tally,
        clock: Callable[[], float],
        spans: RunSpans,
        recorder: Recorder | None,
        on_progress: Callable[[Tally], None],
    ) -> None:
        self._tally = tally
        self._clock = clock
        self._spans = spans
        self._recorder = recorder
        self._on_progress = on_progress
        self._items: dict[int, list[CallFigures]] = {}

    def start_item(self, item: int) -> None:
        """The item's agent begins."""
        self._items[item] = []
        self._spans.item_started(item, self._clock())

    def finish_item(self, item: int, error: RowError | None) -> tuple[CallFigures, ...]:
        """The item's agent has returned or failed. Its calls that were answered until then."""
        calls = self._items.pop(item)
        self._spans.item_finished(item, self._clock(), error)
        return tuple(calls)

    def is_live(self, item: int) -> bool:
        """Whether the item runs."""
        return item in self._items

    def older(self, item: int) -> int:
        """How many running items started before this one: the dictionary has them in that order."""
        return next((place for place, other in enumerate(self._items) if other == item), 0)

    def on_record(self, record: CallRecord) -> None:
        """A call or a warm-up was answered. Raises OutputError."""
        figures = CallFigures.of(record)
        self._spans.call(record)
        if self._recorder is not None:
            self._recorder.write(record)
        if record.item is None:
            self._tally.add_warm_up(figures)
            self._on_progress(self._tally)
        else:
            self._add(record.item, figures)

    def on_resumed(self, item: int, figures: CallFigures) -> None:
        """A call of the item had been answered in an earlier part of the run."""
        self._add(item, figures)

    def _add(self, item: int, figures: CallFigures) -> None:
        self._tally.add_call(figures)
        self._items.get(item, []).append(figures)  # gone, where the agent did not wait for this call
        self._on_progress(self._tally)
