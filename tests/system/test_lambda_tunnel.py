"""``scripts/lambda_tunnel.sh`` with a real sshd on loopback, to the real embedded server; and both Lambda scripts
through it and beside it, start to end."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from loopback_sshd import GUARD, LoopbackSshd

from charter_compiler.executor.triton_client_production import ProductionTritonClient
from charter_compiler.serve.discovery import find_here, find_running
from charter_compiler.serve.server import ServerHandle

pytestmark = [pytest.mark.server, pytest.mark.system]
ROOT = Path(__file__).parents[2]
TUNNEL = ROOT / "scripts" / "lambda_tunnel.sh"
SMALL = (
    "tests.sequential_chain={items: 1, max_tokens: 2, text_characters: 240}",
    "thresholds.sequential_chain={min_hit_rate: 0.2, min_share_of_attainable: 0.8}",
    "tests.delta_matching={items: 2, max_tokens: 2}",
    "tests.prepopulation={prefix_words: 80, calls: 2, max_tokens: 2}",
    "benchmarks.cache={items: 1, max_tokens: 2, text_characters: 120}",
    "benchmarks.batch={sizes: [1, 2], rounds: 1, prefix_words: 40, max_tokens: 2}",
    "benchmarks.prefix={words: [40, 80], max_tokens: 2}",
)
"""Few and short, since two cores compute them; of so short a document less is shared than the settings ask for."""


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackSshd]:
    server = LoopbackSshd(tmp_path_factory.mktemp("sshd"))
    server.start()
    yield server
    server.kill()


class Tunnel:
    """The script with a state folder of its own."""

    def __init__(self, sshd: LoopbackSshd, server: ServerHandle, state: Path) -> None:
        self.environment = {**os.environ, "CHARTER_TUNNEL_STATE": str(state), "CHARTER_TUNNEL_LONGEST_PAUSE": "1"}
        self.sshd, self.state = sshd, state
        self.remote = ":".join(str(server.ports[name]) for name in ("gRPC", "HTTP", "metrics"))

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(TUNNEL), *arguments]
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=2 * GUARD, check=False
        )

    def start(self, *more: str) -> subprocess.CompletedProcess[str]:
        return self("start", *self.sshd.options(), "--remote-ports", self.remote, *more)

    def addresses(self) -> dict[str, str]:
        lines = self("status", "--env").stdout.split()
        return dict(line.split("=", 1) for line in lines if "=" in line)

    @property
    def url(self) -> str:
        return self.addresses()["CHARTER_LAMBDA_URL"]


@pytest.fixture
def tunnel(sshd: LoopbackSshd, embedded_server: ServerHandle, tmp_path: Path) -> Iterator[Tunnel]:
    # A folder whose name a shell and ssh would take for something else.
    found = Tunnel(sshd, embedded_server, tmp_path / "it's 100%h $HOME")
    yield found
    found("stop")


def eventually(condition: Callable[[], bool]) -> None:
    """The keeper tells nobody that it has reconnected."""
    pause, waited = threading.Event(), 0.0
    while not condition():
        assert waited < GUARD
        pause.wait(0.2)
        waited += 0.2


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    found = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return found


def processes_of(state: Path) -> list[str]:
    listed = subprocess.run(["ps", "-ww", "-eo", "command="], check=True, capture_output=True, text=True, timeout=60)
    return [line for line in listed.stdout.splitlines() if "_keep --name" in line or str(state) in line]


def test_a_host_key_that_is_not_known_or_has_changed_is_refused(tunnel: Tunnel, tmp_path: Path) -> None:
    port, other = tunnel.sshd.port, tmp_path / "known"
    other.write_text("")
    refused = tunnel.start("--known-hosts", str(other))
    assert refused.returncode == 1
    assert "Host key verification failed" in refused.stderr
    assert "ssh was refused" in refused.stderr
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "foreign")], check=True)
    foreign = (tmp_path / "foreign.pub").read_text().split()
    other.write_text(f"[127.0.0.1]:{port} {foreign[0]} {foreign[1]}\n")
    changed = tunnel.start("--known-hosts", str(other), "--accept-new")
    assert changed.returncode == 1
    assert "REMOTE HOST IDENTIFICATION HAS CHANGED" in (tunnel.state / "default" / "log").read_text()
    assert processes_of(tunnel.state) == []
    other.write_text("")
    assert tunnel.start("--known-hosts", str(other), "--accept-new").returncode == 0
    assert " ssh-ed25519 " in other.read_text(), "the name before it may be hashed"


def test_start_status_stop_and_a_taken_port(tunnel: Tunnel, embedded_server: ServerHandle) -> None:
    assert tunnel("status").returncode == 3
    grpc, http, metrics = free_ports(3)
    wished = f"{grpc}:{http}:{metrics}"
    with socket.create_server(("127.0.0.1", grpc)):
        refused = tunnel.start("--local-ports", wished, "--exact")
        assert (refused.returncode, f"port {grpc} is taken" in refused.stderr) == (1, True)
        started = tunnel.start("--local-ports", wished)
    assert started.returncode == 0, started.stderr
    assert "the server answers through it: ready" in started.stdout
    addresses = tunnel.addresses()
    assert addresses["CHARTER_LAMBDA_URL"] != f"127.0.0.1:{grpc}"
    assert addresses["CHARTER_LAMBDA_HTTP_URL"].endswith(f":{http}")
    again = tunnel.start()
    assert again.returncode == 0
    assert "runs already" in again.stdout
    other = tunnel("start", *tunnel.sshd.options(), "--remote-ports", tunnel.remote, "--name", "other")
    assert "another ssh (process" in other.stderr
    assert tunnel("stop", "--name", "other").returncode == 0
    assert tunnel("status").returncode == 0, "the other one's end is not this one's"
    # The server is an embedded one, on this very machine, and yet not the one that `local` may use.
    assert find_running(tunnel.url) is not None
    assert find_here(tunnel.url) is None
    assert find_here(embedded_server.grpc_url) is not None
    assert tunnel("stop").stdout == "the tunnel 'default' is closed\n"
    assert tunnel("status").returncode == 3
    assert processes_of(tunnel.state) == []


def test_a_tunnel_that_is_killed_comes_back(tunnel: Tunnel) -> None:
    """First sshd dies with its connections, then the tunnel's own ssh, then the keeper."""
    assert tunnel.start().returncode == 0
    with ProductionTritonClient(tunnel.url, "ensemble", 60) as client:
        assert client.health_check()
        tunnel.sshd.kill()
        eventually(lambda: tunnel("status").returncode == 1)
        assert not client.health_check()
        tunnel.sshd.start()
        eventually(lambda: tunnel("status").returncode == 0)
        assert client.infer_with_cache("The capital of France is", max_tokens=1).text == " Paris"
        ssh = int((tunnel.state / "default" / "ssh").read_text())
        os.kill(ssh, 9)
        eventually(lambda: int((tunnel.state / "default" / "ssh").read_text()) != ssh)
        eventually(lambda: bool(client.health_check()))
    os.kill(int((tunnel.state / "default" / "keeper").read_text()), 9)
    eventually(lambda: tunnel("status").returncode == 3)
    assert tunnel("restart").returncode == 0, "with the options of before, and without the orphan in its way"
    assert tunnel("stop").returncode == 0
    assert processes_of(tunnel.state) == []


def test_a_server_that_takes_the_port_while_ssh_is_away_is_not_called_ready(tunnel: Tunnel) -> None:
    """As `charter serve` would, which takes the same ports."""
    assert tunnel.start().returncode == 0
    ports = [int(address.split(":")[-1].split("/")[0]) for address in tunnel.addresses().values()]
    tunnel.sshd.kill()
    try:
        eventually(lambda: tunnel("status").returncode == 1)
        with ready_servers(ports):
            found = tunnel("status")
            assert found.returncode == 1, found.stdout
            assert "ssh is not connected" in found.stdout
            assert f"port {ports[1]} is another program's" in found.stdout
    finally:
        tunnel.sshd.start()
    eventually(lambda: tunnel("status").returncode == 0)


@contextmanager
def ready_servers(ports: list[int]) -> Iterator[None]:
    """Say to every question that they are ready."""

    class Ready(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002  # the base class's name
            pass

    with ExitStack() as stack:
        for port in ports:
            server = stack.enter_context(ThreadingHTTPServer(("127.0.0.1", port), Ready))
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
            stack.callback(server.shutdown)
        yield


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["start"], "start needs --host"),
        (["start", "--host", "-oProxyCommand=x"], "is no host"),
        (["start", "--host", "h", "--local-ports", "1:2"], "does not name 3 ports"),
        (["start", "--host", "h", "--ssh-port", "x"], "'x' is no port"),
        (["status", "--name", "../x"], "a tunnel's name holds"),
        (["open"], "there is no command 'open'"),
        (["restart"], "restart needs --host"),
    ],
)
def test_a_wrong_command_line(arguments: list[str], said: str, tunnel: Tunnel) -> None:
    found = tunnel(*arguments)
    assert found.returncode == 2
    assert said in found.stderr


def script(name: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    changes = [word for change in SMALL for word in ("--set", change)]
    return subprocess.run(
        [sys.executable, str(ROOT / "scripts" / f"{name}.py"), *changes, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def test_the_acceptance_tests_pass_through_the_tunnel(tunnel: Tunnel, tmp_path: Path) -> None:
    assert tunnel.start().returncode == 0
    junit, written = tmp_path / "junit.xml", tmp_path / "tests.json"
    done = script("run_lambda_tests", "--junit", str(junit), "--json", str(written), **tunnel.addresses())
    assert done.returncode == 0, done.stdout + done.stderr
    suite = ET.parse(junit).getroot().find("testsuite")
    assert suite is not None
    assert (suite.attrib["tests"], suite.attrib["failures"], suite.attrib["errors"]) == ("4", "0", "0")
    result = json.loads(written.read_text())
    figures = {case["name"]: case["figures"] for case in result["cases"]}
    assert result["target"] == f"triton://{tunnel.url}/ensemble"
    assert figures["health"]["kv_reuse"] is True
    assert figures["sequential_chain"]["calls"] == 3
    assert 0 < figures["delta_matching"]["cached_tokens"] < figures["delta_matching"]["prompt_tokens"]
    assert figures["prepopulation"]["unit"] == "tokens"
    assert figures["prepopulation"]["cold_reused"] == 0 < figures["prepopulation"]["warm_reused"]


def test_all_benchmarks_run_on_the_embedded_server(embedded_server: ServerHandle, tmp_path: Path) -> None:
    arguments = ("--benchmark", "all", "--iterations", "1", "-o", str(tmp_path))
    done = script("benchmark_lambda", *arguments, "--url", embedded_server.grpc_url)
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((tmp_path / "report.json").read_text())["summary"]
    cache = {row["mode"]: row for row in summary["cache"]}
    assert cache["no reuse"]["cached_tokens"] == 0
    assert cache["Charter"]["hit_rate"] > 0
    assert [row["in_flight"] for row in summary["batch"]] == [1, 2]
    assert all(row["cold_reused"] == 0 < row["warm_reused"] for row in summary["prefix"])
    page = (tmp_path / "report.html").read_text()
    assert page.count("<svg") == 7
    assert "embedded server, CPU" in page
    assert "cache: one iteration" in (tmp_path / "report.txt").read_text()
