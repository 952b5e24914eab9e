"""How the real server starts, fails to start, and ends."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from server_processes import group, leftovers, shared_memory_prefix

from charter_compiler.diagnostics.errors import CharterError, PortInUseError, ServerStartError
from charter_compiler.serve.engine.interface import EngineConfig
from charter_compiler.serve.options import ServerOptions
from charter_compiler.serve.server import start_server
from charter_compiler.serve.supervisor import SHARED_MEMORY

pytestmark = pytest.mark.server
GUARD = 60.0
OWNER = """
import sys, time
from pathlib import Path
from charter_compiler.serve.options import ServerOptions
from charter_compiler.serve.server import start_server
server = start_server(ServerOptions(Path(sys.argv[1]), "m"))
print(server.pid, server.log_path, flush=True)
time.sleep(600)
"""


def test_it_stops_and_leaves_nothing(model_path: Path) -> None:
    with start_server(ServerOptions(model_path, "m", engine=EngineConfig(capacity_blocks=8))) as server:
        assert len(group(server.pid)) == 5  # tritonserver and a process for each Python model
        assert server.log_path.exists()
        own_memory = f"{shared_memory_prefix(server.pid)}*"
        assert list(SHARED_MEMORY.glob(own_memory))
    assert group(server.pid) == []
    assert list(SHARED_MEMORY.glob(own_memory)) == []
    assert not server.log_path.parent.exists()


def test_it_ends_when_its_owner_is_killed(model_path: Path) -> None:
    arguments = [sys.executable, "-c", OWNER, str(model_path)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        pid, log = owner.stdout.readline().split()
        processes = [os.pidfd_open(each) for each in group(int(pid))]
        owner.kill()
        try:
            assert len(processes) == 5
            for process in processes:
                assert select.select([process], [], [], GUARD)[0], "a process of the server lives on"
        finally:
            for process in processes:
                os.close(process)
    assert log.startswith("/")


def test_a_server_that_dies_is_noticed_and_its_end_told(model_path: Path) -> None:
    with start_server(ServerOptions(model_path, "m", engine=EngineConfig(capacity_blocks=8))) as server:
        assert server.wait(0) is None
        os.kill(server.pid, signal.SIGKILL)
        end = server.wait(GUARD)
        assert end is not None
        assert end.code == -signal.SIGKILL
        assert server.failure() == "it ended with signal 9 and its log gives no reason"


@pytest.mark.parametrize("port", ["http_port", "grpc_port", "metrics_port"])
def test_a_busy_port_is_named(model_path: Path, port: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        with pytest.raises(PortInUseError, match=rf"127\.0\.0\.1:{number}: something else listens .*choose another"):
            start_server(ServerOptions(model_path, "m", **{port: number}))


def test_a_context_that_the_model_lacks_is_refused_with_the_remedy(model_path: Path) -> None:
    options = ServerOptions(model_path, "m", engine=EngineConfig(capacity_blocks=4096, max_context=100_000))
    with pytest.raises(ServerStartError, match=r"100000 tokens was asked for and the model has 8192.*max_context"):
        start_server(options)


def test_a_model_that_is_missing_or_broken_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CharterError, match=r"missing\.gguf"):
        start_server(ServerOptions(tmp_path / "missing.gguf", "m"))
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF but not really")
    with pytest.raises(CharterError, match=r"broken\.gguf"):
        start_server(ServerOptions(broken, "m"))


def test_a_start_that_takes_too_long_is_given_up(model_path: Path) -> None:
    before = leftovers()
    with pytest.raises(ServerStartError, match=r"not ready within 0\.01 seconds"):
        start_server(ServerOptions(model_path, "m", start_timeout=0.01))
    assert leftovers() <= before
