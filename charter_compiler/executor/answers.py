"""Identical requests of one run, answered once.

Greedy calls give the same answer to the same tokens, and calls with a seed are meant to. So the run time sends the
first of them and hands its answer to the others: a call that several items make, one repeated in a loop whose turns do
not change it, one that two places of the code make. Sampling calls are as many answers as calls, and are merged only
when told to.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable

from charter_compiler.executor.types import GenerationRequest, GenerationResult


def is_repeatable(request: GenerationRequest, *, greedy_by_default: bool) -> bool:
    """Whether the same request again is meant to give the same answer: it is greedy, or has a seed.

    ``greedy_by_default``: the target is greedy where a request says nothing of sampling. The embedded engine is
    (``SamplingParams.greedy``: one of these settings makes it sample); vLLM and OpenAI sample.
    """
    if request.seed is not None or request.temperature == 0 or request.top_k == 1:
        return True
    silent = request.temperature is None and not request.top_k and request.top_p is None
    return silent and greedy_by_default


def merge_key(request: GenerationRequest, *, sampling: bool = False, greedy_by_default: bool = True) -> Hashable:
    """What two requests have in common that may share an answer; ``None`` for one that must be sent.

    ``sampling``: requests that sample may share one too. ``greedy_by_default`` as in ``is_repeatable``.
    """
    if not (sampling or is_repeatable(request, greedy_by_default=greedy_by_default)):
        return None
    messages = None if request.messages is None else tuple(repr(sorted(m.items())) for m in request.messages)
    return (
        request.prompt, messages, request.max_tokens, request.temperature, request.top_k, request.top_p,
        request.seed, request.stop, repr(request.response_format),
    )  # fmt: skip


class RunAnswers:
    """The answers of one run, in memory. Owned by one event loop."""

    def __init__(self, *, sampling: bool = False, greedy_by_default: bool = True) -> None:
        self._sampling = sampling
        self._greedy_by_default = greedy_by_default
        self._answers: dict[Hashable, asyncio.Future[GenerationResult]] = {}

    async def get(
        self, request: GenerationRequest, send: Callable[[], Awaitable[GenerationResult]]
    ) -> tuple[GenerationResult, bool]:
        """The answer, and whether it is that of another call. The first of equal requests is sent with ``send``; if it
        fails, the next one that waits for it is."""
        key = merge_key(request, sampling=self._sampling, greedy_by_default=self._greedy_by_default)
        if key is None:
            return await send(), False
        while (known := self._answers.get(key)) is not None:
            await asyncio.wait([known])
            if not known.cancelled():
                return known.result(), True
        answer = self._answers[key] = asyncio.get_running_loop().create_future()
        try:
            result = await send()
        except BaseException:
            del self._answers[key]
            answer.cancel()
            raise
        answer.set_result(result)
        return result, False
