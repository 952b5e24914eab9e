"""A small process between an owner and its ``tritonserver``: the server ends with the owner, however that ends.

    python -I -S supervisor.py FOLDER SHM_PREFIX COMMAND...

Standard input is a pipe whose other end only the owner holds: the kernel closes it when the owner dies, even by
``kill -9``. On its end, on SIGTERM or SIGINT the server's process group gets SIGTERM, and SIGKILL after ``GRACE``
seconds. Should this process itself be killed, the kernel sends the server SIGTERM (``PR_SET_PDEATHSIG``). Afterwards
the server's shared memory and ``FOLDER`` are removed; the folder only once the owner is done with the log in it.

Standard output tells the owner ``started PID`` and ``exited CODE``, a line each; standard error is the log. It runs as
a plain file, without the project and without site-packages, so that it starts at once and stays small.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import selectors
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

GRACE = 5.0
"""Seconds between SIGTERM and SIGKILL."""
PR_SET_PDEATHSIG = 1
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  # where Linux keeps it


def main(argv: list[str]) -> int:
    """Run the command of ``argv`` until it ends or the owner does; returns its exit code."""
    folder, shm_prefix, command = Path(argv[0]), argv[1], argv[2:]
    libc = ctypes.CDLL(None)  # loaded before the fork: the child may only call it

    def die_with_parent() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)  # the wake-up descriptor carries the news
    server = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        process_group=0,
        preexec_fn=die_with_parent,  # safe: this process has one thread
    )
    _tell(f"started {server.pid}")
    with selectors.DefaultSelector() as selector:
        selector.register(sys.stdin.fileno(), selectors.EVENT_READ)
        selector.register(wake_read, selectors.EVENT_READ)
        owned = _supervise(server, selector, wake_read)
        _signal_group(server, signal.SIGKILL)  # model processes that outlived the server
        for region in SHARED_MEMORY.glob(f"{shm_prefix}*"):
            region.unlink(missing_ok=True)
        _tell(f"exited {server.returncode}")
        if owned:
            # The server ended by itself; its owner may still want the log.
            selector.unregister(wake_read)
            selector.select()
    shutil.rmtree(folder, ignore_errors=True)
    return server.returncode


def _supervise(server: subprocess.Popen[bytes], selector: selectors.BaseSelector, wake_read: int) -> bool:
    """Wait for the server's end, ending it when asked to. True if nobody asked, so that the owner still lives."""
    deadline: float | None = None
    while server.poll() is None:
        timeout = None if deadline is None else max(0.0, deadline - time.monotonic())
        events = selector.select(timeout)
        if deadline is not None and time.monotonic() >= deadline:
            _signal_group(server, signal.SIGKILL)
            server.wait()
            break
        for key, _ in events:
            asked = key.fd != wake_read or any(number != signal.SIGCHLD for number in os.read(wake_read, 64))
            if asked and deadline is None:
                deadline = time.monotonic() + GRACE
                _signal_group(server, signal.SIGTERM)
            if key.fd != wake_read:
                selector.unregister(key.fd)  # at its end it would be readable for ever
    return deadline is None


def _signal_group(server: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # all of it is gone already
        os.killpg(server.pid, number)


def _tell(line: str) -> None:
    with contextlib.suppress(BrokenPipeError):  # the owner is gone; what is left to do does not depend on it
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
