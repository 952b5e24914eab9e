"""``charter run`` killed fifty times at random moments on the real server: nothing lost, nothing run twice."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from killed_runs import KilledRun

from charter_compiler.serve.server import ServerHandle

pytestmark = [pytest.mark.soak, pytest.mark.server, pytest.mark.timeout(3600)]

KILLS = 50


def test_kill_9_fifty_times(tmp_path: Path, embedded_server: ServerHandle, figures: dict[str, float]) -> None:
    run, seed = KilledRun(tmp_path, embedded_server.grpc_url, items=60), time.time_ns()
    chosen, started = random.Random(seed), time.perf_counter()
    killed = 0
    while killed < KILLS and not (tmp_path / "out.jsonl.metrics.json").exists():
        killed += run.kill(chosen)
    assert run.finish() == 0, run.output
    run.check()
    figures |= {"seed": seed, "kills": killed, "parts": run.parts, "items": run.items, "calls": 2 * run.items}
    figures["seconds"] = round(time.perf_counter() - started, 1)
    assert killed == KILLS
