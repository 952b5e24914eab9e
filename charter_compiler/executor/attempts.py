"""One call from its first attempt to its last: deadline, retries and clock. Shared by all clients, free of I/O."""

from __future__ import annotations

import time
from collections.abc import Callable

from charter_compiler.diagnostics.errors import TargetError, TargetTimeoutError
from charter_compiler.executor.retry import RetryPolicy

Clock = Callable[[], float]
"""Monotonic seconds."""


class Attempts:
    """The time and the retries of one call. ``delivered`` is set by the client when a part of the answer has reached
    it; from then on no failure is retried, since a consumer may have seen that part."""

    def __init__(
        self, policy: RetryPolicy, timeout: float | None, *, place: str, clock: Clock = time.perf_counter
    ) -> None:
        self._policy = policy
        self._place = place
        self.timeout = timeout
        self._clock = clock
        self.started = clock()
        self.retries = 0
        self.delivered = False

    def now(self) -> float:
        """Seconds since the call began."""
        return self._clock() - self.started

    def remaining(self) -> float | None:
        """Seconds until the deadline; ``None`` without one.

        Raises:
            TargetTimeoutError: the deadline has passed.
        """
        if self.timeout is None:
            return None
        left = self.timeout - self.now()
        if left <= 0:
            raise TargetTimeoutError(
                f"no answer within {self.timeout:g} s", place=self._place, remedy="raise the timeout"
            )
        return left

    def delay_after(self, error: TargetError) -> float:
        """Seconds to wait before the next attempt.

        Raises:
            TargetError: ``error`` itself, where no attempt may follow.
        """
        if self.delivered:
            raise error
        left = None if self.timeout is None else self.timeout - self.now()
        delay = self._policy.delay(error, self.retries, left)
        if delay is None:
            raise error
        self.retries += 1
        return delay
