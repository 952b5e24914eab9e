"""What is seen of a run beside its own figures: how long it took to plan, and what its server counted."""

from __future__ import annotations

import time
from contextlib import suppress

import httpx

from charter_compiler.api.run_request import RunObserver
from charter_compiler.bench.served import Served, read_served
from charter_compiler.executor.targets import OpenTarget


class Watch(RunObserver):
    """``planning_s``: from the open target to the first item, prediction and choice of an order included; warm-ups are
    not in it. ``served``: what the server counted by the end of the run; ``None`` where the target is no server that
    was started here, or did not answer."""

    def __init__(self) -> None:
        self.planning_s = 0.0
        self.served: Served | None = None
        self._opened = 0.0
        self._url: str | None = None

    def opened(self, target: OpenTarget) -> None:
        self._opened = time.perf_counter()
        self._url = None if target.server is None else target.server.metrics_url

    def running(self, items: int) -> None:
        self.planning_s = time.perf_counter() - self._opened

    def finished(self) -> None:
        if self._url is not None:
            with suppress(httpx.HTTPError):
                self.served = read_served(httpx.get(self._url, timeout=5.0, trust_env=False).text)
