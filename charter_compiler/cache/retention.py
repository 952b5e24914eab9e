"""TensorRT-LLM's retention: how long which tokens of a request are to be kept.

After its documentation of the KV cache system ("Retention Policy") and ``KvCacheRetentionConfig``.
"""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_PRIORITY = 35
MIN_PRIORITY, MAX_PRIORITY = 0, 100


@dataclass(frozen=True, slots=True)
class RetentionRange:
    """Prompt tokens from ``start`` up to, not including, ``end`` (None: to the end of the prompt), their priority from
    0 to 100, and for how many milliseconds it lasts after the blocks become free (None: for ever)."""

    start: int
    end: int | None
    priority: int
    duration_ms: float | None = None

    def __post_init__(self) -> None:
        if self.start < 0 or (self.end is not None and self.end <= self.start):
            raise ValueError(f"a range of tokens from {self.start} to {self.end} is empty")
        _check_priority(self.priority)


@dataclass(frozen=True, slots=True)
class BlockRetention:
    """Of one block: None where no range says anything."""

    priority: int | None = None
    duration_ms: float | None = None


NO_RETENTION = BlockRetention()


@dataclass(frozen=True, slots=True)
class Retention:
    """Of one request: its ranges, ascending and without overlap, and what holds for generated tokens."""

    ranges: tuple[RetentionRange, ...] = ()
    decode_priority: int = DEFAULT_PRIORITY
    decode_duration_ms: float | None = None

    def __post_init__(self) -> None:
        _check_priority(self.decode_priority)
        for before, after in zip(self.ranges, self.ranges[1:], strict=False):
            if before.end is None or after.start < before.end:
                raise ValueError("retention ranges overlap or are out of order")

    def of_blocks(self, tokens: int, tokens_per_block: int) -> tuple[BlockRetention, ...]:
        """One for each block of a prompt of ``tokens``: that of the range which holds the block's first token."""
        if not self.ranges:
            return (NO_RETENTION,) * -(-tokens // tokens_per_block)
        return tuple(self._at(start) for start in range(0, tokens, tokens_per_block))

    def _at(self, token: int) -> BlockRetention:
        for span in self.ranges:
            if span.start <= token and (span.end is None or token < span.end):
                return BlockRetention(span.priority, span.duration_ms)
        return NO_RETENTION


def _check_priority(priority: int) -> None:
    if not MIN_PRIORITY <= priority <= MAX_PRIORITY:
        raise ValueError(f"a retention priority is from {MIN_PRIORITY} to {MAX_PRIORITY}, not {priority}")
