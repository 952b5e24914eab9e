"""Options, ports and addresses of the server, without starting one."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from charter_compiler.diagnostics.errors import PortInUseError, ServerStartError, UsageError
from charter_compiler.serve.options import ServerOptions
from charter_compiler.serve.server import choose_ports, reachable, server_arguments


def test_zeros_become_free_ports_that_differ() -> None:
    ports = choose_ports(ServerOptions(Path("m"), "m"))
    assert len(set(ports.values())) == 3
    assert all(ports.values())


def test_a_port_that_is_asked_for_is_kept() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert choose_ports(ServerOptions(Path("m"), "m", grpc_port=port))["gRPC"] == port


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortInUseError, match=rf"127\.0\.0\.1:{port}: something else listens"):
            choose_ports(ServerOptions(Path("m"), "m", metrics_port=port))


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(ServerStartError, match=r"192\.0\.2\.1:0: cannot listen"):
        choose_ports(ServerOptions(Path("m"), "m", host="192.0.2.1"))


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_that_does_not_exist_is_refused(port: int) -> None:
    with pytest.raises(UsageError, match=f"HTTP port {port} does not exist"):
        ServerOptions(Path("m"), "m", http_port=port)


def test_every_service_listens_where_it_was_told() -> None:
    options = ServerOptions(Path("m"), "m", host="127.0.0.9")
    arguments = server_arguments(options, {"HTTP": 1, "gRPC": 2, "metrics": 3}, Path("/f"), "prefix-")
    expected = {"--http-address", "--grpc-address", "--metrics-address"}
    assert {argument.partition("=")[0] for argument in arguments if argument.endswith("=127.0.0.9")} == expected
    assert {"--http-port=1", "--grpc-port=2", "--metrics-port=3"} <= set(arguments)


@pytest.mark.parametrize(
    ("host", "url"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::", "[::1]"), ("localhost", "localhost")]
)
def test_a_server_on_all_addresses_is_reached_by_the_loopback(host: str, url: str) -> None:
    assert reachable(host) == url
