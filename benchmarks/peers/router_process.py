"""sglang-router as a process of its own, by its own launcher."""

from __future__ import annotations

import asyncio
import json
import subprocess
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from charter_compiler.executor.gateway.server import listen

HOST = "127.0.0.1"
PATIENCE = 120.0
"""Seconds until it must know all its workers."""
SHOWN = ("policy", "cache_threshold", "balance_abs_threshold", "balance_rel_threshold", "eviction_interval_secs",
         "max_tree_size", "assignment_mode", "retry_max_retries")  # fmt: skip
FACTS = """
import json
from importlib.metadata import version
from sglang_router.router_args import RouterArgs
print(json.dumps({"version": version("sglang-router"), "defaults": {name: getattr(RouterArgs(), name) for name in %r}}))
"""


def version_and_defaults(python: Path) -> dict[str, Any]:
    """Its version, and the settings that hold where an arm gives none."""
    run = subprocess.run([python, "-c", FACTS % (SHOWN,)], capture_output=True, text=True, check=True, timeout=PATIENCE)
    return dict(json.loads(run.stdout))


@asynccontextmanager
async def running_router(python: Path, arguments: Sequence[str], workers: Sequence[str]) -> AsyncIterator[str]:
    """The address of a router that knows all ``workers``, while the context lasts.

    Raises:
        RuntimeError: it ended, or did not find them in time; with the last line that it wrote.
    """
    ports = _free_ports(2)
    url = f"http://{HOST}:{ports[0]}"
    command = [
        python, "-m", "sglang_router.launch_router", "--host", HOST, "--port", ports[0], "--prometheus-host", HOST,
        "--prometheus-port", ports[1], "--log-level", "warn", *arguments, "--worker-urls", *workers,
    ]  # fmt: skip
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(list(map(str, command)), stdout=log, stderr=subprocess.STDOUT)
        try:
            if not await _knows_all(url, len(workers), process):
                log.seek(0)
                lines = log.read().strip().splitlines() or ["it wrote nothing"]
                raise RuntimeError(f"sglang-router did not start: {lines[-1]}")
            yield url
        finally:
            process.kill()  # it would wait minutes for what is in flight, and there is nothing
            await asyncio.to_thread(process.wait)


async def _knows_all(url: str, count: int, process: subprocess.Popen[bytes]) -> bool:
    loop = asyncio.get_running_loop()
    end = loop.time() + PATIENCE
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as client:
        while loop.time() < end and process.poll() is None:
            try:
                known = (await client.get(f"{url}/workers")).json()["workers"]
            except httpx.HTTPError:
                known = []
            if sum(worker["is_healthy"] for worker in known) == count:
                return True
            await asyncio.sleep(0.2)
    return False


def _free_ports(count: int) -> list[int]:
    listeners = [listen(HOST, 0) for _ in range(count)]
    ports = [int(listener.getsockname()[1]) for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports
