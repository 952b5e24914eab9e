"""Which servers are found, and taken for the embedded one."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from tritonclient.grpc import model_config_pb2, service_pb2, service_pb2_grpc

from charter_compiler.serve.discovery import find_here, find_running, is_loopback
from charter_compiler.serve.engine.interface import EngineConfig
from charter_compiler.serve.machine import machine_id
from charter_compiler.serve.options import MARK, engine_parameters

ENGINE = EngineConfig(tokens_per_block=16)
EMBEDDED = {
    MARK: "1.0",
    "charter_model_name": "tiny",
    "gpt_model_path": "tiny.gguf",
    "charter_tokenizer_fingerprint": "f",
    "charter_machine": machine_id() or "",
    "charter_http_port": "1",
    "charter_metrics_port": "2",
    **engine_parameters(ENGINE, threads=1),
}


class Triton(service_pb2_grpc.GRPCInferenceServiceServicer):
    """Answers for the configuration of ``tensorrt_llm`` alone."""

    def __init__(self) -> None:
        self.parameters = EMBEDDED

    def ModelConfig(self, request: Any, context: grpc.ServicerContext) -> Any:
        config = model_config_pb2.ModelConfig(name=request.name)
        for name, value in self.parameters.items():
            config.parameters[name].string_value = value
        return service_pb2.ModelConfigResponse(config=config)


@pytest.fixture
def triton() -> Iterator[tuple[Triton, str]]:
    with ThreadPoolExecutor(max_workers=2) as pool:
        server, servicer = grpc.server(pool), Triton()
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield servicer, f"127.0.0.1:{port}"
        server.stop(grace=None).wait()


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(
    triton: tuple[Triton, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_grpc_proxy", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("grpc_proxy", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    info = find_running(triton[1])
    assert info is not None
    assert (info.model, info.engine) == ("tiny", ENGINE)


def test_a_foreign_triton_without_the_mark_is_not_taken_for_it(triton: tuple[Triton, str]) -> None:
    servicer, url = triton
    servicer.parameters = {name: value for name, value in EMBEDDED.items() if name != MARK}
    assert find_running(url) is None
    servicer.parameters = EMBEDDED
    assert find_running(url) is not None


def test_nothing_there_is_none() -> None:
    assert find_running("127.0.0.1:1") is None
    assert find_here("127.0.0.1:1") is None


def test_an_embedded_server_behind_a_tunnel_is_found_but_is_not_here(triton: tuple[Triton, str]) -> None:
    """Of another machine, or of this one and reached at another port than its own; the address is a loopback one."""
    servicer, url = triton
    own_port = url.rpartition(":")[2]
    servicer.parameters = {**EMBEDDED, "charter_grpc_port": own_port}
    assert find_here(url) == find_running(url)
    for tunnelled in (
        {"charter_machine": "0" * 32, "charter_grpc_port": own_port},
        {"charter_machine": "", "charter_grpc_port": own_port},
        {"charter_grpc_port": "1"},
    ):
        servicer.parameters = {**EMBEDDED, **tunnelled}
        info = find_running(url)
        assert info is not None
        assert not info.here
        assert find_here(url) is None


@pytest.mark.parametrize(
    ("host", "this_machine"),
    [
        *((host, True) for host in ("127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost")),
        *((host, False) for host in ("0.0.0.0", "10.0.0.1", "[2001:db8::1]", "localhost.example")),
    ],
)
def test_the_loopback(host: str, this_machine: bool) -> None:
    assert is_loopback(host) is this_machine
