"""The OpenAI-compatible target against a real HTTP server on the loopback."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from scripted_openai import DONE, ScriptedOpenAI, completion, event

from charter_compiler.diagnostics import errors
from charter_compiler.executor.openai_client import OpenAITarget
from charter_compiler.executor.openai_wire import EventDecoder, error_for, parse_event, parse_target, retry_after
from charter_compiler.executor.types import AsyncTarget, GenerationRequest

USAGE = {"prompt_tokens": 100, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 96}}
ASK = GenerationRequest(prompt="hi", max_tokens=5)
HANG = 20.0


@pytest.fixture
def serve() -> Iterator[Callable[..., ScriptedOpenAI]]:
    servers: list[ScriptedOpenAI] = []

    def make(reply: Callable[[dict[str, Any]], Any], models: Any = None, *metrics: str | None) -> ScriptedOpenAI:
        servers.append(ScriptedOpenAI(reply, models, *metrics))
        return servers[-1]

    yield make
    for server in servers:
        server.stop()


def as_target(target: AsyncTarget) -> AsyncTarget:
    """Type-checks the protocol."""
    return target


@pytest.mark.parametrize(
    ("target", "base_url", "model"),
    [
        ("openai://localhost:8000/v1?model=a/b", "http://localhost:8000/v1", "a/b"),
        ("openais://api.example/v1/?model=m", "https://api.example/v1", "m"),
        ("openai://[::1]:80?model=m", "http://[::1]:80", "m"),
    ],
)
def test_targets(target: str, base_url: str, model: str) -> None:
    address = parse_target(target)
    assert (address.base_url, address.model) == (base_url, model)


@pytest.mark.parametrize(
    "target", ["openai://host/v1", "http://host/v1?model=a", "openai:///v1?model=a", "openai://h:x/v1?model=a"]
)
def test_what_is_no_target_is_refused(target: str) -> None:
    with pytest.raises(errors.UsageError, match=r"openai://host:port/v1\?model=NAME"):
        parse_target(target)


@pytest.mark.parametrize("target", ["openai://sesame@host/v1?model=a", "openai://host/v1?model=a&api_key=sesame"])
def test_a_key_in_a_target_is_refused_and_not_shown(target: str) -> None:
    with pytest.raises(errors.UsageError, match="OPENAI_API_KEY") as caught:
        parse_target(target)
    assert "sesame" not in str(caught.value)


async def test_a_completion(serve: Any) -> None:
    server = serve(lambda _body: completion("Hel", "lo", usage=USAGE))
    async with OpenAITarget(server.target) as target:
        result = await as_target(target).generate(
            GenerationRequest(
                prompt="hi",
                max_tokens=5,
                temperature=0.0,
                top_p=0.5,
                top_k=4,
                seed=3,
                stop=("x",),
                response_format={"type": "json_object"},
                cache_id=7,
            )
        )
    path, headers, body = server.requests[0]
    assert path == "/v1/completions"
    assert "authorization" not in headers
    assert body == {
        "model": "tiny",
        "prompt": "hi",
        "max_tokens": 5,
        "temperature": 0.0,
        "top_p": 0.5,
        "top_k": 4,
        "seed": 3,
        "stop": ["x"],
        "response_format": {"type": "json_object"},
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert (result.text, result.finish_reason, result.cache_id) == ("Hello", "length", 7)
    assert (result.prompt_tokens, result.cached_tokens, result.output_tokens) == (100, 96, 2)
    assert result.hit_rate == 0.96
    assert result.ttft is not None
    assert 0 < result.ttft <= result.latency


async def test_a_chat(serve: Any) -> None:
    pieces = [
        event({"choices": [{"delta": {"role": "assistant", "content": ""}}]}),
        event({"choices": [{"delta": {"content": "Hi"}}]}),
        event({"choices": [{"delta": {"content": None}, "finish_reason": "stop"}]}),
        DONE,
    ]
    server = serve(lambda _body: pieces)
    messages = ({"role": "user", "content": "hello"},)
    async with OpenAITarget(server.target) as target:
        chunks = [chunk async for chunk in target.stream(GenerationRequest(messages=messages))]
    assert server.requests[0][0] == "/v1/chat/completions"
    assert server.requests[0][2]["messages"] == [{"role": "user", "content": "hello"}]
    assert [chunk.text for chunk in chunks] == ["Hi", ""]
    assert chunks[-1].result is not None
    assert chunks[-1].result.finish_reason == "stop"


@pytest.mark.parametrize(
    ("fields", "stop"),
    [
        ({"stop_reason": "END"}, "END"),  # vLLM's
        ({"matched_stop": "END"}, "END"),  # SGLang's
        ({"stop_reason": 2}, None),  # a token of the model's own end
        ({"stop_reason": None, "matched_stop": "not asked for"}, None),
    ],
)
async def test_a_server_says_at_which_stop_text_it_stopped(serve: Any, fields: Any, stop: str | None) -> None:
    last = event({"choices": [{"index": 0, "text": "", "finish_reason": "stop", **fields}]})
    server = serve(lambda _body: [last, DONE])
    async with OpenAITarget(server.target) as target:
        assert (await target.generate(GenerationRequest(prompt="hi", stop=("END",)))).stop == stop


@pytest.mark.parametrize(
    ("usage", "figures"),
    [
        (None, (None, None, None)),
        ({"prompt_tokens": 5, "completion_tokens": 1}, (5, None, 1)),
        ({"prompt_tokens": 5, "completion_tokens": 1, "prompt_tokens_details": None}, (5, None, 1)),
        ({"prompt_tokens": 5, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": None}}, (5, None, 1)),
        ({"prompt_tokens": 5, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 0}}, (5, 0, 1)),
    ],
)
async def test_what_the_usage_does_not_tell_is_not_known(serve: Any, usage: Any, figures: Any) -> None:
    server = serve(lambda _body: completion("x", usage=usage))
    async with OpenAITarget(server.target) as target:
        result = await target.generate(ASK)
    assert (result.prompt_tokens, result.cached_tokens, result.output_tokens) == figures


async def test_the_key_comes_from_the_environment_and_is_never_shown(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sesame")
    server = serve(lambda _body: (401, {}, json.dumps({"error": {"message": "wrong key sesame"}})))
    async with OpenAITarget(server.target) as target:
        with pytest.raises(errors.AuthenticationError, match="wrong key") as caught:
            await target.generate(ASK)
    assert server.requests[0][1]["authorization"] == "Bearer sesame"
    assert "sesame" not in f"{caught.value!s} {caught.value!r} {target!r}"
    assert caught.value.__cause__ is None


VLLM_CONTEXT = "This model's maximum context length is 64 tokens. However, you requested 99 tokens."


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, "bad", errors.RequestRejectedError),
        (400, json.dumps({"error": {"message": VLLM_CONTEXT}}), errors.ContextLengthError),
        (400, json.dumps({"object": "error", "message": VLLM_CONTEXT}), errors.ContextLengthError),
        (401, "", errors.AuthenticationError),
        (403, "", errors.AuthenticationError),
        (404, json.dumps({"detail": "Not Found"}), errors.UnknownModelError),
        (408, "", errors.TargetTimeoutError),
        (400, "the request exceeds the available context size, try increasing it", errors.ContextLengthError),
        (413, "", errors.ContextLengthError),
        (422, json.dumps({"detail": [{"msg": "field required"}]}), errors.RequestRejectedError),
        (429, "", errors.TargetOverloadedError),
        (500, "boom", errors.TargetError),
        (502, "", errors.TargetUnavailableError),
        (503, "", errors.TargetUnavailableError),
        (504, "", errors.TargetTimeoutError),
        (302, "", errors.TargetProtocolError),
        (204, "", errors.TargetProtocolError),
    ],
)
async def test_statuses(serve: Any, status: int, body: str, kind: type[errors.TargetError]) -> None:
    server = serve(lambda _body: (status, {}, body))
    async with OpenAITarget(server.target, max_retries=0) as target:
        with pytest.raises(kind, match=r"http://127.0.0.1:\d+/v1 \(tiny\): ") as caught:
            await target.generate(ASK)
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)


def test_every_failing_status_has_a_meaning() -> None:
    for status in range(300, 600):
        assert str(error_for(status, "", {}, "x")).startswith(f"x: the server answered {status} (")


@pytest.mark.parametrize(("value", "seconds"), [("3", 3.0), ("0.5", 0.5), (None, None), ("-1", None), ("Mon", None)])
def test_retry_after(value: str | None, seconds: float | None) -> None:
    assert retry_after(value) == seconds


def test_a_busy_server_says_when() -> None:
    for status in (429, 503):
        error = error_for(status, "", {"retry-after": "2"}, "x")
        assert isinstance(error, errors.TargetOverloadedError)
        assert error.retry_after == 2.0


async def test_a_call_that_was_turned_away_is_sent_again(serve: Any) -> None:
    replies = iter([(429, {"Retry-After": "0"}, ""), (503, {}, ""), completion("ok")])
    server = serve(lambda _body: next(replies))
    async with OpenAITarget(server.target) as target:
        result = await target.generate(ASK)
    assert (result.text, result.details) == ("ok", {"retries": 2})


async def test_a_truncated_answer_is_not_an_answer(serve: Any) -> None:
    server = serve(lambda _body: completion("half")[:1])
    async with OpenAITarget(server.target) as target:
        with pytest.raises(errors.TargetProtocolError, match="ended before the answer"):
            await target.generate(ASK)


@pytest.mark.parametrize("reason", ["abort", "error"])
async def test_an_answer_that_the_server_gave_up_is_not_an_answer(serve: Any, reason: str) -> None:
    server = serve(lambda _body: completion("half", finish=reason))
    async with OpenAITarget(server.target) as target:
        with pytest.raises(errors.TargetError, match=f"gave the answer up \\({reason}\\)"):
            await target.generate(ASK)


def broken_after(*pieces: bytes) -> Iterator[bytes]:
    yield from pieces
    raise ConnectionAbortedError


async def test_a_connection_that_breaks_before_the_answer_is_tried_again(serve: Any) -> None:
    replies = iter([broken_after(), completion("ok")])
    server = serve(lambda _body: next(replies))
    async with OpenAITarget(server.target) as target:
        assert (await target.generate(ASK)).text == "ok"


async def test_nothing_is_sent_again_once_a_part_has_arrived(serve: Any) -> None:
    server = serve(lambda _body: broken_after(completion("half")[0]))
    async with OpenAITarget(server.target) as target:
        with pytest.raises(errors.TargetUnavailableError):
            await target.generate(ASK)
    assert len(server.requests) == 1


async def test_nothing_there(serve: Any) -> None:
    server = serve(lambda _body: ())
    server.stop()
    async with OpenAITarget(server.target, max_retries=1) as target:
        with pytest.raises(errors.TargetUnavailableError, match="is the server running"):
            await target.generate(ASK)
        with pytest.raises(errors.TargetUnavailableError):
            await target.facts()


@pytest.mark.parametrize("first", [b": wait\n\n", completion("a")[0]])
async def test_a_stalled_stream_ends_at_the_deadline(serve: Any, first: bytes) -> None:
    server = serve(lambda _body: server.endless(first))
    async with OpenAITarget(server.target) as target:
        with pytest.raises(errors.TargetTimeoutError, match=r"within 0.4 s"):
            await target.generate(GenerationRequest(prompt="x", timeout=0.4))
        assert await asyncio.to_thread(server.gone.acquire, timeout=HANG)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("pieces", "message"),
    [
        ([b"data: {broken\n\n"], "not JSON"),
        ([b"data: [1]\n\n"], "not an object"),
        ([event({"choices": "none"})], "another form"),
    ],
)
async def test_malformed_events(serve: Any, pieces: list[bytes], message: str) -> None:
    server = serve(lambda _body: pieces)
    async with OpenAITarget(server.target) as target:
        with pytest.raises(errors.TargetProtocolError, match=message):
            await target.generate(ASK)


async def test_an_error_inside_the_stream(serve: Any) -> None:
    server = serve(lambda _body: [event({"error": {"message": VLLM_CONTEXT, "code": 400}})])
    async with OpenAITarget(server.target) as target:
        with pytest.raises(errors.ContextLengthError):
            await target.generate(ASK)
    with pytest.raises(errors.TargetError, match="engine died"):
        parse_event(json.dumps({"error": {"message": "engine died"}}), "x")


def test_events_are_cut_only_where_lines_end() -> None:
    text = "a\u2028b\u0085c\x0b"
    data = b": comment\r\nevent: x\r\n" + event({"t": text}).replace(b"\n", b"\r\n") + b"data:1\ndata: 2\n\n"
    decoder = EventDecoder()
    events = [found for byte in data for found in decoder.feed(bytes([byte]))]
    assert json.loads(events[0]) == {"t": text}
    assert events[1:] == ["1\n2"]


async def test_facts(serve: Any) -> None:
    server = serve(lambda _body: (), {"data": [{"id": "tiny", "max_model_len": 2048}]})
    async with OpenAITarget(server.target) as target:
        facts = await target.facts()
        assert (facts.model, facts.max_context, facts.tokens_per_block, facts.embedded) == ("tiny", 2048, None, False)
        assert await target.metrics() == {"a": 1.0}


VLLM = {"data": [{"id": "tiny", "max_model_len": 2048, "owned_by": "vllm", "root": "models/tiny"}]}
CACHE = 'vllm:cache_config_info{block_size="16",enable_prefix_caching="True",num_gpu_blocks="99",x="a,b"} 1.0\n'


@pytest.mark.parametrize(
    ("metrics", "sizes"),
    [
        (CACHE, (16, 99)),
        (CACHE.replace("True", "False"), (None, None)),
        (CACHE.replace('"99"', '"None"'), (None, None)),
        ("a 1\n", (None, None)),
        (None, (None, None)),
    ],
)
async def test_vllm_tells_its_cache_in_its_metrics(
    serve: Any, metrics: str | None, sizes: tuple[int | None, int | None]
) -> None:
    server = serve(lambda _body: (), VLLM, metrics)
    async with OpenAITarget(server.target) as target:
        facts = await target.facts()
    assert (facts.engine, facts.model_path) == ("vllm", "models/tiny")
    assert (facts.tokens_per_block, facts.capacity_blocks) == sizes


async def test_a_model_that_the_server_does_not_list(serve: Any) -> None:
    server = serve(lambda _body: (), {"data": [{"id": "large"}]})
    async with OpenAITarget(server.target) as target:
        with pytest.raises(errors.UnknownModelError, match="it has large"):
            await target.facts()


@pytest.mark.parametrize("models", [None, [], {"data": [{}]}, "text"])
async def test_models_in_another_form(serve: Any, models: Any) -> None:
    server = serve(lambda _body: (), models)
    async with OpenAITarget(server.target) as target:
        with pytest.raises((errors.TargetProtocolError, errors.UnknownModelError)):
            await target.facts()


@pytest.mark.parametrize(
    "request_", [GenerationRequest(), GenerationRequest(prompt="a", messages=()), GenerationRequest("a", max_tokens=0)]
)
async def test_a_request_that_makes_no_sense_is_refused(serve: Any, request_: GenerationRequest) -> None:
    server = serve(lambda _body: ())
    async with OpenAITarget(server.target) as target:
        with pytest.raises(errors.RequestRejectedError):
            await target.generate(request_)
    assert not server.requests


async def test_closed(serve: Any) -> None:
    server = serve(lambda _body: ())
    target = OpenAITarget(server.target)
    await target.aclose()
    await target.aclose()
    with pytest.raises(errors.RequestRejectedError, match="closed"):
        await target.generate(ASK)
    with pytest.raises(errors.RequestRejectedError, match="closed"):
        await target.facts()


def keep_responses(target: OpenAITarget) -> list[Any]:
    """Keeps the target's responses alive, so that no garbage collector closes them in its place."""
    kept: list[Any] = []
    send = target._client.send

    async def keeping(*args: Any, **options: Any) -> Any:
        kept.append(await send(*args, **options))
        return kept[-1]

    target._client.send = keeping  # type: ignore[method-assign]
    return kept


async def test_leaving_a_stream_ends_the_call(serve: Any) -> None:
    server = serve(lambda _body: server.endless(completion("a")[0]))
    async with OpenAITarget(server.target) as target:
        responses = keep_responses(target)
        stream = target.stream(ASK)
        assert (await anext(stream)).text == "a"
        await stream.aclose()
        assert await asyncio.to_thread(server.gone.acquire, timeout=HANG)
        assert responses[0].is_closed


async def test_64_tasks_half_of_them_cancelled(serve: Any) -> None:
    def reply(body: dict[str, Any]) -> Any:
        if body["prompt"].startswith("good"):
            return completion(body["prompt"])
        return server.endless(completion("a")[0])

    server = serve(reply)
    async with OpenAITarget(server.target) as target:
        started = asyncio.Semaphore(0)

        async def stall_until_cancelled(n: int) -> None:
            async for _ in target.stream(GenerationRequest(prompt=f"bad {n}")):
                started.release()

        bad = [asyncio.create_task(stall_until_cancelled(n)) for n in range(32)]
        good = [asyncio.create_task(target.generate(GenerationRequest(prompt=f"good {n}"))) for n in range(32)]
        for _ in bad:
            await asyncio.wait_for(started.acquire(), HANG)
        for task in bad:
            task.cancel()
        results = await asyncio.wait_for(asyncio.gather(*good), HANG)
        ends = await asyncio.wait_for(asyncio.gather(*bad, return_exceptions=True), HANG)
        assert [result.text for result in results] == [f"good {n}" for n in range(32)]
        assert all(isinstance(end, asyncio.CancelledError) for end in ends)
        for _ in bad:
            assert await asyncio.to_thread(server.gone.acquire, timeout=HANG)
        assert asyncio.all_tasks() == {asyncio.current_task()}
