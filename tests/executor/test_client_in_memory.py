"""The client without a server: its figures come from tokens, and what it cannot know it does not tell."""

from __future__ import annotations

import pytest

from charter_compiler.diagnostics.errors import ContextLengthError, RequestRejectedError
from charter_compiler.executor.prefixes import PrefixMismatchWarning
from charter_compiler.executor.triton_client import InMemoryTritonClient, TritonClient
from charter_compiler.executor.triton_client_production import ProductionTritonClient
from charter_compiler.tokens.blocks import cache_id
from charter_compiler.tokens.tokenizer import default_tokenizer

TOKENIZER = default_tokenizer()
RULES = "You check invoices against the rules of the house. " * 12
"""More than three blocks of 32 tokens."""


def as_protocol(client: TritonClient) -> TritonClient:
    """Type-checks that both clients are ``TritonClient``."""
    return client


def test_both_clients_implement_the_protocol() -> None:
    production = ProductionTritonClient("localhost:1")
    for client in (as_protocol(InMemoryTritonClient([])), as_protocol(production)):
        client.close()


def test_figures_are_computed_from_tokens() -> None:
    client = InMemoryTritonClient(lambda prompt: prompt[-9:], tokenizer=TOKENIZER)
    first, second = client.infer_batch([f"{RULES}Invoice 1", f"{RULES}Invoice 2"])
    tokens = len(TOKENIZER.encode(f"{RULES}Invoice 2"))
    shared = len(TOKENIZER.encode(RULES))
    assert (first.text, first.cached_tokens) == ("Invoice 1", 0)
    assert second.prompt_tokens == tokens
    assert second.cached_tokens == shared // 32 * 32
    assert second.cached_tokens > 0
    assert second.output_tokens == len(TOKENIZER.encode("Invoice 2"))
    assert second.hit_rate == second.cached_tokens / tokens
    assert second.details["kv_cache_reused_blocks"] == second.cached_tokens // 32


def test_an_output_is_reused_when_it_comes_back_as_a_prompt() -> None:
    answer = " and so it goes on and on for a while until the block is full." * 3
    client = InMemoryTritonClient([answer, ""], tokenizer=TOKENIZER)
    prompt = "Tell me:"
    client.infer_with_cache(prompt)
    again = client.infer_with_cache(f"{prompt}{answer} Next?")
    assert again.cached_tokens is not None
    assert again.cached_tokens >= 32


def test_a_small_cache_evicts() -> None:
    client = InMemoryTritonClient(lambda _prompt: "x", tokenizer=TOKENIZER, capacity_blocks=6)
    other = "Something quite different is written in here for a change. " * 10
    client.infer_batch([RULES, other], max_tokens=8)
    again = client.infer_with_cache(RULES, max_tokens=8)
    assert again.cached_tokens is not None
    assert again.cached_tokens < len(TOKENIZER.encode(RULES)) // 32 * 32
    assert client.get_metrics()["evicted_blocks"] > 0


def test_a_prompt_that_cannot_fit_is_refused() -> None:
    client = InMemoryTritonClient(lambda _prompt: "x", tokenizer=TOKENIZER, capacity_blocks=2)
    with pytest.raises(ContextLengthError):
        client.infer_with_cache(RULES)
    assert client.get_metrics()["requests"] == 0


def test_without_a_tokenizer_nothing_is_counted() -> None:
    client = InMemoryTritonClient(["hi"])
    result = client.infer_with_cache("hello")
    assert (result.prompt_tokens, result.cached_tokens, result.output_tokens) == (None, None, None)
    assert result.hit_rate is None
    assert client.get_metrics() == {"requests": 1}


def test_time_is_what_its_clock_measured() -> None:
    times = iter([10.0, 12.5])
    result = InMemoryTritonClient(["hi"], clock=lambda: next(times)).infer_with_cache("hello")
    assert (result.latency, result.ttft) == (2.5, None)


def test_a_long_answer_is_cut_at_max_tokens() -> None:
    client = InMemoryTritonClient(["one two three four"], tokenizer=TOKENIZER)
    result = client.infer_with_cache("count", max_tokens=2)
    assert (result.text, result.output_tokens, result.finish_reason) == ("one two", 2, "length")


def test_a_stream_ends_with_the_result() -> None:
    chunks = list(InMemoryTritonClient(["hi"]).stream("hello"))
    assert [chunk.text for chunk in chunks] == ["hi", ""]
    assert chunks[-1].result is not None
    assert chunks[-1].result.text == "hi"


def test_prefixes_are_warmed_without_using_up_an_answer() -> None:
    client = InMemoryTritonClient(["the answer", "another"], tokenizer=TOKENIZER)
    warmed = client.prepopulate_cache([RULES])
    assert warmed[cache_id(RULES)].tokens == len(TOKENIZER.encode(RULES))
    result = client.infer_with_cache(f"{RULES}Invoice 1", cache_id(RULES))
    assert result.text == "the answer"
    assert result.cached_tokens
    assert client.prefix_stats()[cache_id(RULES)].hits == 1
    with pytest.warns(PrefixMismatchWarning) as caught:
        client.infer_with_cache("Else", cache_id(RULES))
    assert caught[0].filename == __file__


def test_answers_run_out() -> None:
    client = InMemoryTritonClient(["one"])
    client.infer_with_cache("a")
    with pytest.raises(RequestRejectedError, match="no answer left"):
        client.infer_with_cache("b")


@pytest.mark.parametrize(("prompt", "tokens"), [("", 1), ("a", 0)])
def test_calls_that_make_no_sense_are_refused(prompt: str, tokens: int) -> None:
    with pytest.raises(RequestRejectedError):
        InMemoryTritonClient(["x"]).infer_with_cache(prompt, max_tokens=tokens)


def test_an_option_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(TypeError, match="max_token"):
        InMemoryTritonClient(["x"]).infer_with_cache("a", max_token=1)  # type: ignore[call-arg]


def test_it_is_healthy_until_it_is_closed() -> None:
    with InMemoryTritonClient(["x"]) as client:
        assert client.health_check()
    assert not client.health_check()
    with pytest.raises(RequestRejectedError, match="closed"):
        client.infer_with_cache("a")
