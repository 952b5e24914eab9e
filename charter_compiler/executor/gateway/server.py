"""Serves the gateway until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from charter_compiler.diagnostics.errors import PortInUseError, UsageError
from charter_compiler.executor.gateway.calls import GatewayCalls
from charter_compiler.executor.triton_channel import Endpoint

TOKEN_VARIABLE = "CHARTER_GATEWAY_TOKEN"  # noqa: S105  the name of the variable, not a token
GRACE = 5
"""Seconds that open connections get at the end. Their calls are cancelled by then: what is still open is a client that
neither sends the rest of its request nor reads its answer."""
EXTRA = "pip install '.[gateway]' in the checkout"


def check_address(host: str, token: str | None) -> None:
    """Refuse to be reached from other machines without a token. Raises UsageError."""
    if token is None and not Endpoint(host, 0).loopback:
        raise UsageError(
            f"{host} can be reached from other machines, and there is no token",
            remedy=f"set {TOKEN_VARIABLE}, or bind to 127.0.0.1",
        )


@asynccontextmanager
async def serving(calls: GatewayCalls, host: str, port: int, token: str | None = None) -> AsyncIterator[str]:
    """Serve while the context lasts; gives the address, ``http://host:port``. Port 0 takes a free one.

    Raises:
        UsageError: ``check_address``, or the extra ``gateway`` is not installed.
        PortInUseError: something else listens there.
    """
    check_address(host, token)
    check_installed()
    with contextlib.closing(listen(host, port)) as listener:
        async with serving_on(listener, calls, host, token) as url:
            yield url


def check_installed() -> None:
    """Raises UsageError where the extra ``gateway`` is not installed."""
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise UsageError(f"the gateway needs {error.name}", remedy=EXTRA) from error


def url_of(listener: socket.socket, host: str) -> str:
    """``http://host:port`` of a listening socket."""
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{listener.getsockname()[1]}"


@asynccontextmanager
async def serving_on(
    listener: socket.socket, calls: GatewayCalls, host: str, token: str | None = None, refusal: str | None = None
) -> AsyncIterator[str]:
    """``serving`` on a socket that listens already; it stays open. ``refusal``: as ``make_app`` takes it."""
    import uvicorn

    from charter_compiler.executor.gateway.app import make_app

    app = make_app(calls, token=token, host=host if Endpoint(host, 0).loopback else None, refusal=refusal)
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, lifespan="off", server_header=False,
        timeout_graceful_shutdown=GRACE,
    )  # fmt: skip
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]  # of older versions
    serving = asyncio.ensure_future(server._serve([listener]))  # without its signal handlers: ours end it
    try:
        yield url_of(listener, host)
    finally:
        server.should_exit = True
        await calls.aclose()
        await serving


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises PortInUseError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise PortInUseError(f"cannot listen: {error.strerror}", place=f"{host}:{port}", remedy="--port") from error
    return listener
