"""When a call is sent again, and after how long."""

from __future__ import annotations

import pytest

from charter_compiler.diagnostics import errors
from charter_compiler.executor.attempts import Attempts
from charter_compiler.executor.retry import RETRYABLE, RetryPolicy

GONE = errors.TargetUnavailableError("gone")


def target_errors() -> list[type[errors.TargetError]]:
    found: list[type[errors.TargetError]] = [errors.TargetError]
    for kind in found:
        found += kind.__subclasses__()
    return found


@pytest.mark.parametrize("kind", target_errors())
def test_only_errors_that_can_pass_are_retried(kind: type[errors.TargetError]) -> None:
    retried = RetryPolicy().delay(kind("x"), 0, None) is not None
    assert retried == issubclass(kind, RETRYABLE)


def test_the_wait_grows_to_its_cap() -> None:
    policy = RetryPolicy(max_retries=10, base=1.0, cap=5.0, jitter=lambda: 1.0)
    assert [policy.delay(GONE, n, None) for n in range(5)] == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_half_of_the_wait_is_jittered() -> None:
    assert RetryPolicy(base=1.0, jitter=lambda: 0.0).delay(GONE, 2, None) == 2.0


def test_a_server_that_says_when_is_not_asked_earlier() -> None:
    busy = errors.TargetOverloadedError("busy", retry_after=7.0)
    assert RetryPolicy(base=1.0, jitter=lambda: 0.5).delay(busy, 0, None) == 7.75


def test_the_last_retry_is_the_last() -> None:
    policy = RetryPolicy(max_retries=2)
    assert policy.delay(GONE, 1, None) is not None
    assert policy.delay(GONE, 2, None) is None


def test_a_wait_past_the_deadline_is_not_begun() -> None:
    busy = errors.TargetOverloadedError("busy", retry_after=7.0)
    assert RetryPolicy().delay(busy, 0, 5.0) is None


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_no_attempt_follows_a_delivered_part() -> None:
    attempts = Attempts(RetryPolicy(), None, place="x")
    attempts.delivered = True
    with pytest.raises(errors.TargetUnavailableError):
        attempts.delay_after(GONE)
    assert attempts.retries == 0


def test_retries_are_counted() -> None:
    attempts = Attempts(RetryPolicy(max_retries=1), None, place="x")
    attempts.delay_after(GONE)
    assert attempts.retries == 1
    with pytest.raises(errors.TargetUnavailableError):
        attempts.delay_after(GONE)


def test_the_deadline_is_for_the_whole_call() -> None:
    clock = Clock()
    attempts = Attempts(RetryPolicy(), 10.0, place="x", clock=clock)
    clock.now += 4.0
    assert attempts.remaining() == 6.0
    clock.now += 6.0
    with pytest.raises(errors.TargetTimeoutError, match="within 10 s"):
        attempts.remaining()
