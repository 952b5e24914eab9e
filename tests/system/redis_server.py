"""A real redis-server (or valkey-server) of the test's own, on loopback, with a password."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

PASSWORD = "not-to-be-shown"


@contextmanager
def running_redis(folder: Path, *options: str) -> Iterator[str]:
    """The server's address with its password, while the context lasts."""
    binary = shutil.which("redis-server") or shutil.which("valkey-server")
    assert binary is not None, "make system-programs installs it"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--requirepass", PASSWORD, "--save", ""]
    process = subprocess.Popen([*command, "--dir", str(folder), *options], stdout=subprocess.DEVNULL)
    try:
        with Redis(port=port, password=PASSWORD) as client:
            deadline = time.monotonic() + 30
            while True:
                try:
                    client.ping()
                    break
                except RedisError:
                    assert time.monotonic() < deadline, "redis-server does not answer"
                    time.sleep(0.05)
        yield f"redis://:{PASSWORD}@127.0.0.1:{port}/0"
    finally:
        process.kill()
        process.wait()
