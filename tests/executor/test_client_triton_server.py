"""The Triton clients against the real server with the real model."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from charter_compiler.diagnostics import errors
from charter_compiler.executor.prefixes import PrefixMismatchWarning
from charter_compiler.executor.triton_client_async import AsyncProductionTritonClient
from charter_compiler.executor.triton_client_production import ProductionTritonClient
from charter_compiler.executor.types import GenerationRequest
from charter_compiler.tokens.blocks import cache_id
from charter_compiler.tokens.tokenizer import load_tokenizer

pytestmark = pytest.mark.server

REPORT = "The committee met on the first day of the month and heard the treasurer's account of the year. " * 6
HANG = 120.0
"""Seconds after which the server is taken to hang; it computes on few cores, and not only for this test."""


@pytest.fixture
def client(embedded_server: Any) -> Iterator[ProductionTritonClient]:
    with ProductionTritonClient(embedded_server.grpc_url, timeout=HANG) as opened:
        yield opened


@pytest.fixture(params=["ensemble", "tensorrt_llm_bls"])
def either(request: pytest.FixtureRequest, embedded_server: Any) -> Iterator[ProductionTritonClient]:
    """A client of each of the models that take text."""
    with ProductionTritonClient(embedded_server.grpc_url, request.param, timeout=HANG) as opened:
        yield opened


def active_requests(metrics: Any) -> float:
    """Requests that the engine works on."""
    return sum(value for key, value in metrics.items() if "nv_trt_llm_request_metrics" in key and '"active"' in key)


def test_the_server_is_what_it_says(either: ProductionTritonClient, embedded_server: Any) -> None:
    assert either.health_check()
    facts = either.facts()
    assert facts.embedded
    assert facts.tokens_per_block == embedded_server.options.engine.tokens_per_block
    assert facts.capacity_blocks == embedded_server.options.engine.capacity_blocks
    assert facts.max_context == embedded_server.options.engine.max_context
    assert facts.tokenizer is not None


def test_a_repeated_prompt_is_reused_and_the_figures_agree(either: ProductionTritonClient) -> None:
    facts = either.facts()
    tokens = load_tokenizer(facts.tokenizer).encode(REPORT)
    cold = either.infer_with_cache(REPORT, max_tokens=8)
    warm = either.infer_with_cache(REPORT, max_tokens=8)
    for result in (cold, warm):
        assert result.prompt_tokens == len(tokens)
        assert result.output_tokens == 8
        assert result.ttft is not None
        assert 0 < result.ttft <= result.latency
        assert result.details["first_token_time_ns"] <= result.details["last_token_time_ns"]
    assert facts.tokens_per_block is not None
    assert warm.cached_tokens == (len(tokens) - 1) // facts.tokens_per_block * facts.tokens_per_block
    assert warm.hit_rate == warm.cached_tokens / len(tokens)


def test_a_stream_is_the_answer_piece_by_piece(either: ProductionTritonClient) -> None:
    *pieces, last = either.stream("Hello, my name is", max_tokens=10)
    assert last.result is not None
    assert "".join(piece.text for piece in pieces) + last.text == last.result.text
    assert len([piece for piece in pieces if piece.text]) > 5
    assert last.result.output_tokens == 10


def test_options_reach_the_engine(either: ProductionTritonClient) -> None:
    pieces = [chunk.text for chunk in either.stream("One, two, three, four,", max_tokens=12)]
    stopped = either.infer_with_cache("One, two, three, four,", max_tokens=12, stop=[pieces[4]])
    # Stop words are compared as tokens, and stay at the end of the answer, as in TensorRT-LLM.
    assert stopped.text == "".join(pieces[: pieces.index(pieces[4]) + 1])
    assert stopped.output_tokens == pieces.index(pieces[4]) + 1
    seeded = [either.infer_with_cache("Once", max_tokens=12, temperature=1.5, seed=seed).text for seed in (1, 1, 2)]
    assert seeded[0] == seeded[1]
    assert seeded[0] != seeded[2]


def test_characters_of_several_tokens_arrive_whole(client: ProductionTritonClient) -> None:
    chunks = list(client.stream("Repeat the emoji: 😀 😀 😀 😀 😀", max_tokens=12))
    assert chunks[-1].result is not None
    assert "\ufffd" not in "".join(chunk.text for chunk in chunks[:-1])


def test_a_prompt_that_does_not_fit_is_refused(either: ProductionTritonClient) -> None:
    with pytest.raises(errors.ContextLengthError, match="exceed the"):
        either.infer_with_cache("Hello", max_tokens=1_000_000)
    assert either.infer_with_cache("Hello", max_tokens=1).output_tokens == 1


def test_a_deadline_ends_the_call_at_the_server_too(client: ProductionTritonClient) -> None:
    with pytest.raises(errors.TargetTimeoutError):
        client.infer_with_cache(REPORT + "Go on for ever.", max_tokens=2000, timeout=0.3)
    assert client.infer_with_cache("Hello", max_tokens=1).output_tokens == 1


def test_an_unknown_model_and_an_inner_one(embedded_server: Any) -> None:
    with ProductionTritonClient(embedded_server.grpc_url, "nobody") as client:
        with pytest.raises(errors.UnknownModelError):
            client.infer_with_cache("Hello")
        assert not client.health_check()
    with (
        ProductionTritonClient(embedded_server.grpc_url, "tensorrt_llm") as client,
        pytest.raises(errors.TargetProtocolError, match="name the ensemble"),
    ):
        client.infer_with_cache("Hello")


def test_metrics_of_the_server(client: ProductionTritonClient) -> None:
    client.infer_with_cache("Hello", max_tokens=1)
    metrics = client.get_metrics()
    assert metrics['nv_inference_request_success{model="tensorrt_llm",version="1"}'] >= 1
    assert any(key.startswith("nv_trt_llm_kv_cache_block_metrics{") for key in metrics)


def test_warmed_prefixes_are_hit(client: ProductionTritonClient) -> None:
    prefix = f"{client.facts().target} wants this. {REPORT}"
    warmed = client.prepopulate_cache([prefix])
    result = client.infer_with_cache(f"{prefix}\nDocument: ...", cache_id(prefix), max_tokens=4)
    assert result.details["prefix"] == "matched"
    assert warmed[cache_id(prefix)].tokens is not None
    assert result.cached_tokens is not None
    assert result.cached_tokens >= (warmed[cache_id(prefix)].tokens or 0) - 64
    assert client.prefix_stats()[cache_id(prefix)].hits == 1
    with pytest.warns(PrefixMismatchWarning):
        client.infer_with_cache("Something else", cache_id(prefix), max_tokens=1)


def test_messages_are_rendered_by_the_models_template(embedded_server: Any) -> None:
    tokenizer = load_tokenizer(str(embedded_server.options.model_path))
    messages = ({"role": "user", "content": "Say hello."},)
    with ProductionTritonClient(embedded_server.grpc_url, tokenizer=tokenizer) as client:
        result = client.generate(GenerationRequest(messages=messages, max_tokens=4))
    assert result.prompt_tokens == len(tokenizer.encode(tokenizer.render_chat(messages)))


async def test_64_requests_at_once_half_of_them_cancelled(embedded_server: Any) -> None:
    tokenizer = load_tokenizer(str(embedded_server.options.model_path))
    # Prompts of different lengths: the server's count of tokens tells whose answer it is.
    prompts = [f"Item {n}:{' word' * (n // 2)}" for n in range(64)]
    async with AsyncProductionTritonClient(embedded_server.grpc_url, timeout=HANG) as client:
        begun = asyncio.Semaphore(0)

        async def ask(n: int) -> Any:
            last = None
            async for chunk in client.stream(prompts[n], max_tokens=200 if n % 2 else 2):
                if n % 2 and chunk.text:
                    begun.release()
                last = chunk
            assert last is not None
            return last.result

        tasks = [asyncio.create_task(ask(n)) for n in range(64)]
        # Some have begun to answer, others still wait in the engine's queue: both kinds are cancelled.
        await asyncio.wait_for(begun.acquire(), HANG)
        for task in tasks[1::2]:
            task.cancel()
        results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), HANG)
        for n in range(0, 64, 2):
            assert results[n].prompt_tokens == len(tokenizer.encode(prompts[n]))
        assert all(isinstance(result, asyncio.CancelledError) for result in results[1::2])
        assert asyncio.all_tasks() == {asyncio.current_task()}
        # The engine learns of a cancellation when it next looks; a later request is answered after it has.
        await client.infer_with_cache("Hello", max_tokens=16)
        assert active_requests(await client.metrics()) == 0
