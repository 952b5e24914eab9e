"""What is seen of a run while it goes on: how many KV blocks are held, and how long it took to plan."""

from __future__ import annotations

import threading
import time
from contextlib import suppress

import httpx

from charter_compiler.api.run_request import RunObserver
from charter_compiler.bench.partial_reuse import served_hit_rate
from charter_compiler.executor.targets import OpenTarget

INTERVAL = 0.25
"""Seconds between two looks at the metrics."""
USED = 'kv_cache_block_type="used"'


class Watch(RunObserver):
    """``peak_blocks``: the most blocks that running requests held at a look, blocks that they share counted once;
    ``None`` where the target is no server that was started here. ``planning_s``: from the open target to the first
    item, prediction and choice of an order included; warm-ups are not in it. ``served_hit_rate``: the server's own,
    to the token, once the run is over (``partial_reuse.served_hit_rate``)."""

    def __init__(self) -> None:
        self.peak_blocks: int | None = None
        self.planning_s = 0.0
        self.served_hit_rate: float | None = None
        self._opened = 0.0
        self._url: str | None = None
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def opened(self, target: OpenTarget) -> None:
        self._opened = time.perf_counter()
        self._url = None if target.server is None else target.server.metrics_url

    def running(self, items: int) -> None:
        self.planning_s = time.perf_counter() - self._opened
        if self._url is not None:
            self._thread = threading.Thread(target=self._look, args=(self._url,), name="charter-bench-watch")
            self._thread.start()

    def finished(self) -> None:
        self.close()
        if self._url is not None:
            with suppress(httpx.HTTPError):  # then the rate is not known
                self.served_hit_rate = served_hit_rate(httpx.get(self._url, timeout=5.0, trust_env=False).text)

    def close(self) -> None:
        """Look no more. Idempotent."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def _look(self, url: str) -> None:
        with httpx.Client(timeout=5.0, trust_env=False) as client:
            while not self._over.wait(INTERVAL):
                try:
                    text = client.get(url).text
                except httpx.HTTPError:
                    continue  # a server that is busy, or ends: the run itself says what is wrong
                used = [line for line in text.splitlines() if USED in line]
                if used:
                    self.peak_blocks = max(self.peak_blocks or 0, round(float(used[0].rpartition(" ")[2])))
