"""The part of ``charter doctor`` that needs the core's packages: tokenizer, weights and the embedded server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from charter_compiler.cli.doctor import DISK_NEEDED, Check, check_space
from charter_compiler.diagnostics.errors import CharterError, PortInUseError
from charter_compiler.serve.discovery import find_here
from charter_compiler.serve.options import DEFAULT_GRPC_PORT, DEFAULT_HTTP_PORT, DEFAULT_METRICS_PORT, ServerOptions
from charter_compiler.serve.server import choose_ports, start_server
from charter_compiler.serve.wheel import INSTALL, find_triton
from charter_compiler.tokens.models import DEFAULT_MODEL, find_model, models_dir
from charter_compiler.tokens.tokenizer import default_tokenizer


def service_checks(*, start: bool) -> Iterator[Check]:
    """``start``: also start the embedded server, on free ports."""
    yield _probe("tokenizer", lambda: default_tokenizer().name, needed=True)
    yield _probe("embedded server", lambda: str(find_triton().server))
    yield _probe("model weights", lambda: str(find_model(DEFAULT_MODEL.name)))
    folder = next(path for path in (models_dir(), *models_dir().parents) if path.is_dir())
    yield check_space("room for weights", folder, DISK_NEEDED, "set CHARTER_HOME to a folder with room")
    yield check_ports()
    if start:
        yield _probe("server start", _start, needed=True)


def check_ports() -> Check:
    """Whether ``charter serve`` could listen on its default ports, or does already."""
    if running := find_here():
        return Check("default ports", True, f"the embedded server runs at {running.grpc_url} with {running.model}")
    options = ServerOptions(
        Path(), "", http_port=DEFAULT_HTTP_PORT, grpc_port=DEFAULT_GRPC_PORT, metrics_port=DEFAULT_METRICS_PORT
    )
    try:
        ports = choose_ports(options)
    except PortInUseError as error:
        return Check("default ports", False, f"{error.place}: {error.message}", error.remedy or "")
    return Check("default ports", True, f"{', '.join(map(str, ports.values()))} are free")


def _start() -> str:
    begun = time.monotonic()
    with start_server(ServerOptions(find_model(DEFAULT_MODEL.name), DEFAULT_MODEL.name)) as server:
        return f"ready after {time.monotonic() - begun:.1f} s at {server.grpc_url}; stopped again"


def _probe(name: str, probe: Callable[[], str], *, needed: bool = False) -> Check:
    """What ``probe`` found, or the error that it raised."""
    try:
        return Check(name, True, probe(), needed=needed)
    except CharterError as error:
        place = f"{error.place}: " if error.place else ""
        return Check(name, False, f"{place}{error.message}", error.remedy or INSTALL, needed)
