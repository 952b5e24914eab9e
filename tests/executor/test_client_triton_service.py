"""What the Triton clients do besides inference: addresses, health, facts, metrics."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from scripted_triton import ScriptedTriton, chunk, engine_configs

from charter_compiler.diagnostics import errors
from charter_compiler.executor.triton_channel import TLS, credentials, parse_endpoint
from charter_compiler.executor.triton_client_async import AsyncProductionTritonClient
from charter_compiler.executor.triton_client_production import ProductionTritonClient

METRICS = 'nv_trt_llm_kv_cache_block_metrics{{kv_cache_block_type="tokens_per",model="tensorrt_llm",version="1"}} {}\n'


@pytest.mark.parametrize(
    ("url", "target", "metrics"),
    [
        ("localhost:8001", "localhost:8001", "http://localhost:8002/metrics"),
        ("grpc://host:9001", "host:9001", None),
        ("[::1]:8001", "[::1]:8001", "http://[::1]:8002/metrics"),
    ],
)
def test_addresses(url: str, target: str, metrics: str | None) -> None:
    endpoint = parse_endpoint(url)
    assert endpoint.target == target
    assert endpoint.default_metrics_url == metrics


@pytest.mark.parametrize("url", ["", "localhost", "http://localhost:8000", "host:x", "host:1/path", "host:99999"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(errors.UsageError, match="host:port"):
        ProductionTritonClient(url)


def test_a_password_in_an_address_is_refused_and_not_shown() -> None:
    with pytest.raises(errors.UsageError) as caught:
        ProductionTritonClient("user:sesame@host:1")
    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "loopback"), [("localhost", True), ("127.0.0.9", True), ("::1", True), ("10.0.0.1", False), ("gpu", False)]
)
def test_this_machine_is_known(host: str, loopback: bool) -> None:
    assert parse_endpoint(f"[{host}]:1" if ":" in host else f"{host}:1").loopback is loopback


@pytest.mark.parametrize("options", [{"timeout": 0}, {"timeout": -1}, {"max_retries": -1}, {"tokens_per_block": 0}])
def test_arguments_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(errors.UsageError):
        ProductionTritonClient("localhost:1", **options)


def test_files_of_tls_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(errors.UsageError, match=r"ca.pem: cannot be read"):
        credentials(TLS(ca_file=str(tmp_path / "ca.pem")))
    with pytest.raises(errors.UsageError, match="needs its key"):
        credentials(TLS(cert_file="a"))


def test_what_is_shown_of_a_client_holds_no_secret() -> None:
    client = ProductionTritonClient("localhost:1", headers={"x": "sesame"})
    assert "sesame" not in repr(client) + repr(client._settings)
    client.close()


@pytest.fixture
def server() -> Iterator[ScriptedTriton]:
    scripted = ScriptedTriton()
    yield scripted
    scripted.stop()


@pytest.fixture
def metrics_server() -> Iterator[Callable[[str], str]]:
    """Serves a text at a URL of its own."""
    servers = []

    def serve(text: str) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200 if text else 404)
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_args: Any) -> None:
                """Tests are quiet."""

        http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=http.serve_forever, args=(0.02,)).start()
        servers.append(http)
        return f"http://127.0.0.1:{http.server_port}/metrics"

    yield serve
    for http in servers:
        http.shutdown()
        http.server_close()


def test_health(server: ScriptedTriton) -> None:
    with ProductionTritonClient(server.url) as client:
        health = client.health_check()
        assert health
        assert (health.server, health.version, health.reason) == ("scripted", "1", None)
    closed = client.health_check()
    assert not closed
    assert "closed" in str(closed.reason)


def test_health_of_an_unknown_model(server: ScriptedTriton) -> None:
    with ProductionTritonClient(server.url, "nobody") as client:
        health = client.health_check()
    assert not health
    assert health.live
    assert "nobody" in str(health.reason)


def test_health_of_nothing() -> None:
    with ProductionTritonClient("127.0.0.1:1") as client:
        health = client.health_check()
    assert not health
    assert "127.0.0.1:1" in str(health.reason)


def test_the_asynchronous_client_tells_the_same(server: ScriptedTriton) -> None:
    async def run() -> None:
        async with AsyncProductionTritonClient(server.url) as client, AsyncProductionTritonClient("127.0.0.1:1") as no:
            assert await client.health_check()
            assert not await no.health_check()
            assert "nv_inference_count" in str(await client.metrics())
        assert not await client.health_check()

    asyncio.run(run())


def test_facts_are_those_of_the_configuration() -> None:
    plain = ScriptedTriton(configs=engine_configs())
    embedded = ScriptedTriton(
        configs=engine_configs(
            charter_embedded="0.1",
            charter_model_name="smollm2",
            charter_capacity_blocks="256",
            charter_max_context="8192",
            tokens_per_block="32",
            tokenizer_dir="model.gguf",
        )
    )
    with ProductionTritonClient(plain.url) as client:
        facts = client.facts()
        assert (facts.model, facts.tokens_per_block, facts.embedded) == ("ensemble", None, False)
        assert facts.target == f"triton://{plain.url}/ensemble"
    with ProductionTritonClient(embedded.url) as client:
        facts = client.facts()
        assert (facts.model, facts.tokenizer, facts.tokens_per_block) == ("smollm2", "model.gguf", 32)
        assert (facts.capacity_blocks, facts.max_context, facts.embedded) == (256, 8192, True)
    plain.stop()
    embedded.stop()


def test_without_a_metrics_port_the_statistics_serve(server: ScriptedTriton) -> None:
    with ProductionTritonClient(server.url) as client:
        client.infer_with_cache("a")
        metrics = client.get_metrics()
    assert metrics['nv_inference_count{model="ensemble",version="1"}'] == 1
    assert metrics['nv_inference_request_success{model="ensemble",version="1"}'] == 1


def test_metrics_of_a_given_url(server: ScriptedTriton, metrics_server: Any) -> None:
    with ProductionTritonClient(server.url, metrics_url=metrics_server("a 1\n")) as client:
        assert client.get_metrics() == {"a": 1.0}


def test_metrics_that_are_not_there_are_an_error(server: ScriptedTriton, metrics_server: Any) -> None:
    with (
        ProductionTritonClient(server.url, metrics_url="http://user:sesame@127.0.0.1:1/metrics") as client,
        pytest.raises(errors.TargetUnavailableError, match="metrics_url") as caught,
    ):
        client.get_metrics()
    assert "sesame" not in str(caught.value)
    with (
        ProductionTritonClient(server.url, metrics_url=metrics_server("")) as client,
        pytest.raises(errors.TargetProtocolError, match="404"),
    ):
        client.get_metrics()


def test_the_embedded_server_names_its_metrics_port(metrics_server: Any) -> None:
    port = metrics_server("a 1\n").split(":")[2].split("/")[0]
    scripted = ScriptedTriton(configs=engine_configs(charter_metrics_port=port))
    with ProductionTritonClient(scripted.url) as client:
        assert client.get_metrics() == {"a": 1.0}
    scripted.stop()


def figures(_request: Any, _context: Any) -> Iterator[Any]:
    yield chunk("x", final=True, num_input_tokens=100, kv_cache_reused_blocks=1)


def test_tensorrt_llm_tells_its_block_size_among_its_metrics(metrics_server: Any) -> None:
    scripted = ScriptedTriton(figures)
    url = metrics_server(METRICS.format(64))
    with ProductionTritonClient(scripted.url, metrics_url=url) as client:
        assert client.infer_with_cache("a").cached_tokens == 64

    async def run() -> int | None:
        async with AsyncProductionTritonClient(scripted.url, metrics_url=url) as client:
            return (await client.infer_with_cache("a")).cached_tokens

    assert asyncio.run(run()) == 64
    scripted.stop()


@pytest.mark.parametrize("text", [METRICS.format(0), "", "broken metrics\n"])
def test_a_block_size_that_is_not_to_be_had_leaves_cached_tokens_unknown(metrics_server: Any, text: str) -> None:
    scripted = ScriptedTriton(figures)
    with ProductionTritonClient(scripted.url, metrics_url=metrics_server(text)) as client:
        results = client.infer_batch(["a", "b"])
    assert [result.cached_tokens for result in results] == [None, None]
    assert results[0].details["kv_cache_reused_blocks"] == 1
    scripted.stop()


def test_a_given_block_size_wins(server: ScriptedTriton) -> None:
    server.behaviour = figures
    with ProductionTritonClient(server.url, tokens_per_block=16) as client:
        assert client.infer_with_cache("a").cached_tokens == 16
        assert client.facts().tokens_per_block == 16
