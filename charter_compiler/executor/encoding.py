"""Tokens of prompts, computed beside the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from charter_compiler.diagnostics.errors import RequestCancelledError
from charter_compiler.executor.prompts import PromptTokens
from charter_compiler.executor.types import GenerationRequest

AT_ONCE = 32
"""Prompts that are computed together: enough to occupy all cores, and few enough that of hundreds which wait the first
go to the target while the others are computed."""


@dataclass(slots=True)
class _Waiting:
    request: GenerationRequest
    tokens: asyncio.Future[list[int] | None]


class PromptEncoder:
    """Computes prompts in one thread, several at once: the tokenizer does not hold the interpreter, so that the
    loop goes on meanwhile. Answers come in the order of the questions. Owned by one event loop."""

    def __init__(self, prompts: PromptTokens) -> None:
        self._prompts = prompts
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="charter-tokens")
        self._waiting: list[_Waiting] = []
        self._worker: asyncio.Task[None] | None = None
        self._closed = False

    async def tokens(self, request: GenerationRequest) -> list[int] | None:
        """As ``PromptTokens.tokens``. Raises what it does, and RequestCancelledError once it is closed."""
        if not self._prompts.known:
            return None
        if self._closed:
            raise RequestCancelledError("the run has ended")
        loop = asyncio.get_running_loop()
        waiting = _Waiting(request, loop.create_future())
        self._waiting.append(waiting)
        if self._worker is None:
            self._worker = loop.create_task(self._work())
        return await waiting.tokens

    def close(self) -> None:
        """End the thread; who still waits is told that the run has ended."""
        self._closed = True
        self._thread.shutdown(wait=False)
        self._settle(self._waiting, RequestCancelledError("the run has ended"))
        self._waiting = []

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
                requests = [one.request for one in batch]
                try:
                    results = await loop.run_in_executor(self._thread, self._encode, requests)
                except RuntimeError:  # the thread has ended
                    self._settle(batch, RequestCancelledError("the run has ended"))
                    continue
                for one, result in zip(batch, results, strict=True):
                    self._settle([one], result)
        finally:
            self._worker = None

    def _settle(self, batch: Sequence[_Waiting], result: list[int] | Exception | None) -> None:
        for one in batch:
            if one.tokens.done():  # its call was given up
                continue
            if isinstance(result, Exception):
                one.tokens.set_exception(result)
            else:
                one.tokens.set_result(result)

    def _encode(self, requests: Sequence[GenerationRequest]) -> list[list[int] | Exception | None]:
        try:
            return list(self._prompts.all_tokens(requests))
        except Exception:  # noqa: BLE001  one of them is at fault: each has its own error then
            return [self._one(request) for request in requests]

    def _one(self, request: GenerationRequest) -> list[int] | Exception | None:
        try:
            return self._prompts.tokens(request)
        except Exception as error:  # noqa: BLE001  raised where the call was made
            return error
