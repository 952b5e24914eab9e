"""When a failed call is sent again, and after how long. Pure: the clients wait, this decides."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from charter_compiler.diagnostics.errors import TargetError, TargetOverloadedError, TargetUnavailableError

RETRYABLE = (TargetUnavailableError, TargetOverloadedError)
"""Failures after which the same request can succeed. A time-out is not among them: the deadline is the caller's, and
it is for the whole call."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential back-off with jitter: the n-th wait is uniform between half and all of min(``cap``, ``base`` * 2**n)
    seconds. Not less than half, since a retry that comes too early is one retry less.

    A server that says when to come back (``retry_after``) is never asked earlier; the jitter then comes on top, so that
    those it turned away together do not come back together. Where ``overloads`` is false such a failure is final here:
    the caller holds all its calls back meanwhile. ``jitter`` gives numbers in [0, 1).
    """

    max_retries: int = 3
    overloads: bool = True
    base: float = 0.2
    cap: float = 5.0
    jitter: Callable[[], float] = field(default=random.SystemRandom().random, repr=False)

    def delay(self, error: TargetError, retries: int, remaining: float | None) -> float | None:
        """Seconds to wait before retry number ``retries`` (from 0); ``None`` where the error is final.

        Args:
            remaining: seconds until the caller's deadline, ``None`` without one. A wait that would reach it is not
                begun: the caller then hears of the failure now, not of a time-out later.
        """
        if not isinstance(error, RETRYABLE) or retries >= self.max_retries:
            return None
        if isinstance(error, TargetOverloadedError) and not self.overloads:
            return None
        wait = (0.5 + 0.5 * self.jitter()) * min(self.cap, self.base * 2.0**retries)
        if isinstance(error, TargetOverloadedError) and error.retry_after is not None:
            wait += error.retry_after
        return None if remaining is not None and wait >= remaining else wait
