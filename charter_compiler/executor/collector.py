"""Python's cyclic garbage collector while a run goes on."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

YOUNG = 5_000
"""New containers, beyond those that were freed meanwhile, after which the collector looks for cycles: Python's own 700
(2,000 from 3.12 on) make it walk through the calls in flight again and again, which are in use."""


@dataclass(slots=True)
class _Runs:
    """Those that go on in this process, in any thread, and the thresholds from before the first of them."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    count: int = 0
    before: tuple[int, int, int] = (0, 0, 0)


_RUNS = _Runs()


@contextmanager
def rare_collection() -> Iterator[None]:
    """Look for cycles less often. What is not in a cycle is freed at once, as always. Of runs that overlap, the last
    one to end puts the thresholds back."""
    with _RUNS.lock:
        if _RUNS.count == 0:
            young, *older = _RUNS.before = gc.get_threshold()
            gc.set_threshold(max(young, YOUNG) if young else 0, *older)  # 0: somebody switched it off
        _RUNS.count += 1
    try:
        yield
    finally:
        with _RUNS.lock:
            _RUNS.count -= 1
            if _RUNS.count == 0:
                gc.set_threshold(*_RUNS.before)
