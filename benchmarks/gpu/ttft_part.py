"""Time to the first token with a prefix the cache has, and with one it has not: alone, and sixteen requests at once.

Prompts are random token ids, new for each repetition. A warm prefix is one of a request that has finished.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from typing import Any

import httpx
from raw_rows import Budget, Row, Rows

PREFIXES = (64, 128, 256, 512, 1024, 2048, 4096, 8192)
SUFFIX = 32
TOKENS = 2
"""Of each answer. transformers 5.17 does not offer the blocks of a request that ends with its first token."""
AT_ONCE = 16
SHARED_PREFIXES = (1188, 3000)
"""For many at once: that of the document processor's second stage on an average document, and a longer one."""
FIRST_ID, LAST_ID = 100, 49_000
"""Ids of the tokenizer's vocabulary that are no special tokens."""
TIMEOUT = 300.0


class Asker:
    """A short answer of the server to a prompt of token ids."""

    def __init__(self, client: httpx.AsyncClient, model: str, seed: int) -> None:
        self._client = client
        self._model = model
        self._random = random.Random(seed)

    def ids(self, count: int) -> list[int]:
        """New random tokens."""
        return self._random.choices(range(FIRST_ID, LAST_ID), k=count)

    async def ask(self, prompt: Sequence[int]) -> Row:
        start = time.perf_counter()
        body = {"model": self._model, "prompt": list(prompt), "max_tokens": TOKENS}
        response = await self._client.post("/v1/completions", json=body)
        seconds = time.perf_counter() - start
        if response.status_code != httpx.codes.OK:
            raise RuntimeError(f"the server answered {response.status_code}: {response.text[:500]}")
        usage: dict[str, Any] = response.json()["usage"]
        return {
            "prompt_tokens": usage["prompt_tokens"],
            "cached_tokens": usage["prompt_tokens_details"]["cached_tokens"],
            "ttft_s": round(usage["engine"]["ttft_s"], 6),
            "client_s": round(seconds, 6),
        }

    async def empty_cache(self) -> None:
        (await self._client.post("/reset", json={})).raise_for_status()


def measure_ttft(url: str, model: str, rows: Rows, budget: Budget, repeats: int, prefixes: Sequence[int]) -> None:
    """Alternately cold and warm, by length of the prefix; repetition 0 of each length is a warm-up and says so."""
    asyncio.run(_by_length(url, model, rows, budget, repeats, prefixes))


def measure_concurrent(url: str, model: str, rows: Rows, budget: Budget, repeats: int, prefixes: Sequence[int]) -> None:
    """Sixteen requests at once that share no prefix, a prefix that is new, and one that the cache has."""
    asyncio.run(_at_once(url, model, rows, budget, repeats, prefixes))


async def _by_length(url: str, model: str, rows: Rows, budget: Budget, repeats: int, prefixes: Sequence[int]) -> None:
    async with httpx.AsyncClient(base_url=url, timeout=TIMEOUT, trust_env=False) as client:
        asker = Asker(client, model, seed=1)
        for length in prefixes:
            await asker.empty_cache()
            for repeat in range(repeats + 1):
                if not budget.allows(1):
                    return
                prefix = asker.ids(length)
                for kind in ("cold", "warm"):
                    answer = await asker.ask([*prefix, *asker.ids(SUFFIX)])
                    head = {"part": "ttft", "kind": kind, "prefix_tokens": length, "repeat": repeat}
                    rows.write(head | {"warm_up": repeat == 0} | answer)
            print(f"ttft, prefix of {length} done, {budget.left:.0f} s left", flush=True)


async def _at_once(url: str, model: str, rows: Rows, budget: Budget, repeats: int, prefixes: Sequence[int]) -> None:
    async with httpx.AsyncClient(base_url=url, timeout=TIMEOUT, trust_env=False) as client:
        asker = Asker(client, model, seed=2)
        for length in prefixes:
            for repeat in range(repeats + 1):
                for kind in ("none_shared", "shared_new", "shared_warm"):
                    if not budget.allows(2):
                        return
                    await asker.empty_cache()
                    prefix = asker.ids(length)
                    before = await asker.ask([*prefix, *asker.ids(SUFFIX)]) if kind == "shared_warm" else None
                    prompts = [
                        [*(asker.ids(length) if kind == "none_shared" else prefix), *asker.ids(SUFFIX)]
                        for _ in range(AT_ONCE)
                    ]
                    start = time.perf_counter()
                    answers = await asyncio.gather(*(asker.ask(each) for each in prompts))
                    rows.write(
                        {
                            "part": "concurrent", "kind": kind, "prefix_tokens": length, "at_once": AT_ONCE,
                            "repeat": repeat, "warm_up": repeat == 0,
                            "all_s": round(time.perf_counter() - start, 6),
                            "before_s": None if before is None else before["ttft_s"],
                            "ttft_s": [each["ttft_s"] for each in answers],
                            "cached_tokens": [each["cached_tokens"] for each in answers],
                            "prompt_tokens": [each["prompt_tokens"] for each in answers],
                        }
                    )  # fmt: skip
            print(f"{AT_ONCE} at once, prefix of {length} done, {budget.left:.0f} s left", flush=True)
