"""What the run time asks a scheduler and tells it."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ScheduledCall:
    """One call as the scheduler sees it.

    ``blocks`` are the chained hashes of the prompt's full blocks, the leading one first; empty where the target's
    tokenizer or block size is not known, and then nothing is single-flighted. ``tail_blocks`` counts the blocks of the
    prompt's last, partial block and of the longest output. ``item`` is ``None`` for a warm-up; ``stage`` counts the
    calls that the item made before. ``rank``: its place in line, the lowest first, where that is not its item's.
    """

    key: int
    item: int | None
    blocks: tuple[Hashable, ...] = ()
    tail_blocks: int = 0
    stage: int = 0
    rank: float | None = None


class Scheduler(Protocol):
    """What the run time asks and tells, in this order: ``start_item``; for each of the item's calls ``submit``,
    ``on_first_token``, ``on_done``; at last ``finish_item``, after which only ``on_done`` may still come for it.
    ``ready`` may be asked at any time and hands out each call once. Not thread-safe: one loop owns it.
    """

    def may_start(self) -> bool:
        """May one more item start now? Always true sooner or later once running items finish."""

    def start_item(self, item: int) -> None:
        """The item's agent begins."""

    def finish_item(self, item: int) -> None:
        """The item's agent has returned or failed; it makes no more calls."""

    def submit(self, call: ScheduledCall) -> None:
        """The agent waits for this call."""

    def hurry(self, item: int) -> None:
        """Another item waits for the answer to a call of this one: it is held back no more."""

    def ready(self) -> list[ScheduledCall]:
        """The calls to send now, in this order."""

    def on_first_token(self, key: int) -> None:
        """The call's prompt is computed, so its full blocks are in the target's cache."""

    def on_overload(self, key: int) -> None:
        """The target turned the call away before its first token: it waits again, in its old place. Fewer calls are in
        flight from then on, until answers show that there is room."""

    def on_outage(self, key: int) -> None:
        """The target went away before it had answered the call: it waits again, in its old place. What the target had
        cached is not known any more."""

    def on_done(self, key: int) -> None:
        """The call is over, however it ended; also right for one that was never handed out."""
