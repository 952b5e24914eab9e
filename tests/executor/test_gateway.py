"""The gateway: stock clients on the real embedded server, and what it refuses on a target in memory."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

import anthropic
import httpx
import openai
import pytest
from run_doubles import ScriptedTarget, facts

from charter_compiler.api.memo import MemoOptions, memo_of
from charter_compiler.diagnostics.errors import (
    ContextLengthError,
    PortInUseError,
    TargetOverloadedError,
    TargetUnavailableError,
    UsageError,
)
from charter_compiler.executor.gateway import server
from charter_compiler.executor.gateway.calls import Caller, GatewayCalls, SharedTarget
from charter_compiler.executor.gateway.fair import KEPT, FairRanks
from charter_compiler.executor.gateway.server import serving
from charter_compiler.executor.gateway.stops import StopCutter
from charter_compiler.executor.targets import OpenTarget, open_target
from charter_compiler.executor.types import GenerationRequest, StreamChunk
from charter_compiler.serve.server import ServerHandle
from charter_compiler.tokens.tokenizer import default_tokenizer

STORY = "Once upon a time there was a small compiler that read the plans of agents. " * 6
CHAT: list[Any] = [{"role": "system", "content": STORY}, {"role": "user", "content": "What did it read?"}]
TOKENS = 3


@pytest.fixture
async def url(embedded_server: ServerHandle, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """A gateway before the real server; the stock clients find it by their own variables."""
    async with (
        open_target(f"triton://{embedded_server.grpc_url}/ensemble") as target,
        serving(GatewayCalls(SharedTarget(target, 4)), "127.0.0.1", 0) as address,
    ):
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setenv("OPENAI_BASE_URL", f"{address}/v1")
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        monkeypatch.setenv("ANTHROPIC_BASE_URL", address)
        monkeypatch.setenv("ANTHROPIC_API_KEY", "none")
        yield address


@pytest.mark.server
async def test_openai_chat_whole_and_streamed_with_cached_tokens(url: str) -> None:
    async with openai.AsyncOpenAI() as client:
        first = await client.chat.completions.create(model="gpt-4o", messages=CHAT, max_tokens=TOKENS)
        stream = await client.chat.completions.create(
            model="gpt-4o", messages=CHAT, max_tokens=TOKENS, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
    assert first.choices[0].finish_reason == "length"
    assert first.usage is not None
    assert first.usage.completion_tokens == TOKENS
    texts = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert len([text for text in texts if text]) > 1, "it comes piece by piece"
    assert "".join(texts).strip()
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "length"
    usage = chunks[-1].usage
    assert usage is not None
    assert usage.prompt_tokens == first.usage.prompt_tokens
    assert usage.prompt_tokens_details is not None
    assert (usage.prompt_tokens_details.cached_tokens or 0) >= 64, "the same prompt again is in the engine's cache"


@pytest.mark.server
async def test_openai_completions(url: str) -> None:
    async with openai.AsyncOpenAI() as client:
        whole = await client.completions.create(model="any", prompt=STORY, max_tokens=TOKENS, temperature=0)
        stream = await client.completions.create(model="any", prompt=STORY, max_tokens=TOKENS, stream=True)
        texts = [chunk.choices[0].text async for chunk in stream]
        models = [model.id async for model in client.models.list()]
    assert whole.usage is not None
    assert whole.usage.prompt_tokens == len(default_tokenizer().encode(STORY))
    assert whole.choices[0].text.strip()
    assert "".join(texts).strip()
    assert models == ["smollm2-135m-instruct"]


@pytest.mark.server
async def test_json_and_a_tool_that_must_be_called(url: str) -> None:
    schema = {
        "type": "object", "properties": {"n": {"type": "integer", "maximum": 9, "minimum": 0}},
        "required": ["n"], "additionalProperties": False,
    }  # fmt: skip
    tool: Any = {"type": "function", "function": {"name": "count", "parameters": schema}}
    question: list[Any] = [{"role": "user", "content": "How many?"}]
    wanted: Any = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    async with openai.AsyncOpenAI() as client:
        plain = await client.chat.completions.create(
            model="any", messages=question, max_tokens=24, response_format=wanted
        )
        forced = await client.chat.completions.create(
            model="any", messages=question, max_tokens=40, tools=[tool], tool_choice="required"
        )
    assert set(json.loads(plain.choices[0].message.content or "")) == {"n"}
    (call,) = forced.choices[0].message.tool_calls or ()
    assert call.type == "function"
    assert call.function.name == "count"
    assert set(json.loads(call.function.arguments)) == {"n"}


@pytest.mark.server
async def test_openai_responses(url: str) -> None:
    async with openai.AsyncOpenAI() as client:
        whole = await client.responses.create(
            model="any", instructions=STORY, input="What did it read?", max_output_tokens=16
        )
        events = []
        async with client.responses.stream(
            model="any", instructions=STORY, input="What did it read?", max_output_tokens=16
        ) as stream:
            events = [event async for event in stream]
            final = await stream.get_final_response()
    assert whole.output_text.strip()
    assert whole.usage is not None
    assert final.usage is not None
    assert final.usage.input_tokens == whole.usage.input_tokens
    assert final.usage.input_tokens_details.cached_tokens >= 64
    deltas = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert deltas == final.output_text
    assert events[0].type == "response.created"


@pytest.mark.server
async def test_anthropic_messages(url: str) -> None:
    question: list[Any] = [{"role": "user", "content": [{"type": "text", "text": "What did it read?"}]}]
    async with anthropic.AsyncAnthropic() as client:
        whole = await client.messages.create(model="claude", system=STORY, messages=question, max_tokens=TOKENS)
        async with client.messages.stream(model="claude", system=STORY, messages=question, max_tokens=TOKENS) as stream:
            texts = [text async for text in stream.text_stream]
            final = await stream.get_final_message()
    assert whole.stop_reason == "max_tokens"
    assert whole.content[0].type == "text"
    assert len(texts) > 1
    assert final.content[0].type == "text"
    assert final.content[0].text == "".join(texts)
    assert final.usage.cache_read_input_tokens is not None
    assert final.usage.cache_read_input_tokens >= 64
    read = whole.usage.cache_read_input_tokens or 0
    assert final.usage.input_tokens + final.usage.cache_read_input_tokens == whole.usage.input_tokens + read
    assert final.usage.output_tokens == TOKENS


# What needs no model


@asynccontextmanager
async def scripted(
    answer: Callable[[GenerationRequest], str | Exception] = lambda request: "yes",
    *,
    concurrency: int = 4,
    memo: bool = False,
    **options: Any,
) -> AsyncIterator[tuple[httpx.AsyncClient, ScriptedTarget]]:
    client = ScriptedTarget(answer, hold=options.pop("hold", None), stop=options.pop("stop", None))
    stated = replace(facts(), embedded=True)
    target = OpenTarget("scripted", client, stated, default_tokenizer(), None, identity={"model": "m"})
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(memo_of(target, MemoOptions())) if memo else None
        calls = GatewayCalls(SharedTarget(target, concurrency, store))
        address = await stack.enter_async_context(serving(calls, "127.0.0.1", 0, **options))
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=address, trust_env=False))
        yield http, client


def chat(**fields: Any) -> dict[str, Any]:
    return {"model": "any", "messages": [{"role": "user", "content": "hello"}], **fields}


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"tools": [{"type": "web_search"}]}, "a tool is no function with a name"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "some"}, "tool_choice is 'some'"),
        ({"n": 2, "logit_bias": {"5": 3}}, "does not support logit_bias, n"),
        ({"presence_penalty": 0.5}, "does not support presence_penalty"),
        ({"messages": []}, "messages is empty"),
        ({"messages": None}, "messages is missing"),
        ({"messages": [{"role": "critic", "content": "x"}]}, "a message of the role 'critic'"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "a part of a message is 'image_url'"),
        ({"max_tokens": "many"}, "max_tokens is a str"),
        ({"temperature": True}, "temperature is a bool"),
        ({"stop": [3]}, "stop holds something that is no text"),
    ],
)
async def test_what_would_change_the_answer_is_refused_and_never_dropped(fields: dict[str, Any], problem: str) -> None:
    async with scripted() as (http, target):
        response = await http.post("/v1/chat/completions", json=chat(**fields))
        assert response.status_code == 400
        assert problem in response.json()["error"]["message"]
        assert target.sent == []
        response = await http.post("/v1/chat/completions", json=chat(n=1, tools=[], presence_penalty=0, user="u"))
        assert response.status_code == 200


@pytest.mark.parametrize(
    "body", ['{"a":' * 100_000, '{"prompt": "a", "temperature": NaN}', '{"prompt": "\\ud800"}', "[]"]
)
async def test_what_cannot_be_read_is_the_clients_error(body: str) -> None:
    async with scripted() as (http, target):
        sent = await http.post("/v1/completions", content=body, headers={"content-type": "application/json"})
        assert sent.status_code == 400
        assert target.sent == []


async def test_sampling_reaches_the_target() -> None:
    fields = {"max_completion_tokens": 7, "temperature": 0.5, "top_p": 0.9, "seed": 3, "stop": "x"}
    async with scripted() as (http, target):
        await http.post("/v1/chat/completions", json=chat(**fields, response_format={"type": "json_object"}))
        await http.post(
            "/v1/messages",
            json=chat(system="be kind", max_tokens=9, top_k=4, stop_sequences=["y"]),
        )
    first, second = target.sent
    assert (first.max_tokens, first.temperature, first.top_p, first.seed, first.stop) == (7, 0.5, 0.9, 3, ("x",))
    assert first.response_format == {"type": "json_object"}
    assert (second.max_tokens, second.top_k, second.stop) == (9, 4, ("y",))
    assert second.messages == ({"role": "system", "content": "be kind"}, {"role": "user", "content": "hello"})


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/v1/messages"])
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ContextLengthError("too long"), 400),
        (TargetOverloadedError("later", retry_after=2.4), 429),
        (TargetUnavailableError("gone"), 503),
    ],
)
async def test_an_error_of_the_target_has_its_status_in_a_stream_too(
    path: str, stream: bool, error: Exception, status: int
) -> None:
    body = chat(stream=stream, max_tokens=5) if path != "/v1/responses" else {"input": "hello", "stream": stream}
    async with scripted(lambda request: error) as (http, _):
        response = await http.post(path, json=body)
        assert response.status_code == status
        assert str(error) in response.json()["error"]["message"]
        assert response.headers.get("retry-after") == ("3" if status == 429 else None)


async def test_a_token_is_demanded_where_there_is_one() -> None:
    async with scripted(token="sesame") as (http, target):
        for headers in ({}, {"authorization": "Bearer other"}, {"x-api-key": "other"}, {"authorization": "sesame"}):
            for path in ("/v1/chat/completions", "/v1/messages"):
                response = await http.post(path, json=chat(max_tokens=5), headers=headers)
                assert response.status_code == 401
                assert "sesame" not in response.text
            assert (await http.get("/v1/models", headers=headers)).status_code == 401
        assert target.sent == []
        for headers in ({"authorization": "Bearer sesame"}, {"x-api-key": "sesame"}):
            assert (await http.post("/v1/messages", json=chat(max_tokens=5), headers=headers)).status_code == 200


async def test_pages_in_a_browser_cannot_use_it() -> None:
    async with scripted() as (http, target):
        led_there = await http.post("/v1/chat/completions", json=chat(), headers={"host": "evil.example"})
        form = await http.post("/v1/chat/completions", content=b"{}", headers={"content-type": "text/plain"})
        assert (led_there.status_code, form.status_code) == (400, 400)
        assert target.sent == []


@pytest.mark.skipif(sys.platform == "darwin", reason="it has 127.0.0.1 alone")
async def test_any_loopback_address_may_be_the_one_it_is_bound_to() -> None:
    target = OpenTarget("scripted", ScriptedTarget(), facts(), None, None)
    async with (
        serving(GatewayCalls(SharedTarget(target, 1)), "127.0.0.2", 0) as address,
        httpx.AsyncClient(trust_env=False) as http,
    ):
        assert (await http.get(f"{address}/v1/models")).status_code == 200


async def test_other_machines_need_a_token() -> None:
    target = OpenTarget("scripted", ScriptedTarget(), facts(), None, None)
    with pytest.raises(UsageError, match=r"0\.0\.0\.0 can be reached from other machines, and there is no token"):
        async with serving(GatewayCalls(SharedTarget(target, 1)), "0.0.0.0", 0):
            pass


async def test_a_port_in_use_is_told() -> None:
    async with scripted() as (http, _):
        target = OpenTarget("scripted", ScriptedTarget(), facts(), None, None)
        assert http.base_url.port is not None
        with pytest.raises(PortInUseError):
            async with serving(GatewayCalls(SharedTarget(target, 1)), "127.0.0.1", http.base_url.port):
                pass


async def test_no_more_calls_than_that_are_under_way_and_one_that_hangs_up_is_cancelled() -> None:
    hold = asyncio.Event()
    async with scripted(concurrency=2, hold=hold) as (http, target):
        waiting = [asyncio.ensure_future(http.post("/v1/completions", json={"prompt": f"{n} hello"})) for n in range(5)]
        async with asyncio.timeout(10):
            while target.running < 2:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        assert target.running == 2
        waiting[0].cancel()
        async with asyncio.timeout(10):
            while not target.cancelled:
                await asyncio.sleep(0.01)
        hold.set()
        answers = await asyncio.gather(*waiting[1:])
        assert [answer.json()["choices"][0]["text"] for answer in answers] == ["yes"] * 4
        assert target.most_running == 2


def test_a_user_with_many_calls_delays_anothers_first_by_one_and_few_users_are_remembered() -> None:
    ranks = FairRanks()
    many = [ranks.rank("many", 10) for _ in range(100)]
    ranks.sent(many[0])
    assert ranks.rank("other", 10) < many[1]
    for user in range(3 * KEPT):  # each of them once, and virtual time stands still
        ranks.sent(ranks.rank(str(user), 10))
    assert len(ranks._ends) <= KEPT
    assert ranks.rank("many", 10) == many[-1] + 10, "who has much in line keeps his place"


async def test_a_share_is_of_what_answers_take_and_not_of_what_a_request_allows() -> None:
    shared = SharedTarget(OpenTarget("scripted", ScriptedTarget(), facts(), None, None), 1)
    frugal = GenerationRequest(prompt="hello", max_tokens=5)
    generous = replace(frugal, max_tokens=30_000)
    assert shared._cost(generous) < 300
    await shared.answer(generous, Caller(), None)
    assert shared._cost(generous) == shared._cost(frugal)
    await shared.aclose()


async def test_calls_that_are_open_at_the_end_are_told_so() -> None:
    hold = asyncio.Event()
    async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
        async with scripted(hold=hold) as (http, target):
            address = f"{http.base_url}/v1/completions"
            asked = [
                asyncio.ensure_future(client.post(address, json={"prompt": "hello", "stream": stream}))
                for stream in (False, True)
            ]
            async with asyncio.timeout(10):
                while target.running < 2:
                    await asyncio.sleep(0.01)
        for answer in await asyncio.gather(*asked):
            assert (answer.status_code, "the gateway has ended" in answer.text) == (502, True)


async def test_a_client_that_sends_half_a_request_does_not_keep_it_from_ending(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "GRACE", 0.1)
    async with asyncio.timeout(20), AsyncExitStack() as stack, scripted() as (http, _):
        _, writer = await asyncio.open_connection("127.0.0.1", http.base_url.port)
        stack.callback(writer.close)
        head = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: 100\r\n\r\n{{".encode())
        await writer.drain()
        await http.get("/v1/models")  # by now the gateway has the other request's beginning


async def test_a_call_made_before_is_answered_from_the_memo_store_and_streams_too() -> None:
    async with scripted(memo=True) as (http, target):
        for stream in (False, True):
            response = await http.post("/v1/chat/completions", json=chat(stream=stream, max_tokens=5))
            assert "yes" in response.text
        assert len(target.sent) == 1


@pytest.mark.parametrize("piece", [1, 2, 3, 50])
@pytest.mark.parametrize(
    ("text", "stops", "expected", "found"),
    [
        ("one\n\ntwo", ["\n\n"], "one", "\n\n"),
        ("one\ntwo\n", ["\n\n"], "one\ntwo\n", None),
        ("a END b STOP", ["STOP", "END"], "a ", "END"),
        ("aaab", ["aab"], "a", "aab"),
        ("text", [], "text", None),
    ],
)
def test_an_answer_ends_before_a_stop_text(
    text: str, stops: list[str], expected: str, found: str | None, piece: int
) -> None:
    cutter = StopCutter(stops)
    given = "".join(cutter.feed(text[n : n + piece]) for n in range(0, len(text), piece)) + cutter.rest()
    assert (given, cutter.found) == (expected, found)


@pytest.mark.parametrize("memo", [True, False])
async def test_a_stop_text_is_not_part_of_the_answer(memo: bool) -> None:
    async with scripted(lambda request: "yes END", memo=memo) as (http, _):
        for _ in range(2):
            whole = await http.post("/v1/messages", json=chat(max_tokens=5, stop_sequences=["END"]))
            answer = whole.json()
            assert (answer["content"][0]["text"], answer["stop_reason"]) == ("yes ", "stop_sequence")
            assert answer["stop_sequence"] == "END"
            streamed = await http.post("/v1/chat/completions", json=chat(max_tokens=5, stop="END", stream=True))
            assert '"content": "yes "' in streamed.text
            assert "END" not in streamed.text


@pytest.mark.parametrize("memo", [True, False])
async def test_a_stop_text_that_the_engine_has_taken_off_is_named(memo: bool) -> None:
    """As vLLM's server does: the answer ends before it."""
    async with scripted(lambda request: "yes ", memo=memo, stop="END") as (http, _):
        for _ in range(2):
            body = chat(max_tokens=5, stop_sequences=["STOP", "END"])
            answer = (await http.post("/v1/messages", json=body)).json()
            assert (answer["content"][0]["text"], answer["stop_reason"]) == ("yes ", "stop_sequence")
            assert answer["stop_sequence"] == "END"
            streamed = await http.post("/v1/messages", json=body | {"stream": True})
            assert '{"stop_reason": "stop_sequence", "stop_sequence": "END"}' in streamed.text


class Endless(ScriptedTarget):
    """Answers until nobody listens."""

    async def stream(self, request: GenerationRequest) -> AsyncIterator[StreamChunk]:
        try:
            while True:
                await asyncio.sleep(0.01)
                yield StreamChunk("on and ")
        finally:
            self.cancelled += 1


async def test_a_client_that_hangs_up_in_mid_stream_ends_the_call() -> None:
    endless = Endless()
    target = OpenTarget("scripted", endless, facts(), None, None)
    async with (
        serving(GatewayCalls(SharedTarget(target, 1)), "127.0.0.1", 0) as address,
        httpx.AsyncClient(trust_env=False, timeout=10) as http,
    ):
        async with http.stream("POST", f"{address}/v1/completions", json={"prompt": "a", "stream": True}) as response:
            assert (await anext(response.aiter_lines())).startswith("data: ")
        async with asyncio.timeout(10):
            while not endless.cancelled:
                await asyncio.sleep(0.01)
