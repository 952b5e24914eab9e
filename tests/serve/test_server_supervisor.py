"""The supervisor, with small commands in the server's place."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from charter_compiler.serve import supervisor

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the embedded server runs on Linux")
GUARD = 20.0
SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); sys.stderr.write('ready'); "
    "sys.stderr.flush(); time.sleep(600)",
]
Start = Callable[[list[str]], "Supervised"]


class Supervised:
    """A supervisor over a command."""

    def __init__(self, folder: Path, command: list[str]) -> None:
        self.folder = folder
        self.prefix = f"charter-test-{uuid.uuid4().hex}-"
        arguments = [sys.executable, "-I", "-S", supervisor.__file__, str(folder), self.prefix, *command]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(arguments, stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0)
        self.pid = int(self.read().removeprefix("started "))
        self.watch = os.pidfd_open(self.pid)

    def read(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().decode().strip()

    def close(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()
        self.process.wait(GUARD)
        os.close(self.watch)

    def server_ended(self) -> bool:
        """Waits for it."""
        return bool(select.select([self.watch], [], [], GUARD)[0])


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    running: list[Supervised] = []

    def begin(command: list[str]) -> Supervised:
        folder = tmp_path / f"server{len(running)}"
        folder.mkdir()
        running.append(Supervised(folder, command))
        return running[-1]

    yield begin
    for supervised in running:
        supervised.close()


def test_the_server_ends_with_its_owner(start: Start) -> None:
    """The kernel closes the owner's end of the pipe when it dies, whatever of; here we close it."""
    supervised = start(SLEEP)
    assert supervised.process.stdin is not None
    supervised.process.stdin.close()
    assert supervised.server_ended()
    assert supervised.read() == f"exited {-signal.SIGTERM}"
    supervised.process.wait(GUARD)
    assert not supervised.folder.exists()


def test_a_server_that_ignores_the_signal_is_killed(start: Start) -> None:
    supervised = start(STUBBORN)
    assert supervised.process.stderr is not None
    assert supervised.process.stderr.read(5) == b"ready"
    supervised.process.terminate()
    assert supervised.server_ended()
    assert supervised.read() == f"exited {-signal.SIGKILL}"


def test_what_the_server_started_ends_with_it(start: Start) -> None:
    fork = "import os, time; child = os.fork(); child and print(child, flush=True); time.sleep(600)"
    supervised = start([sys.executable, "-c", fork])
    assert supervised.process.stderr is not None
    child = os.pidfd_open(int(supervised.process.stderr.readline()))
    try:
        os.kill(supervised.pid, signal.SIGKILL)
        assert supervised.server_ended()
        assert select.select([child], [], [], GUARD)[0], "the server's child lives on"
    finally:
        os.close(child)


def test_the_kernel_ends_the_server_when_the_supervisor_is_killed(start: Start) -> None:
    supervised = start(SLEEP)
    supervised.process.kill()
    assert supervised.server_ended()


def test_the_log_stays_until_its_owner_is_done(start: Start) -> None:
    supervised = start([sys.executable, "-c", "raise SystemExit(3)"])
    assert supervised.read() == "exited 3"
    with pytest.raises(subprocess.TimeoutExpired):
        supervised.process.wait(0.5)
    assert supervised.folder.exists()
    assert supervised.process.stdin is not None
    supervised.process.stdin.close()
    assert supervised.process.wait(GUARD) == 3
    assert not supervised.folder.exists()


def test_shared_memory_of_the_server_is_removed(start: Start) -> None:
    supervised = start(SLEEP)
    region = supervisor.SHARED_MEMORY / f"{supervised.prefix}region"
    other = supervisor.SHARED_MEMORY / f"charter-test-{uuid.uuid4().hex}"
    region.touch()
    other.touch()
    try:
        supervised.process.terminate()
        assert supervised.read().startswith("exited")
        assert not region.exists()
        assert other.exists()
    finally:
        other.unlink()
