"""A real sshd on a loopback port, which lets the user of the tests in with a key of its own."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import threading
from pathlib import Path

GUARD = 30.0
"""Seconds after which what is waited for will not come."""


class LoopbackSshd:
    """``host_key``, ``client_key`` and ``known_hosts`` are files below ``folder``."""

    def __init__(self, folder: Path) -> None:
        program = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
        assert program is not None, "sshd is missing: make test-system installs it"
        self._program, self._folder = program, folder
        self._process: subprocess.Popen[bytes] | None = None
        self.user = getpass.getuser()
        self.client_key, host_key = folder / "client", folder / "host"
        for key in (self.client_key, host_key):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True, timeout=GUARD)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        public = host_key.with_suffix(".pub").read_text(encoding="ascii").split()
        self.known_hosts = folder / "known_hosts"
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {public[0]} {public[1]}\n", encoding="ascii")
        shutil.copy(f"{self.client_key}.pub", folder / "authorized")
        (folder / "sshd_config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {host_key}\nAuthorizedKeysFile {folder}/authorized\n"
            f"PidFile {folder}/pid\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n"
            "PermitRootLogin prohibit-password\nAllowTcpForwarding local\n",
            encoding="ascii",
        )
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # what the system's service would make

    def start(self) -> None:
        """Returns once it listens."""
        command = [self._program, "-D", "-e", "-f", str(self._folder / "sshd_config")]
        with (self._folder / "sshd.log").open("ab") as log:
            self._process = subprocess.Popen(command, stderr=log, start_new_session=True)
        pause, waited = threading.Event(), 0.0
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                ended = self._process.poll() is not None or waited > GUARD
                assert not ended, (self._folder / "sshd.log").read_text(encoding="utf-8")
                pause.wait(0.1)
                waited += 0.1

    def kill(self) -> None:
        """The listener and every connection's process, at once, as a crash of the machine would."""
        if self._process is None:
            return
        for pid in [self._process.pid, *descendants(self._process.pid)]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue  # it ended with the one before it
        self._process.wait(GUARD)
        self._process = None

    def options(self) -> list[str]:
        """Of ``lambda_tunnel.sh start``."""
        return [
            *("--host", "127.0.0.1", "--user", self.user, "--ssh-port", str(self.port)),
            *("--identity", str(self.client_key), "--known-hosts", str(self.known_hosts)),
        ]


def descendants(pid: int) -> list[int]:
    """Processes below one, in sessions of their own too (sshd's connections are)."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], check=True, capture_output=True, text=True, timeout=GUARD)
    children: dict[int, list[int]] = {}
    for line in listed.stdout.splitlines():
        child, parent = map(int, line.split())
        children.setdefault(parent, []).append(child)
    found, waiting = [], [pid]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found
