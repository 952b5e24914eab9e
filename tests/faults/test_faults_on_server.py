"""What goes wrong in mid-run, on the real Triton server: nothing is lost, nothing that was answered is asked again."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from cutting_proxy import CuttingProxy
from killed_runs import AGENT, KilledRun, limit_files

from charter_compiler.api.measured_run import RunReport, measured_run
from charter_compiler.api.memo import MemoOptions
from charter_compiler.api.run_request import PredictWhen, RunObserver, RunRequest
from charter_compiler.executor.metrics import Tally
from charter_compiler.executor.run.options import RunOptions
from charter_compiler.executor.targets import TargetOptions
from charter_compiler.serve.server import ServerHandle, start_server

pytestmark = [pytest.mark.server, pytest.mark.timeout(600)]


def make_request(folder: Path, url: str, items: int = 4, timeout: float = 120.0) -> RunRequest:
    """Two calls an item, one item after the other."""
    (folder / "agent.py").write_text(AGENT, encoding="utf-8")
    rows = "".join(json.dumps({"text": f"{folder.name}: this is text number {n}."}) + "\n" for n in range(items))
    (folder / "in.jsonl").write_text(rows, encoding="utf-8")
    return RunRequest(
        f"{folder / 'agent.py'}:process",
        folder / "in.jsonl",
        folder / "out.jsonl",
        target=f"triton://{url}/ensemble",
        target_options=TargetOptions(timeout=timeout),
        options=RunOptions(concurrency=1),
        predict=PredictWhen.NEVER,
    )


def calls_answered(request: RunRequest) -> list[tuple[int, str]]:
    journal = request.output.with_name(request.output.name + ".journal").read_text(encoding="utf-8")
    return [tuple(json.loads(line)["call"][:2]) for line in journal.splitlines() if '"call"' in line[:8]]


def check_whole(report: RunReport, request: RunRequest, items: int) -> None:
    """Every item finished, every call answered once."""
    assert report.stopped is None
    assert report.first_error is None, report.first_error
    assert (report.metrics.items, report.metrics.failed, report.metrics.calls) == (items, 0, 2 * items)
    rows = [json.loads(line) for line in request.output.read_text(encoding="utf-8").splitlines()]
    assert [(row["index"], row["error"]) for row in rows] == [(n, None) for n in range(items)]
    answered = calls_answered(request)
    assert len(answered) == len(set(answered)) == 2 * items


class OnCall(RunObserver):
    """Does something once, when so many calls have been answered."""

    def __init__(self, calls: int, act: Callable[[], None]) -> None:
        self._calls, self._act, self._done = calls, act, False

    def progress(self, tally: Tally) -> None:
        if tally.calls == self._calls and not self._done:
            self._done = True
            self._act()


@pytest.fixture
def proxy(embedded_server: ServerHandle) -> Iterator[CuttingProxy]:
    proxy = CuttingProxy(embedded_server.grpc_url)
    yield proxy
    proxy.close()


class CutAfterCalls(RunObserver):
    """Cuts all connections soon after each of the first answers, while the next call is under way."""

    def __init__(self, proxy: CuttingProxy) -> None:
        self._proxy, self._seen = proxy, 0

    def progress(self, tally: Tally) -> None:
        if self._seen < tally.calls <= 4:
            self._seen = tally.calls
            threading.Timer(0.04, self._proxy.cut).start()


def test_connections_that_are_cut_cost_nothing_but_time(tmp_path: Path, proxy: CuttingProxy) -> None:
    request = make_request(tmp_path, proxy.address)
    report = measured_run(request, CutAfterCalls(proxy))
    check_whole(report, request, 4)
    assert proxy.cuts == 4


def test_triton_killed_and_started_again_in_mid_run(tmp_path: Path, embedded_server: ServerHandle) -> None:
    options = embedded_server.options
    servers: list[ServerHandle] = [start_server(options)]
    port = int(servers[0].grpc_url.rpartition(":")[2])

    def kill_and_start_again() -> None:
        os.kill(servers[0].pid, signal.SIGKILL)
        servers[0].wait(30)
        servers[0].stop()
        threading.Thread(target=lambda: servers.append(start_server(replace(options, grpc_port=port)))).start()

    try:
        request = make_request(tmp_path, servers[0].grpc_url)
        report = measured_run(request, OnCall(3, kill_and_start_again))
        check_whole(report, request, 4)
        assert len(servers) == 2
    finally:
        for server in servers:
            server.stop()


def test_a_stalled_server_fails_the_call_at_its_deadline_and_resume_mends_it(
    tmp_path: Path, embedded_server: ServerHandle
) -> None:
    request = make_request(tmp_path, embedded_server.grpc_url, items=3, timeout=4.0)
    pid = embedded_server.pid

    def stall() -> None:
        os.kill(pid, signal.SIGSTOP)
        threading.Timer(5.0, lambda: os.kill(pid, signal.SIGCONT)).start()

    try:
        report = measured_run(request, OnCall(3, stall))
    finally:
        os.kill(pid, signal.SIGCONT)
    assert report.stopped is None
    assert 1 <= report.metrics.failed <= 2
    assert report.first_error is not None
    assert report.first_error[1].type == "TargetTimeoutError"
    before = calls_answered(request)
    check_whole(measured_run(replace(request, resume=True)), request, 3)
    assert calls_answered(request)[: len(before)] == before


def test_kill_9_five_times_at_random_moments(tmp_path: Path, embedded_server: ServerHandle) -> None:
    run, chosen = KilledRun(tmp_path, embedded_server.grpc_url, items=10), random.Random(time.time_ns())
    killed = sum(run.kill(chosen) for _ in range(5))
    assert killed >= 3, run.stops
    assert run.finish() == 0, run.output
    run.check()


def test_a_full_disk_ends_the_run_with_one_line_and_resume_goes_on(
    tmp_path: Path, embedded_server: ServerHandle
) -> None:
    run = KilledRun(tmp_path, embedded_server.grpc_url, items=4)
    assert run.finish(limit_files(2000)) == 1
    (line,) = [line for line in run.output.splitlines() if line.startswith("charter: error")]
    assert "cannot write" in line
    assert "out.jsonl.journal" in line
    assert "Traceback" not in run.output
    assert run.journal.read_bytes().endswith(b"\n"), "no line is cut"
    assert 1 < run.lines() < 4 * 3
    assert run.finish() == 0, run.output
    run.check()


def test_two_runs_on_one_store(tmp_path: Path, embedded_server: ServerHandle, memo_folder: Path) -> None:
    requests = []
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        own = replace(make_request(folder, embedded_server.grpc_url, items=3), memo=MemoOptions(place=memo_folder))
        requests.append(replace(own, inputs=tmp_path / "a" / "in.jsonl"))
    with ThreadPoolExecutor(2) as pool:
        reports = list(pool.map(measured_run, requests))
    for report in reports:
        assert (report.stopped, report.metrics.items, report.metrics.failed) == (None, 3, 0)
        assert report.metrics.calls + report.metrics.memoized_calls == 6
        assert not any("not used to the end" in note or "corrupt" in note for note in report.notes), report.notes
    again = measured_run(requests[0])
    assert (again.metrics.calls, again.metrics.memoized_calls) == (0, 6)
