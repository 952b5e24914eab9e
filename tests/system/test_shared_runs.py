"""Runs in several processes, on one engine, that share a memo store and journals on a real redis-server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from killed_runs import AGENT
from redis import Redis
from redis_server import PASSWORD, running_redis

from charter_compiler.executor.memo.redis_keys import WRITTEN
from charter_compiler.serve.server import ServerHandle

pytestmark = [pytest.mark.server, pytest.mark.system, pytest.mark.timeout(300)]

ITEMS = 10
CALLS = 2 * ITEMS
CONCURRENCY = 2
GUARD = 200.0


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with running_redis(tmp_path, "--appendonly", "yes") as address:
        yield address


@dataclass
class Checkout:
    """A machine's own copy of the project, and its run there."""

    folder: Path
    server: ServerHandle
    url: str
    journal: bool = False

    def __post_init__(self) -> None:
        self.folder.mkdir()
        (self.folder / "agent.py").write_text(AGENT, encoding="utf-8")
        rows = "".join(json.dumps({"text": f"This is text number {n} of several."}) + "\n" for n in range(ITEMS))
        (self.folder / "in.jsonl").write_text(rows, encoding="utf-8")

    def start(self, *options: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "charter_compiler.cli.main", "run", "agent.py:process", "--inputs", "in.jsonl"]
        command += ["-o", "out.jsonl", "--target", f"triton://{self.server.grpc_url}/ensemble", "--no-predict"]
        command += ["--concurrency", str(CONCURRENCY), "--memo", self.url]
        command += ["--journal", self.url] if self.journal else []
        return subprocess.Popen(
            [*command, *options], cwd=self.folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)},
        )  # fmt: skip

    def finished(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        """The figures of a run that went well."""
        output, _ = process.communicate(timeout=GUARD)
        assert process.returncode == 0, output
        assert PASSWORD not in output
        assert not any(PASSWORD in file.read_text(encoding="utf-8") for file in self.folder.glob("out.jsonl*"))
        figures: dict[str, Any] = json.loads((self.folder / "out.jsonl.metrics.json").read_text(encoding="utf-8"))
        return figures

    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "out.jsonl").read_text(encoding="utf-8").splitlines()]


def asked(server: ServerHandle) -> int:
    """Requests that reached the engine, as the server counts them."""
    answer = httpx.get(f"{server.http_url}/v2/models/tensorrt_llm/stats", trust_env=False).json()
    return int(answer["model_stats"][0]["inference_count"])


def written(client: Any) -> dict[bytes, float]:
    """The answers in the store, and when each was put there."""
    return dict(client.zrange(WRITTEN, 0, -1, withscores=True))


def test_two_runs_ask_the_engine_each_call_once(embedded_server: ServerHandle, tmp_path: Path, url: str) -> None:
    before = asked(embedded_server)
    machines = [Checkout(tmp_path / name, embedded_server, url) for name in ("one", "two")]
    figures = [machine.finished(run) for machine, run in [(m, m.start()) for m in machines]]
    assert asked(embedded_server) - before == CALLS
    assert sum(run["calls"] for run in figures) == CALLS
    assert sum(run["memoized_calls"] for run in figures) == CALLS
    assert machines[0].rows() == machines[1].rows()


def test_what_a_killed_run_had_claimed_is_computed_by_another_and_its_journal_goes_on_elsewhere(
    embedded_server: ServerHandle, tmp_path: Path, url: str
) -> None:
    before = asked(embedded_server)
    killed = Checkout(tmp_path / "killed", embedded_server, url, journal=True)
    other = Checkout(tmp_path / "other", embedded_server, url)
    first, second = killed.start(), other.start()
    with Redis.from_url(url) as client:
        deadline = time.monotonic() + GUARD
        while not (lines := client.keys("charter:{journal:*lines")) or client.llen(lines[0]) < 6:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        first.send_signal(signal.SIGKILL)
        first.communicate()
        assert first.returncode == -signal.SIGKILL
        stored = written(client)
        figures = other.finished(second)
        assert (figures["failed"], figures["items"], len(other.rows())) == (0, ITEMS, ITEMS)
        afterwards = written(client)
    assert len(afterwards) == CALLS
    assert stored.items() <= afterwards.items(), "what was in the store was computed again"
    at_the_engine = asked(embedded_server) - before
    assert at_the_engine >= CALLS

    elsewhere = Checkout(tmp_path / "elsewhere", embedded_server, url, journal=True)
    resumed = elsewhere.finished(elsewhere.start("--resume"))
    assert asked(embedded_server) - before == at_the_engine, "all else was in the store"
    assert (resumed["failed"], resumed["items"]) == (0, ITEMS)
    assert elsewhere.rows() == other.rows()
    assert not (elsewhere.folder / "out.jsonl.journal").exists()
