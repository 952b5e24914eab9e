"""The client protocol, and a client in memory for tests and dry runs."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Protocol, Self, TypedDict, Unpack

from charter_compiler.cache.trtllm import Allocation, BlockManager
from charter_compiler.diagnostics.errors import RequestRejectedError
from charter_compiler.executor.prefixes import (
    PrefixMismatchWarning,
    PrefixRegistry,
    PrefixStats,
    PrefixUse,
    WarmedPrefix,
)
from charter_compiler.executor.triton_call import Health
from charter_compiler.executor.types import GenerationRequest, GenerationResult, StreamChunk
from charter_compiler.tokens.codec import Tokenizer

Answers = Callable[[str], str] | Iterable[str]
"""Where the in-memory client has its texts from: a function of the prompt, or texts in the order of the calls."""


class CallOptions(TypedDict, total=False):
    """Options of a call; what is left out is the target's default, and greedy for the embedded server.

    ``max_tokens`` bounds the answer (256); ``timeout`` is in seconds for the whole call, its retries included, and
    overrides the client's. ``stop``: texts that end the answer; TensorRT-LLM compares them as tokens and leaves them at
    its end.
    """

    max_tokens: int
    temperature: float | None
    top_k: int | None
    top_p: float | None
    seed: int | None
    stop: Sequence[str]
    timeout: float | None


def make_request(prompt: str, cache_id: int | None, options: CallOptions) -> GenerationRequest:
    """The request that a call with these options makes.

    Raises:
        TypeError: there is no such option.
    """
    stop = options.get("stop", ())
    given = {name: value for name, value in options.items() if name != "stop"}
    request = GenerationRequest(
        prompt=prompt, cache_id=cache_id, stop=(stop,) if isinstance(stop, str) else tuple(stop)
    )
    return replace(request, **given)  # type: ignore[arg-type]  # the values' types are CallOptions', field by field


class TritonClient(Protocol):
    """A model server, to be called from ordinary code. Safe to use from many threads.

    Every method that reaches the server raises ``TargetError``; ``prefix_stats`` and ``close`` do not.
    """

    def infer_with_cache(
        self, prompt: str, cache_id: int | None = None, **options: Unpack[CallOptions]
    ) -> GenerationResult:
        """One call, to its end.

        ``cache_id`` names the prefix that the prompt is meant to start with. Of a registered prefix this is checked: a
        mismatch is a ``PrefixMismatchWarning``, also in ``result.details["prefix_mismatch"]``, and the call goes
        ahead. With an id that was not registered here the call goes ahead unchecked, and ``details["prefix"]`` is
        ``"unregistered"``.
        """

    def infer_batch(
        self, prompts: Sequence[str], cache_id: int | None = None, **options: Unpack[CallOptions]
    ) -> list[GenerationResult]:
        """Several calls at once; results in the order of the prompts. The first failure cancels the others."""

    def stream(self, prompt: str, cache_id: int | None = None, **options: Unpack[CallOptions]) -> Iterator[StreamChunk]:
        """The answer piece by piece, the last with the result. Closing the iterator cancels the call."""

    def prepopulate_cache(self, texts: Iterable[str]) -> dict[int, WarmedPrefix]:
        """Register prefixes and let the server compute them, one after the other; by ``cache_id``."""

    def prefix_stats(self) -> dict[int, PrefixStats]:
        """Calls and hits of each registered prefix; warm-ups are not counted."""

    def health_check(self) -> Health:
        """Whether the server can take requests; never raises."""

    def get_metrics(self) -> Mapping[str, float]:
        """The server's own counters, by Prometheus name with labels."""

    def close(self) -> None:
        """Cancel what is under way and close connections. Idempotent."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class InMemoryTritonClient:
    """A ``TritonClient`` without a server, for tests and dry runs. Safe to use from many threads; calls take turns.

    It answers with the user's texts and computes figures as the engine would: with a tokenizer, prompts go through the
    block manager of ``cache`` one after the other, and ``prompt_tokens``, ``cached_tokens`` and ``output_tokens`` are
    counted. Without one they are ``None``. ``latency`` is what ``clock`` measured around the answer, and says nothing
    of an engine; ``ttft`` is ``None``, for there is no first token.

    Args:
        answers: a function from prompt to text, or texts for the calls in order. A text longer than ``max_tokens`` is
            cut there, which needs the tokenizer. ``stop`` and the sampling options are not applied.
        tokenizer: the model's.
        tokens_per_block: block size of the cache.
        capacity_blocks: its size; ``None`` is unbounded.
    """

    def __init__(
        self,
        answers: Answers,
        *,
        tokenizer: Tokenizer | None = None,
        tokens_per_block: int = 32,
        capacity_blocks: int | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._answer = answers if callable(answers) else _in_order(answers)
        self._tokenizer = tokenizer
        self._manager = BlockManager(capacity_blocks, tokens_per_block)
        self._clock = clock
        self._lock = threading.Lock()
        self._prefixes = PrefixRegistry(tokenizer)
        self._totals = {"requests": 0, "prompt_tokens": 0, "cached_tokens": 0, "output_tokens": 0}
        self._closed = False

    def infer_with_cache(
        self, prompt: str, cache_id: int | None = None, **options: Unpack[CallOptions]
    ) -> GenerationResult:
        """See ``TritonClient``.

        Raises:
            RequestRejectedError: there is no answer left, the prompt is empty, or the client is closed.
            ContextLengthError: prompt and ``max_tokens`` exceed the cache.
        """
        use = self._prefixes.use(prompt, cache_id)
        if use.mismatch is not None:
            warnings.warn(str(use.mismatch), PrefixMismatchWarning, stacklevel=2)
        return self._call(make_request(prompt, cache_id, options), use)

    def infer_batch(
        self, prompts: Sequence[str], cache_id: int | None = None, **options: Unpack[CallOptions]
    ) -> list[GenerationResult]:
        """See ``TritonClient``; one after the other."""
        return [self.infer_with_cache(prompt, cache_id, **options) for prompt in prompts]

    def stream(self, prompt: str, cache_id: int | None = None, **options: Unpack[CallOptions]) -> Iterator[StreamChunk]:
        """See ``TritonClient``; the text is one piece."""
        result = self.infer_with_cache(prompt, cache_id, **options)
        return iter((StreamChunk(result.text), StreamChunk("", result)))

    def prepopulate_cache(self, texts: Iterable[str]) -> dict[int, WarmedPrefix]:
        """See ``TritonClient``; takes no answer, since a warm-up's text is thrown away."""
        warmed: dict[int, WarmedPrefix] = {}
        for text in dict.fromkeys(texts):
            name = self._prefixes.register(text)
            result = self._call(GenerationRequest(prompt=text, max_tokens=1), PrefixUse({}), answer="")
            warmed[name] = WarmedPrefix(text, result.prompt_tokens, replace(result, cache_id=name))
        return warmed

    def prefix_stats(self) -> dict[int, PrefixStats]:
        """See ``TritonClient``."""
        return self._prefixes.stats()

    def health_check(self) -> Health:
        """See ``TritonClient``; healthy until it is closed."""
        if self._closed:
            return Health(False, False, False, reason="the client is closed")
        return Health(True, True, True, server="in-memory")

    def get_metrics(self) -> dict[str, float]:
        """See ``TritonClient``; totals of this client's calls and blocks, empty of tokens without a tokenizer."""
        with self._lock:
            totals = {name: float(value) for name, value in self._totals.items()}
            counters = self._manager.counters
        if self._tokenizer is None:
            return {"requests": totals["requests"]}
        return totals | {"reused_blocks": float(counters.reused), "evicted_blocks": float(counters.evicted)}

    def close(self) -> None:
        """See ``TritonClient``."""
        self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _call(self, request: GenerationRequest, use: PrefixUse, answer: str | None = None) -> GenerationResult:
        prompt = request.prompt
        if self._closed or not prompt or request.max_tokens < 1:
            cause = "the client is closed" if self._closed else "a call needs a prompt and max_tokens of 1 or more"
            raise RequestRejectedError(cause)
        with self._lock:
            tokens = self._tokenizer.encode(prompt) if self._tokenizer is not None else []
            allocation = self._manager.admit(tokens, request.max_tokens) if self._tokenizer is not None else None
            try:
                started = self._clock()
                text = self._answer(prompt) if answer is None else answer
                latency = self._clock() - started
                self._totals["requests"] += 1
                if self._tokenizer is None or allocation is None:
                    result = GenerationResult(text, latency, None, None, None, None, details=dict(use.details))
                else:
                    result = self._figures(self._tokenizer, allocation, tokens, text, request.max_tokens, latency, use)
            finally:
                if allocation is not None:
                    self._manager.release(allocation)
        result = replace(result, cache_id=request.cache_id)
        self._prefixes.count(use, result)
        return result

    def _figures(
        self,
        tokenizer: Tokenizer,
        allocation: Allocation,
        tokens: list[int],
        text: str,
        max_tokens: int,
        latency: float,
        use: PrefixUse,
    ) -> GenerationResult:
        output = tokenizer.encode(text)
        finish_reason = "end"
        if len(output) > max_tokens:
            output = output[:max_tokens]
            text, finish_reason = tokenizer.decode(output), "length"
        # The engine computes no KV of the last output token.
        computed = [*tokens, *output[:-1]]
        self._manager.extend(allocation, len(computed))
        self._manager.store(allocation, computed, len(computed))
        cached = allocation.reused_blocks * self._manager.tokens_per_block
        self._totals["prompt_tokens"] += len(tokens)
        self._totals["cached_tokens"] += cached
        self._totals["output_tokens"] += len(output)
        return GenerationResult(
            text=text,
            latency=latency,
            ttft=None,
            prompt_tokens=len(tokens),
            cached_tokens=cached,
            output_tokens=len(output),
            finish_reason=finish_reason,
            details={
                **use.details,
                "kv_cache_reused_blocks": allocation.reused_blocks,
                "kv_cache_alloc_new_blocks": allocation.new_blocks,
                "tokens_per_block": self._manager.tokens_per_block,
            },
        )


def _in_order(texts: Iterable[str]) -> Callable[[str], str]:
    remaining = iter(texts)

    def answer(_prompt: str) -> str:
        for text in remaining:
            return text
        raise RequestRejectedError("the in-memory client has no answer left", remedy="give it one for each call")

    return answer
