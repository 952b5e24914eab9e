"""Python's cyclic garbage collector while a run goes on."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

YOUNG = 5_000
"""New containers, beyond those that were freed meanwhile, after which the collector looks for cycles: Python's own 700
(2,000 from 3.12 on) make it walk through the calls in flight again and again, which are in use."""


@contextmanager
def rare_collection() -> Iterator[None]:
    """Look for cycles less often. What is not in a cycle is freed at once, as always."""
    before = gc.get_threshold()
    gc.set_threshold(max(before[0], YOUNG) if before[0] else 0, *before[1:])  # 0: somebody switched it off
    try:
        yield
    finally:
        gc.set_threshold(*before)
