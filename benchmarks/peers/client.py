"""A plain client: runs an agent's items in the order given, so many at once, on any server that speaks OpenAI's API."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from runpy import run_path
from typing import Any

import httpx

from charter_compiler.cache.unbounded import UnboundedCache
from charter_compiler.tokens.tokenizer import default_tokenizer

TIMEOUT = 120.0
KEY_HEADER = "X-SMG-Routing-Key"
Row = Mapping[str, str]


@dataclass(slots=True)
class Outcome:
    """``refused``: answers that were none, by status or error. ``attainable_tokens``: of ``prompt_tokens``, what one
    cache that never evicts would reuse of the prompts in the order in which they were sent."""

    items: int = 0
    failed: int = 0
    answered: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    prompt_tokens: int = 0
    attainable_tokens: int = 0


class Model:
    """What the agent calls. ``block_size``: of the attainable rate."""

    def __init__(self, url: str, block_size: int) -> None:
        self.outcome = Outcome()
        self.http = httpx.Client(base_url=url, timeout=TIMEOUT, trust_env=False)
        self._tokenizer = default_tokenizer()
        self._cache = UnboundedCache(block_size)
        self._lock = threading.Lock()

    def generate(self, prompt: str, max_tokens: int, headers: Mapping[str, str]) -> str:
        """Raises httpx.HTTPError where there is no answer."""
        tokens = self._tokenizer.encode(prompt)
        with self._lock:
            self.outcome.prompt_tokens += len(tokens)
            self.outcome.attainable_tokens += self._cache.request(tokens)
        body = {"model": self._tokenizer.name, "prompt": prompt, "max_tokens": max_tokens}
        try:
            response = self.http.post("/v1/completions", json=body, headers=dict(headers))
            response.raise_for_status()
        except httpx.HTTPError as error:
            status = error.response.status_code if isinstance(error, httpx.HTTPStatusError) else type(error).__name__
            with self._lock:
                self.outcome.refused[str(status)] += 1
            raise
        with self._lock:
            self.outcome.answered += 1
        return str(response.json()["choices"][0]["text"])


@dataclass(frozen=True, slots=True)
class ItemModel:
    """The model for one item, whose requests all carry the same headers."""

    model: Model
    headers: Mapping[str, str]

    def generate(self, prompt: str, max_tokens: int) -> str:
        """See ``Model.generate``."""
        return self.model.generate(prompt, max_tokens, self.headers)


def send_all(
    url: str, agent: Path, rows: Sequence[Row], in_flight: int, block_size: int, key: Callable[[Row], str] | None
) -> Outcome:
    """All items of ``answer`` in the file ``agent``. ``key``: what a request says in ``X-SMG-Routing-Key``."""
    answer: Callable[..., Any] = run_path(str(agent))["answer"]
    model = Model(url, block_size)

    def item(row: Row) -> bool:
        headers = {} if key is None else {KEY_HEADER: key(row)}
        try:
            answer(**row, llm=ItemModel(model, headers))
        except httpx.HTTPError:
            return False
        return True

    with model.http, ThreadPoolExecutor(in_flight) as pool:
        finished = list(pool.map(item, rows))
    model.outcome.items, model.outcome.failed = len(finished), finished.count(False)
    return model.outcome
