"""Finds out whether the server at an address is the embedded one; a foreign server there is never taken for it."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass

from tritonclient.grpc import InferenceServerClient
from tritonclient.utils import InferenceServerException

from charter_compiler.serve.engine.interface import EngineConfig
from charter_compiler.serve.machine import machine_id
from charter_compiler.serve.options import DEFAULT_GRPC_PORT, LOOPBACK, MARK, engine_config

DEFAULT_URL = f"{LOOPBACK}:{DEFAULT_GRPC_PORT}"


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """What a running embedded server says of itself. URLs as in ``ServerHandle``; ``version`` is Charter's, and
    ``tokenizer_fingerprint`` is ``Tokenizer.fingerprint`` of the served model's tokenizer. ``here``: it runs on this
    machine and was reached at its own port. Behind a tunnel it was not, although the address is a loopback one; then
    ``http_url`` and ``metrics_url``, which hold the server's own ports, may lead elsewhere."""

    version: str
    model: str
    model_path: str
    tokenizer_fingerprint: str
    engine: EngineConfig
    threads: int
    grpc_url: str
    http_url: str
    metrics_url: str
    here: bool = False


def find_running(url: str = DEFAULT_URL, *, timeout: float = 2.0) -> ServerInfo | None:
    """The embedded server whose gRPC address is ``url`` (``host:port``); ``None`` if nothing answers there within
    ``timeout`` seconds, or something else does."""
    # No proxy of the environment leads to this machine's own addresses.
    arguments = [("grpc.enable_http_proxy", 0)] if is_loopback(url.rpartition(":")[0]) else None
    with InferenceServerClient(url, channel_args=arguments) as client:
        try:
            config = client.get_model_config("tensorrt_llm", client_timeout=timeout).config
        except InferenceServerException:
            # Caught here, since `executor.grpc_errors` stands below: every failure means the same, and raises nothing.
            return None  # nothing there, no Triton, or a Triton without such a model
    return _info({name: value.string_value for name, value in config.parameters.items()}, url)


def find_here(url: str = DEFAULT_URL) -> ServerInfo | None:
    """``find_running``, of a server that runs on this machine alone: what the target ``local`` may use. A tunnel to a
    server elsewhere, were it an embedded one too, is not taken for it."""
    info = find_running(url)
    return info if info is not None and info.here else None


def is_loopback(host: str) -> bool:
    """Whether a host, an IPv6 address with or without its brackets, is this machine."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _info(parameters: Mapping[str, str], url: str) -> ServerInfo | None:
    if MARK not in parameters:
        return None
    host, _, port = url.rpartition(":")
    return ServerInfo(
        version=parameters[MARK],
        model=parameters["charter_model_name"],
        model_path=parameters["gpt_model_path"],
        tokenizer_fingerprint=parameters["charter_tokenizer_fingerprint"],
        engine=engine_config(parameters),
        threads=int(parameters["charter_threads"]),
        grpc_url=url,
        http_url=f"http://{host}:{parameters['charter_http_port']}",
        metrics_url=f"http://{host}:{parameters['charter_metrics_port']}/metrics",
        here=is_loopback(host)
        and parameters.get("charter_machine") == machine_id()
        and parameters.get("charter_grpc_port") == port,
    )
