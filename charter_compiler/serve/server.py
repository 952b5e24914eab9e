"""Starts the embedded server, waits until it is ready or says why not, and ends it."""

from __future__ import annotations

import contextlib
import errno
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import TracebackType

import httpx

from charter_compiler.diagnostics.errors import PortInUseError, ServerStartError
from charter_compiler.serve.log import PORT_TAKEN, reason, tail
from charter_compiler.serve.options import ServerOptions
from charter_compiler.serve.repository import write_repository
from charter_compiler.serve.wheel import TritonInstall, find_triton
from charter_compiler.tokens.tokenizer import load_tokenizer

FIRST_PROBE = 0.05
LONGEST_PROBE = 1.0
"""Seconds between two questions whether the server is ready: the first gap, doubled up to the longest."""
STOP_TIMEOUT = 15.0
"""Seconds that an owner waits for the supervisor, which kills the server long before."""
PORT_ATTEMPTS = 3
"""A free port may be taken by somebody else between its choice and its use."""
SPIN_COUNT = "1000"
"""How long llama.cpp's threads (libgomp's) spin when they wait for each other; the environment may say otherwise. The
default is 300 times as long: on 2 busy cores it made a token take 1.6 s where this takes 0.1 s. On idle ones it saves
1 ms of 15."""
SUPERVISOR = Path(__file__).with_name("supervisor.py")


@dataclass(frozen=True, slots=True)
class Exit:
    """The end of the server process; ``code`` is negative for a signal."""

    code: int

    def __str__(self) -> str:
        return f"signal {-self.code}" if self.code < 0 else f"exit code {self.code}"


class ServerHandle:
    """A running server. ``stop`` ends it; it also ends when this process does.

    ``pid`` is the process id of ``tritonserver``. The URLs are ``host:port`` for gRPC and ``http://...`` for the
    others. ``log_path`` exists until ``stop``.
    """

    def __init__(
        self,
        options: ServerOptions,
        ports: Mapping[str, int],
        folder: Path,
        supervisor: subprocess.Popen[bytes],
        pid: int,
    ) -> None:
        host = reachable(options.host)
        self.options = options
        self.ports = dict(ports)
        self.pid = pid
        self.grpc_url = f"{host}:{ports['gRPC']}"
        self.http_url = f"http://{host}:{ports['HTTP']}"
        self.metrics_url = f"http://{host}:{ports['metrics']}/metrics"
        self.log_path = log_path(folder)
        self._supervisor = supervisor
        self._exit: Exit | None = None

    def wait(self, timeout: float | None = None) -> Exit | None:
        """Wait up to ``timeout`` seconds (``None``: for ever) for the server to end by itself; its end, or ``None``."""
        assert self._supervisor.stdout is not None
        if self._exit is None and self._supervisor.poll() is None:
            with selectors.DefaultSelector() as selector:
                selector.register(self._supervisor.stdout, selectors.EVENT_READ)
                if not selector.select(timeout):
                    return None
        if self._exit is None:
            word, _, code = self._supervisor.stdout.readline().partition(b" ")
            # Without a word the supervisor was killed, and the kernel has ended the server.
            self._exit = Exit(int(code)) if word == b"exited" else Exit(self._supervisor.wait())
        return self._exit

    def failure(self) -> str:
        """Why the server ended, as far as its log says; one line."""
        text = reason(tail(self.log_path))
        return text or f"it ended with {self._exit} and its log gives no reason"

    def stop(self) -> None:
        """End the server and remove what it left. Idempotent."""
        assert self._supervisor.stdin is not None
        assert self._supervisor.stdout is not None
        self._supervisor.stdin.close()
        try:
            self._supervisor.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._supervisor.kill()
            self._supervisor.wait()
        self._supervisor.stdout.close()

    def __enter__(self) -> ServerHandle:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def start_server(options: ServerOptions) -> ServerHandle:
    """Start the server and return once it answers that it is ready.

    Raises:
        ModelError, TokenizerError: the model file is missing or broken.
        PortInUseError: a port that was asked for is taken.
        ServerStartError: anything else, with the reason from the server's log.
    """
    install = find_triton()
    fingerprint = load_tokenizer(options.model_path).fingerprint
    for attempt in range(1, PORT_ATTEMPTS + 1):
        ports = choose_ports(options)
        try:
            return _start(options, install, ports, fingerprint)
        except PortInUseError:
            if attempt == PORT_ATTEMPTS or all(options.ports.values()):
                raise
    raise AssertionError("unreachable")


def _start(options: ServerOptions, install: TritonInstall, ports: dict[str, int], fingerprint: str) -> ServerHandle:
    folder = Path(tempfile.mkdtemp(prefix="charter-serve-"))
    try:
        charter = version("charter-compiler")
        write_repository(folder / "models", options, ports, version=charter, fingerprint=fingerprint)
        install.write_backends(folder / "backends")
        handle = _launch(options, install, ports, folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)  # from here on it is the supervisor's
        raise
    try:
        _await_ready(handle, options.start_timeout)
    except BaseException:
        handle.stop()
        raise
    return handle


def _launch(options: ServerOptions, install: TritonInstall, ports: dict[str, int], folder: Path) -> ServerHandle:
    shm_prefix = f"charter-{uuid.uuid4().hex}-"
    command = [sys.executable, "-I", "-S", str(SUPERVISOR), str(folder), shm_prefix, str(install.server)]
    command += server_arguments(options, ports, folder, shm_prefix)
    with log_path(folder).open("wb") as log:
        supervisor = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            bufsize=0,  # what is read ahead would be hidden from the selector
            env={"GOMP_SPINCOUNT": SPIN_COUNT, **install.environment()},
            # Python models can import from the current folder: it must not be the user's.
            cwd=folder,
            # Ctrl-C in the owner's terminal is the owner's to handle.
            start_new_session=True,
        )
    assert supervisor.stdout is not None
    word, _, pid = supervisor.stdout.readline().partition(b" ")
    if word != b"started":
        supervisor.communicate()
        raise ServerStartError(f"the server could not be started: {reason(tail(log_path(folder)))}")
    return ServerHandle(options, ports, folder, supervisor, int(pid))


def server_arguments(options: ServerOptions, ports: Mapping[str, int], folder: Path, shm_prefix: str) -> list[str]:
    """The command line of ``tritonserver``."""
    return [
        f"--model-repository={folder / 'models'}",
        f"--backend-directory={folder / 'backends'}",
        f"--backend-config=python,shm-region-prefix-name={shm_prefix}",
        "--disable-auto-complete-config",
        f"--http-address={options.host}",
        f"--grpc-address={options.host}",
        f"--metrics-address={options.host}",
        f"--http-port={ports['HTTP']}",
        f"--grpc-port={ports['gRPC']}",
        f"--metrics-port={ports['metrics']}",
        "--allow-gpu-metrics=false",
        "--exit-timeout-secs=3",
    ]


def reachable(host: str) -> str:
    """The address, as a URL spells it, at which this machine reaches a server that listens on ``host``."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # told apart, not listened on
    return f"[{host}]" if ":" in host else host


def log_path(folder: Path) -> Path:
    return folder / "server.log"


def _await_ready(handle: ServerHandle, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    pause = FIRST_PROBE
    with httpx.Client(base_url=handle.http_url, trust_env=False, timeout=LONGEST_PROBE) as client:
        while not _is_ready(client):
            left = deadline - time.monotonic()
            if left <= 0:
                raise ServerStartError(
                    f"the server was not ready within {timeout:g} seconds: {handle.failure()}",
                    remedy="close other programs, or try a smaller model or context",
                )
            # Its end interrupts the pause.
            if handle.wait(min(pause, left)) is not None:
                raise _start_failure(handle)
            pause = min(2 * pause, LONGEST_PROBE)


def _is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/v2/health/ready").status_code == httpx.codes.OK
    except httpx.TransportError:
        return False  # not listening yet


def _start_failure(handle: ServerHandle) -> ServerStartError:
    if taken := PORT_TAKEN.search(tail(handle.log_path)):
        return port_in_use(int(taken["port"]), handle.options.host)
    return ServerStartError(f"the server did not start: {handle.failure()}", remedy="run: charter doctor --start")


def port_in_use(port: int, host: str) -> PortInUseError:
    """The error for a port that something else listens on."""
    return PortInUseError(
        "something else listens on this port",
        place=f"{host}:{port}",
        remedy="stop it, or choose another port (0 for a free one)",
    )


def choose_ports(options: ServerOptions) -> dict[str, int]:
    """The ports asked for, free ones in place of zeros.

    Raises:
        PortInUseError: one that was asked for is taken.
        ServerStartError: the address is not this machine's, or the port is reserved.
    """
    with contextlib.ExitStack() as stack:
        # All are held until the last is chosen, so that no two are the same.
        return {name: stack.enter_context(_bound(options.host, port)) for name, port in options.ports.items()}


@contextlib.contextmanager
def _bound(host: str, port: int) -> Iterator[int]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As servers do: a port on which closed connections still linger is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise port_in_use(port, host) from error
            raise ServerStartError(f"cannot listen: {error.strerror}", place=f"{host}:{port}") from error
        yield probe.getsockname()[1]
