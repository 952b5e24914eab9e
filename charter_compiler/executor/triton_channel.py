"""Where a Triton server is and how to reach it: address, TLS, headers, channel options. Opens nothing itself."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc

from charter_compiler.diagnostics.errors import UsageError

DEFAULT_GRPC_PORT = 8001
DEFAULT_METRICS_PORT = 8002
MESSAGE_SIZE = 2**31 - 1
"""Bytes; gRPC's own limit of 4 MiB is less than a long prompt with its logits."""


@dataclass(frozen=True, slots=True)
class TLS:
    """Files in PEM. Without ``ca_file`` the system's roots are trusted; a client certificate needs both ``cert_file``
    and ``key_file``. ``server_name`` is the name in the server's certificate where it is not the host's."""

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = field(default=None, repr=False)
    server_name: str | None = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server's gRPC address."""

    host: str
    port: int

    @property
    def target(self) -> str:
        """As gRPC takes it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """Whether it is this machine, which no proxy leads to."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def default_metrics_url(self) -> str | None:
        """Where Triton has its metrics when it has gRPC on its default port; ``None`` on any other."""
        if self.port != DEFAULT_GRPC_PORT:
            return None
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{DEFAULT_METRICS_PORT}/metrics"


def parse_endpoint(url: str) -> Endpoint:
    """``host:port``, with or without ``grpc://`` before it.

    Raises:
        UsageError: it is something else.
    """
    remedy = "give the gRPC address as host:port, as in localhost:8001"
    scheme, separator, rest = url.partition("://")
    if separator and scheme not in {"grpc", "triton"}:
        raise UsageError(f"{scheme}:// is not how the gRPC port is reached", place=url, remedy=remedy)
    try:
        parts = urlsplit(f"//{rest if separator else url}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise UsageError(str(error), place=url, remedy=remedy) from error
    if not host or port is None or parts.path not in {"", "/"} or parts.query or parts.username is not None:
        raise UsageError("not an address", place=parts.hostname or "the server's address", remedy=remedy)
    return Endpoint(host, port)


def channel_options(endpoint: Endpoint, tls: TLS | None) -> tuple[tuple[str, Any], ...]:
    """Options of the one channel of a client."""
    options: list[tuple[str, Any]] = [
        ("grpc.max_send_message_length", MESSAGE_SIZE),
        ("grpc.max_receive_message_length", MESSAGE_SIZE),
        # Retries are ours: gRPC's own would send a request again whose deadline and back-off it does not know.
        ("grpc.enable_retries", 0),
        # A channel that failed to connect fails calls at once until its own back-off is over; ours decides how long.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 250),
        # Channels of other clients to the same address keep their connections, and their back-off, to themselves.
        ("grpc.use_local_subchannel_pool", 1),
    ]
    if endpoint.loopback:
        options.append(("grpc.enable_http_proxy", 0))
    if tls is not None and tls.server_name is not None:
        options.append(("grpc.ssl_target_name_override", tls.server_name))
    return tuple(options)


def credentials(tls: TLS) -> grpc.ChannelCredentials:
    """Channel credentials from the files.

    Raises:
        UsageError: a file cannot be read, or only one of certificate and key is given.
    """
    if (tls.cert_file is None) != (tls.key_file is None):
        raise UsageError("a client certificate needs its key, and a key its certificate", remedy="give both files")
    return grpc.ssl_channel_credentials(
        root_certificates=_read(tls.ca_file),
        private_key=_read(tls.key_file),
        certificate_chain=_read(tls.cert_file),
    )


def call_metadata(headers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Headers as gRPC metadata, whose keys are in lower case. The last asks Triton (24.09 and later) to end a failed
    stream with a real status instead of a message without a code."""
    return (*((name.lower(), value) for name, value in headers.items()), ("triton_grpc_error", "true"))


def _read(path: str | None) -> bytes | None:
    if path is None:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror}", place=path, remedy="check the path") from error
