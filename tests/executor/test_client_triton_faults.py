"""Both Triton clients against a server that fails on purpose. Each test runs once with each client."""

from __future__ import annotations

import asyncio
import gc
import inspect
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from scripted_triton import ScriptedTriton, chunk, echo, engine_configs, llmapi_configs, prompt_of
from tritonclient.grpc import service_pb2

from charter_compiler.diagnostics import errors
from charter_compiler.executor.triton_channel import TLS
from charter_compiler.executor.triton_client_async import AsyncProductionTritonClient
from charter_compiler.executor.triton_client_production import ProductionTritonClient
from charter_compiler.executor.triton_model import guide_of
from charter_compiler.executor.types import GenerationRequest

TLS_FILES = Path(__file__).parent / "tls"
HANG = 20.0
"""Seconds after which something that should have ended is taken to hang."""

Drive = Callable[..., Any]


@pytest.fixture(params=["sync", "async"])
def drive(request: pytest.FixtureRequest) -> Drive:
    """``drive(url, action, **options)``: open a client, do ``action(client)``, close it; returns what it returned."""

    def blocking(url: str, action: Callable[[Any], Any], **options: Any) -> Any:
        with ProductionTritonClient(url, **options) as client:
            return action(client)

    def asynchronous(url: str, action: Callable[[Any], Any], **options: Any) -> Any:
        async def run() -> Any:
            async with AsyncProductionTritonClient(url, **options) as client:
                value = action(client)
                return await value if inspect.isawaitable(value) else value

        return asyncio.run(run())

    return blocking if request.param == "sync" else asynchronous


@pytest.fixture
def start() -> Iterator[Callable[..., ScriptedTriton]]:
    """Starts scripted servers, which end with the test."""
    servers: list[ScriptedTriton] = []

    def make(*args: Any, **options: Any) -> ScriptedTriton:
        servers.append(ScriptedTriton(*args, **options))
        return servers[-1]

    yield make
    for server in servers:
        server.stop()


def ask(prompt: str = "a b c", **options: Any) -> Callable[[Any], Any]:
    return lambda client: client.infer_with_cache(prompt, **options)


def failing(code: grpc.StatusCode, message: str, times: int = 10**9, after: int = 0) -> Any:
    """Fails ``times`` calls, each after so many pieces of text; then echoes."""
    left = [times]

    def behaviour(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        if left[0] == 0:
            yield from echo(request, context)
            return
        left[0] -= 1
        for _ in range(after):
            yield chunk("piece")
        context.abort(code, message)

    return behaviour


def stalled(after: int) -> Any:
    """Sends so many pieces, then nothing more until the client has gone."""

    def behaviour(_request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        gone = threading.Event()
        context.add_callback(gone.set)
        for _ in range(after):
            yield chunk("piece")
        gone.wait(3 * HANG)
        context.abort(grpc.StatusCode.CANCELLED, "nobody listens")

    return behaviour


def test_one_call(drive: Drive, start: Any) -> None:
    server = start(configs=engine_configs(tokens_per_block="32"))
    result = drive(server.url, ask("a b c", max_tokens=5))
    assert (result.text, result.prompt_tokens, result.cached_tokens, result.output_tokens) == ("a b c", 3, 0, 3)
    assert 0 < result.ttft <= result.latency
    assert "retries" not in result.details


@pytest.mark.parametrize("configs", [engine_configs(decoupled=False), llmapi_configs(decoupled=False)])
def test_a_model_that_answers_at_once(drive: Drive, start: Any, configs: dict[str, Any]) -> None:
    server = start(lambda request, _context: iter([chunk(prompt_of(request))]), configs)
    name = "ensemble" if "ensemble" in configs else "tensorrt_llm"
    result = drive(server.url, ask("a b"), model_name=name)
    assert result.text == "a b"
    assert result.ttft is None


def test_the_description_is_read_once(drive: Drive, start: Any) -> None:
    server = start()
    asked: list[str] = []
    original = server._config
    server._config = lambda name, context: (asked.append(name), original(name, context))[1]
    drive(server.url, lambda client: client.infer_batch(["a"], concurrency=1))
    first = len(asked)
    drive(server.url, lambda client: client.infer_batch(["a", "b", "c"], concurrency=1))
    assert len(asked) == 2 * first


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED])
def test_a_call_that_was_turned_away_is_sent_again(drive: Drive, start: Any, code: grpc.StatusCode) -> None:
    server = start(failing(code, "later", times=1))
    result = drive(server.url, ask())
    assert result.text == "a b c"
    assert result.details["retries"] == 1
    assert len(server.requests) == 2


def test_retries_end(drive: Drive, start: Any) -> None:
    server = start(failing(grpc.StatusCode.UNAVAILABLE, "later"))
    with pytest.raises(errors.TargetUnavailableError, match="later"):
        drive(server.url, ask(), max_retries=1)
    assert len(server.requests) == 2


def test_nothing_is_sent_again_once_a_part_has_arrived(drive: Drive, start: Any) -> None:
    server = start(failing(grpc.StatusCode.UNAVAILABLE, "later", times=1, after=1))
    with pytest.raises(errors.TargetUnavailableError):
        drive(server.url, ask())
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, errors.RequestRejectedError),
        (grpc.StatusCode.INTERNAL, errors.TargetError),
        (grpc.StatusCode.UNAUTHENTICATED, errors.AuthenticationError),
    ],
)
def test_what_cannot_pass_is_not_sent_again(drive: Drive, start: Any, code: grpc.StatusCode, kind: Any) -> None:
    server = start(failing(code, "no"))
    with pytest.raises(kind) as caught:
        drive(server.url, ask())
    assert type(caught.value) is kind
    assert len(server.requests) == 1


def test_an_error_inside_the_stream_is_an_error(drive: Drive, start: Any) -> None:
    message = service_pb2.ModelStreamInferResponse(error_message="Prompt length (9) exceeds maximum input length (8)")
    server = start(lambda _request, _context: iter([message]))
    with pytest.raises(errors.ContextLengthError, match=f"triton://{server.url}/ensemble: Prompt length"):
        drive(server.url, ask())


def test_a_truncated_answer_is_not_an_answer(drive: Drive, start: Any) -> None:
    server = start(lambda _request, _context: iter([chunk("half")]))
    with pytest.raises(errors.TargetProtocolError, match="before its final response"):
        drive(server.url, ask())


def test_malformed_tensors_are_an_error_of_the_server(drive: Drive, start: Any) -> None:
    broken = chunk("x")
    broken.infer_response.raw_output_contents[0] = b"\xff\xff\xff\xff"
    server = start(lambda _request, _context: iter([broken]))
    with pytest.raises(errors.TargetProtocolError, match="not valid BYTES"):
        drive(server.url, ask())


def test_an_unknown_model(drive: Drive, start: Any) -> None:
    with pytest.raises(errors.UnknownModelError, match="unknown model: 'nobody'"):
        drive(start().url, ask(), model_name="nobody")


def test_nothing_there(drive: Drive, start: Any) -> None:
    server = start()
    server.stop()
    with pytest.raises(errors.TargetUnavailableError, match=r"is the server running"):
        drive(server.url, ask(), max_retries=1)


@pytest.mark.parametrize("after", [0, 2])
def test_a_stalled_stream_ends_at_the_deadline(drive: Drive, start: Any, after: int) -> None:
    server = start(stalled(after))
    with pytest.raises(errors.TargetTimeoutError):
        drive(server.url, ask(timeout=0.5))
    assert server.cancelled.acquire(timeout=HANG)
    assert len(server.requests) == 1


def test_a_call_without_a_limit_is_not_ended(drive: Drive, start: Any) -> None:
    assert drive(start().url, ask(), timeout=None).text == "a b c"


def test_headers_go_along_and_are_never_shown(drive: Drive, start: Any) -> None:
    secret = "Bearer sesame"
    server = start(failing(grpc.StatusCode.UNAUTHENTICATED, f"I do not know {secret}"))
    with pytest.raises(errors.AuthenticationError) as caught:
        drive(server.url, ask(), headers={"Authorization": secret})
    assert server.metadata[0]["authorization"] == secret
    assert server.metadata[0]["triton_grpc_error"] == "true"
    assert "sesame" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_tls(drive: Drive, start: Any) -> None:
    certificate = (TLS_FILES / "server.pem").read_bytes()
    server = start(credentials=grpc.ssl_server_credentials([((TLS_FILES / "server.key").read_bytes(), certificate)]))
    tls = TLS(ca_file=str(TLS_FILES / "server.pem"), server_name="charter.test")
    assert drive(server.url, ask(), tls=tls).text == "a b c"
    # The system's roots do not vouch for it, and plain text is not what it speaks.
    for options in ({"tls": True}, {"tls": False}):
        with pytest.raises(errors.TargetError):
            drive(server.url, ask(), max_retries=0, **options)


def test_a_server_that_was_away_is_described_anew(drive: Drive, start: Any) -> None:
    def figures(_request: Any, _context: grpc.ServicerContext) -> Iterator[Any]:
        yield chunk("x", final=True, num_input_tokens=100, kv_cache_reused_blocks=1)

    first = start(figures, engine_configs(tokens_per_block="32"))

    def restart() -> None:
        start(figures, engine_configs(tokens_per_block="64"), port=first.port)

    def blocking(client: Any) -> list[Any]:
        before = client.infer_with_cache("a")
        first.stop()
        with pytest.raises(errors.TargetUnavailableError):
            client.infer_with_cache("a")
        restart()
        return [before, client.infer_with_cache("a")]

    async def asynchronous(client: Any) -> list[Any]:
        before = await client.infer_with_cache("a")
        await asyncio.to_thread(first.stop)
        with pytest.raises(errors.TargetUnavailableError):
            await client.infer_with_cache("a")
        await asyncio.to_thread(restart)
        return [before, await client.infer_with_cache("a")]

    def action(client: Any) -> Any:
        return (blocking if isinstance(client, ProductionTritonClient) else asynchronous)(client)

    before, after = drive(first.url, action)
    assert (before.cached_tokens, after.cached_tokens) == (32, 64)


def test_a_batch_keeps_its_order(drive: Drive, start: Any) -> None:
    prompts = [f"prompt {n}" for n in range(20)]
    results = drive(start().url, lambda client: client.infer_batch(prompts, concurrency=6))
    assert [result.text for result in results] == prompts


def test_an_empty_batch(drive: Drive, start: Any) -> None:
    assert drive(start().url, lambda client: client.infer_batch([])) == []


def test_the_first_failure_of_a_batch_cancels_the_others(drive: Drive, start: Any) -> None:
    wait = stalled(1)
    begun = threading.Semaphore(0)

    def behaviour(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        if prompt_of(request) == "bad":
            for _ in range(3):
                begun.acquire(timeout=HANG)
            context.abort(grpc.StatusCode.INTERNAL, "broken")
        begun.release()
        yield from wait(request, context)

    server = start(behaviour)
    prompts = ["slow 1", "slow 2", "bad", "slow 3", "never 1", "never 2"]
    with pytest.raises(errors.TargetError, match="broken"):
        drive(server.url, lambda client: client.infer_batch(prompts, concurrency=4))
    for _ in range(3 + 1):
        assert server.cancelled.acquire(timeout=HANG)
    assert len(server.requests) == 4


def keep_calls(client: Any) -> list[Any]:
    """Keeps the client's streaming calls alive, so that no garbage collector cancels them in its place."""
    kept: list[Any] = []
    method = client._stub.ModelStreamInfer

    def keeping(*args: Any, **options: Any) -> Any:
        kept.append(method(*args, **options))
        return kept[-1]

    client._stub.ModelStreamInfer = keeping
    return kept


def test_leaving_a_stream_cancels_the_call(drive: Drive, start: Any) -> None:
    server = start(stalled(1))

    def blocking(client: Any) -> str:
        calls = keep_calls(client)
        stream = client.stream("a")
        first = next(stream)
        stream.close()
        assert server.cancelled.acquire(timeout=HANG)
        assert calls
        return str(first.text)

    async def asynchronous(client: Any) -> str:
        calls = keep_calls(client)
        stream = client.stream("a")
        first = await anext(stream)
        await stream.aclose()
        assert await asyncio.to_thread(server.cancelled.acquire, timeout=HANG)
        assert calls
        return str(first.text)

    def action(client: Any) -> Any:
        return (blocking if isinstance(client, ProductionTritonClient) else asynchronous)(client)

    assert drive(server.url, action) == "piece"


def test_closing_the_client_ends_its_calls() -> None:
    server = ScriptedTriton(stalled(1))
    client = ProductionTritonClient(server.url)
    stream = client.stream("a")
    next(stream)
    client.close()
    with pytest.raises(errors.RequestCancelledError):
        next(stream)
    assert server.cancelled.acquire(timeout=HANG)
    with pytest.raises(errors.RequestRejectedError, match="closed"):
        client.infer_with_cache("a")
    client.close()
    server.stop()


async def test_closing_the_asynchronous_client_ends_its_calls() -> None:
    server = ScriptedTriton(stalled(1))
    client = AsyncProductionTritonClient(server.url)
    stream = client.stream("a")
    await anext(stream)
    waiting = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    await client.aclose()
    with pytest.raises(errors.RequestCancelledError):
        await waiting
    with pytest.raises(errors.RequestRejectedError, match="closed"):
        await client.infer_with_cache("a")
    await client.aclose()
    await asyncio.to_thread(server.stop)


def half_stall(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
    """Echoes a prompt that begins with "good"; of others sends a piece and stalls."""
    if prompt_of(request).startswith("good"):
        yield from echo(request, context)
    else:
        yield from stalled(1)(request, context)


async def test_64_tasks_half_of_them_cancelled() -> None:
    server = ScriptedTriton(half_stall)
    async with AsyncProductionTritonClient(server.url) as client:

        async def stall_until_cancelled(n: int) -> None:
            async for _ in client.stream(f"bad {n}"):
                started.release()

        started = asyncio.Semaphore(0)
        bad = [asyncio.create_task(stall_until_cancelled(n)) for n in range(32)]
        good = [asyncio.create_task(client.infer_with_cache(f"good {n} of many words")) for n in range(32)]
        for _ in bad:
            await asyncio.wait_for(started.acquire(), HANG)
        for task in bad:
            task.cancel()
        results = await asyncio.wait_for(asyncio.gather(*good), HANG)
        ends = await asyncio.wait_for(asyncio.gather(*bad, return_exceptions=True), HANG)
        assert [result.text for result in results] == [f"good {n} of many words" for n in range(32)]
        assert all(isinstance(end, asyncio.CancelledError) for end in ends)
        for _ in bad:
            assert await asyncio.to_thread(server.cancelled.acquire, timeout=HANG)
        assert server.active == 0
        # The connection still serves, and nothing of the cancelled calls is left in this loop.
        assert (await client.infer_with_cache("good bye")).text == "good bye"
        assert asyncio.all_tasks() == {asyncio.current_task()}
    gc.collect()
    await asyncio.to_thread(server.stop)


def test_64_threads_half_of_them_cancelled() -> None:
    server = ScriptedTriton(half_stall)
    before = set(threading.enumerate())
    texts: dict[int, str] = {}
    with ProductionTritonClient(server.url) as client:

        def work(n: int) -> None:
            if n % 2:
                stream = client.stream(f"bad {n}")
                next(stream)
                stream.close()
            else:
                texts[n] = client.infer_with_cache(f"good {n} of many words").text

        threads = [threading.Thread(target=work, args=(n,)) for n in range(64)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(HANG)
            assert not thread.is_alive()
        assert texts == {n: f"good {n} of many words" for n in range(0, 64, 2)}
        for _ in range(32):
            assert server.cancelled.acquire(timeout=HANG)
        assert server.active == 0
        assert not client._scope._calls
        assert client.infer_with_cache("good bye").text == "good bye"
    server.stop()
    for thread in set(threading.enumerate()) - before:
        thread.join(HANG)
    assert set(threading.enumerate()) <= before


def test_messages_need_a_tokenizer(drive: Drive, start: Any) -> None:
    chat = GenerationRequest(messages=({"role": "user", "content": "hi"},))
    with pytest.raises(errors.RequestRejectedError, match="chat template"):
        drive(start().url, lambda client: client.generate(chat))


def test_a_response_format_is_refused_and_not_ignored(drive: Drive, start: Any) -> None:
    """By a model without the inputs for it, as that of the llmapi profile."""
    wanted = GenerationRequest(prompt="hi", response_format={"type": "json_object"})
    with pytest.raises(errors.RequestRejectedError, match="cannot hold an output to a response_format"):
        drive(start(configs=llmapi_configs()).url, lambda client: client.generate(wanted), model_name="tensorrt_llm")


def test_a_response_format_becomes_a_guide() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    assert guide_of(GenerationRequest(prompt="hi", response_format=wanted)) == {
        "guided_decoding_guide_type": "json_schema",
        "guided_decoding_guide": json.dumps(schema),
    }
    only = GenerationRequest(prompt="hi", response_format={"type": "json_object"})
    assert guide_of(only) == {"guided_decoding_guide_type": "json"}
    for wrong in ({"type": "json_schema"}, {"type": "grammar"}, {"type": "json_schema", "json_schema": {}}):
        with pytest.raises(errors.RequestRejectedError, match="response_format is"):
            guide_of(GenerationRequest(prompt="hi", response_format=wrong))


@pytest.mark.parametrize(
    "request_", [GenerationRequest(), GenerationRequest(prompt="a", messages=()), GenerationRequest(prompt="")]
)
def test_a_request_without_one_prompt_is_refused(drive: Drive, start: Any, request_: GenerationRequest) -> None:
    with pytest.raises(errors.RequestRejectedError):
        drive(start().url, lambda client: client.generate(request_))
