"""Identical requests of one run, answered once.

Greedy calls give the same answer to the same tokens, and calls with a seed are meant to. So the run time sends the
first of them and hands its answer to the others: a call that several items make, one repeated in a loop whose turns do
not change it, one that two places of the code make. Sampling calls are as many answers as calls, and are merged only
when told to.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable

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


def merge_key(request: GenerationRequest, *, sampling: bool = False, greedy_by_default: bool = True) -> bytes | None:
    """What two requests have in common that may share an answer; ``None`` for one that must be sent.

    ``sampling``: requests that sample may share one too. ``greedy_by_default`` as in ``is_repeatable``.
    """
    if not (sampling or is_repeatable(request, greedy_by_default=greedy_by_default)):
        return None
    return request_digest(request)


def request_digest(request: GenerationRequest) -> bytes:
    """16 bytes that stand for all that the target is asked: equal for equal requests, and for no others."""
    messages = None if request.messages is None else [sorted(message.items()) for message in request.messages]
    asked = (
        request.prompt, messages, request.max_tokens, request.temperature, request.top_k, request.top_p,
        request.seed, request.stop, request.response_format,
    )  # fmt: skip
    return hashlib.blake2b(repr(asked).encode("utf-8", "surrogatepass"), digest_size=16).digest()


KEPT = 8192
"""Answers kept in memory; of those that nobody asked for again, the oldest go first. The memo store has them all."""


class RunAnswers:
    """The answers of one run, in memory, ``KEPT`` at most. Owned by one event loop."""

    def __init__(self, *, sampling: bool = False, greedy_by_default: bool = True) -> None:
        self._sampling = sampling
        self._greedy_by_default = greedy_by_default
        self._open: dict[bytes, tuple[asyncio.Future[GenerationResult], int]] = {}
        self._done: OrderedDict[bytes, GenerationResult] = OrderedDict()

    async def get(
        self,
        request: GenerationRequest,
        send: Callable[[], Awaitable[GenerationResult]],
        asked: bytes | None = None,
        item: int = 0,
        hurry: Callable[[int], None] = lambda item: None,
    ) -> tuple[GenerationResult, bool]:
        """The answer, and whether it is that of another call. The first of equal requests is sent with ``send``; if it
        fails, the next one that waits for it is. ``asked`` is the request's digest, where it is known. ``hurry`` is
        told of the ``item`` whose call others wait for: were it held back until one of theirs is over, none would be.
        """
        if not (self._sampling or is_repeatable(request, greedy_by_default=self._greedy_by_default)):
            return await send(), False
        key = request_digest(request) if asked is None else asked
        while (open_call := self._open.get(key)) is not None:
            coming, leader = open_call
            hurry(leader)
            await asyncio.wait([coming])
            if not coming.cancelled():
                return coming.result(), True
        if (known := self._done.get(key)) is not None:
            self._done.move_to_end(key)
            return known, True
        answer: asyncio.Future[GenerationResult] = asyncio.get_running_loop().create_future()
        self._open[key] = answer, item
        try:
            result = await send()
        except BaseException:
            answer.cancel()
            raise
        finally:
            del self._open[key]
        answer.set_result(result)
        self._done[key] = result
        if len(self._done) > KEPT:
            self._done.popitem(last=False)
        return result, False
