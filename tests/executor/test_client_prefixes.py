"""What a ``cache_id`` means to a client: names by content, the check of prompts, counts."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from scripted_triton import ScriptedTriton, chunk, prompt_of

from charter_compiler.diagnostics.errors import RequestRejectedError
from charter_compiler.executor.prefixes import PrefixMismatchWarning, PrefixRegistry, PrefixStats
from charter_compiler.executor.triton_client_async import AsyncProductionTritonClient
from charter_compiler.executor.triton_client_production import ProductionTritonClient
from charter_compiler.tokens.blocks import cache_id
from charter_compiler.tokens.tokenizer import default_tokenizer

RULES = "You check invoices. Follow the rules."


def test_the_name_is_the_analyzers() -> None:
    assert PrefixRegistry().register(RULES) == cache_id(RULES)


def test_an_empty_prefix_is_refused() -> None:
    with pytest.raises(RequestRejectedError, match="shares nothing"):
        PrefixRegistry().register("")


def test_a_prompt_that_starts_with_the_prefix_matches() -> None:
    registry = PrefixRegistry(default_tokenizer())
    use = registry.use(f"{RULES}\nInvoice 7", registry.register(RULES))
    tokens = len(default_tokenizer().encode(RULES))
    assert use.mismatch is None
    assert use.details == {"prefix": "matched", "prefix_tokens": tokens, "prefix_shared_tokens": tokens}


def test_a_token_that_joins_what_follows_is_no_mismatch() -> None:
    registry = PrefixRegistry(default_tokenizer())
    use = registry.use("You check the orders", registry.register("You check the ord"))
    assert use.mismatch is None
    assert use.details["prefix_shared_tokens"] < use.details["prefix_tokens"]


def test_a_mismatch_shows_the_first_differing_token() -> None:
    registry = PrefixRegistry(default_tokenizer())
    name = registry.register(RULES)
    use = registry.use("You check orders. Follow the rules.", name)
    assert use.mismatch is not None
    assert use.mismatch.position == 2
    assert (use.mismatch.unit, use.mismatch.expected, use.mismatch.found) == ("token", " inv", " orders")
    assert use.details["prefix"] == "mismatched"
    assert use.details["prefix_mismatch"] == (
        f"the prompt leaves the prefix {name} at token 2: ' inv' expected, ' orders' found"
    )


def test_without_a_tokenizer_the_first_differing_character_is_shown() -> None:
    registry = PrefixRegistry()
    use = registry.use("You check orders", registry.register(RULES))
    assert use.mismatch is not None
    assert (use.mismatch.unit, use.mismatch.position) == ("character", 10)
    assert use.mismatch.found == "orders"


@pytest.mark.parametrize("tokenizer", [None, default_tokenizer()])
def test_a_prompt_that_is_shorter_than_its_prefix(tokenizer: Any) -> None:
    registry = PrefixRegistry(tokenizer)
    use = registry.use("You check", registry.register(RULES))
    assert "the end of the prompt found" in str(use.mismatch)


def test_an_unregistered_id_is_said_to_be_so() -> None:
    use = PrefixRegistry().use("anything", 12)
    assert use.mismatch is None
    assert use.details == {"prefix": "unregistered"}


def caching(request: Any, _context: object) -> Iterator[Any]:
    """Every prompt finds a block in the cache, except cold ones."""
    reused = 0 if "cold" in prompt_of(request) else 1
    yield chunk("x", final=True, num_input_tokens=40, num_output_tokens=1, kv_cache_reused_blocks=reused)


@pytest.fixture
def server() -> Iterator[ScriptedTriton]:
    scripted = ScriptedTriton(caching)
    yield scripted
    scripted.stop()


def test_the_clients_part(server: ScriptedTriton) -> None:
    with ProductionTritonClient(server.url, tokens_per_block=32) as client:
        warmed = client.prepopulate_cache([RULES, "Other", RULES])
        assert list(warmed) == [cache_id(RULES), cache_id("Other")]
        assert [prompt_of(request) for request in server.requests] == [RULES, "Other"]
        prefix = warmed[cache_id(RULES)]
        assert (prefix.text, prefix.tokens, prefix.result.cache_id) == (RULES, 40, cache_id(RULES))

        hit = client.infer_with_cache(f"{RULES} a", cache_id(RULES))
        assert (hit.cache_id, hit.details["prefix"], hit.cached_tokens) == (cache_id(RULES), "matched", 32)
        client.infer_with_cache(f"{RULES} cold", cache_id(RULES))
        with pytest.warns(PrefixMismatchWarning, match="leaves the prefix") as caught:
            missed = client.infer_with_cache("Something else", cache_id(RULES))
        assert caught[0].filename == __file__
        assert "leaves the prefix" in missed.details["prefix_mismatch"]
        assert client.infer_with_cache("Anything", 12).details["prefix"] == "unregistered"
        assert client.prefix_stats() == {
            cache_id(RULES): PrefixStats(calls=3, matched=2, hits=1, cached_tokens=32),
            cache_id("Other"): PrefixStats(),
        }


def test_the_asynchronous_clients_part(server: ScriptedTriton) -> None:
    async def run() -> None:
        async with AsyncProductionTritonClient(server.url, tokens_per_block=32) as client:
            assert list(await client.prepopulate_cache([RULES])) == [cache_id(RULES)]
            with pytest.warns(PrefixMismatchWarning) as caught:
                await client.infer_with_cache("Something else", cache_id(RULES))
            assert caught[0].filename == __file__
            assert client.prefix_stats() == {cache_id(RULES): PrefixStats(calls=1)}

    asyncio.run(run())


def test_calls_without_a_cache_id_say_nothing_of_prefixes(server: ScriptedTriton) -> None:
    with ProductionTritonClient(server.url) as client, warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "prefix" not in client.infer_with_cache("x").details
