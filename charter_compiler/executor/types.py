"""Requests, results and the client protocol: what every target takes and gives."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One model call. Either ``prompt`` (a completion) or ``messages`` (a chat, each ``{"role", "content"}``) is set.

    ``timeout`` is in seconds, for the whole call from its first sending. ``temperature`` ``None`` is the target's
    default, which for the embedded server is greedy. ``response_format`` is OpenAI's: what the output is held to.
    ``tokens``: the prompt's ids where the caller has them, of the target's own tokenizer; a target that needs them need
    not compute them again. ``kv_hints``: an envelope of hints as JSON, for a target that announces actions; no answer
    depends on it.
    """

    prompt: str | None = None
    messages: tuple[Mapping[str, Any], ...] | None = None
    max_tokens: int = 256
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    response_format: Mapping[str, Any] | None = None
    timeout: float | None = None
    cache_id: int | None = None
    tokens: Sequence[int] | None = field(default=None, repr=False, compare=False)
    kv_hints: str | None = field(default=None, repr=False, compare=False)

    def on_the_way(self, tokens: Sequence[int] | None, kv_hints: str | None) -> GenerationRequest:
        """The same with what the target is told beside it; ``dataclasses.replace`` takes five times as long, and every
        call passes here."""
        return GenerationRequest(
            self.prompt, self.messages, self.max_tokens, self.temperature, self.top_k, self.top_p, self.seed, self.stop,
            self.response_format, self.timeout, self.cache_id, tokens, kv_hints,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class GenerationResult:
    """What a call returned. Times in seconds as the client saw them; ``None`` where the target does not report it.

    ``cached_tokens`` are prompt tokens whose KV the engine took from its cache, as the engine counts them. ``stop`` is
    the stop text of the request that ended the answer and is no part of ``text``.
    """

    text: str
    latency: float
    ttft: float | None
    prompt_tokens: int | None
    cached_tokens: int | None
    output_tokens: int | None
    cache_id: int | None = None
    finish_reason: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    stop: str | None = None

    @property
    def hit_rate(self) -> float | None:
        """Cached tokens over prompt tokens; ``None`` where the target reports no cached tokens."""
        if self.cached_tokens is None or not self.prompt_tokens:
            return None
        return self.cached_tokens / self.prompt_tokens


@dataclass(frozen=True, slots=True)
class StreamChunk:
    """A piece of a streamed answer; the last one carries the ``result`` of the whole call."""

    text: str
    result: GenerationResult | None = None


async def last_result(chunks: AsyncGenerator[StreamChunk, None]) -> GenerationResult:
    """The result of an answer that is streamed, which is read to its end."""
    async with aclosing(chunks):
        result = [chunk.result async for chunk in chunks][-1]
    assert result is not None, "the last chunk carries the result"
    return result


@dataclass(frozen=True, slots=True)
class TargetFacts:
    """What a target says of itself. ``None`` where it does not say. ``engine`` is whose cache rules hold (``vllm``,
    else those of the embedded engine); ``model_path`` is where the server has its model, on its own machine;
    ``simulated``: no model computes anything; ``kv_hint_actions``: actions of the KV hint envelope that it executes."""

    target: str
    model: str
    tokenizer: str | None = None
    tokens_per_block: int | None = None
    capacity_blocks: int | None = None
    max_context: int | None = None
    reports_cached_tokens: bool = True
    embedded: bool = False
    engine: str | None = None
    model_path: str | None = None
    simulated: bool = False
    kv_hint_actions: tuple[str, ...] = ()

    @property
    def greedy_by_default(self) -> bool:
        """Whether a request that says nothing of sampling is answered the same again."""
        return self.embedded or self.simulated


class AsyncTarget(Protocol):
    """A model server as the run time sees it; all implementations are safe to call from many tasks of one loop."""

    async def generate(self, request: GenerationRequest) -> GenerationResult:
        """One call, to its end. Raises ``TargetError``; cancelling the task cancels the call at the server."""

    def stream(self, request: GenerationRequest) -> AsyncIterator[StreamChunk]:
        """The same, piece by piece; the first piece comes with the first token."""

    async def facts(self) -> TargetFacts:
        """What the target says of itself."""

    async def metrics(self) -> Mapping[str, float]:
        """The server's own counters, by Prometheus name with labels; empty where it has none."""

    async def aclose(self) -> None:
        """Close connections. Idempotent."""
