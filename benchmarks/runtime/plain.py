"""The agent without Charter: threads, and the stock ``openai`` client behind the ``generate`` that the agents call."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import openai


@dataclass(slots=True)
class PlainRun:
    """What the server reported of one run. ``wall_s`` is from the first item's start to the last one's end."""

    calls: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    wall_s: float = 0.0
    outputs: list[Any] = field(default_factory=list)


class PlainClient:
    """``generate`` over the completions API. Its counts are exact: list appends are atomic."""

    def __init__(self, target: str, max_tokens: int) -> None:
        parts = urlsplit(target)
        self._model = parse_qs(parts.query)["model"][0]
        self._cap = max_tokens
        self._client = openai.OpenAI(base_url=f"http://{parts.netloc}{parts.path}", api_key="none", max_retries=0)
        self.usages: list[Any] = []

    def generate(self, prompt: str, max_tokens: int = 256) -> str:
        answer = self._client.completions.create(
            model=self._model, prompt=prompt, max_tokens=min(max_tokens, self._cap)
        )
        self.usages.append(answer.usage)
        return answer.choices[0].text


def entry_of(path: str) -> Callable[[Any, dict[str, Any]], Any]:
    """``path/to/file.py:Class.method`` or ``:function``, called with the client and a row's values."""
    file, _, name = path.rpartition(":")
    spec = importlib.util.spec_from_file_location(Path(file).stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    owner, _, method = name.partition(".")
    found = getattr(module, owner)
    if method:
        return lambda client, values: getattr(found(client), method)(**values)
    return lambda client, values: found(llm=client, **values)


def plain_run(
    entry: str, rows: Sequence[dict[str, Any]], target: str, *, concurrency: int, max_tokens: int
) -> PlainRun:
    """All rows, ``concurrency`` at once."""
    agent, client, run = entry_of(entry), PlainClient(target, max_tokens), PlainRun()
    with ThreadPoolExecutor(concurrency) as pool:
        start = time.perf_counter()
        run.outputs = list(pool.map(lambda values: agent(client, values), rows))
        run.wall_s = time.perf_counter() - start
    run.calls = len(client.usages)
    run.prompt_tokens = sum(usage.prompt_tokens for usage in client.usages)
    run.output_tokens = sum(usage.completion_tokens for usage in client.usages)
    run.cached_tokens = sum((usage.prompt_tokens_details.cached_tokens or 0) for usage in client.usages)
    return run
