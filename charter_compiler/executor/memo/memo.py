"""The memo of one run: the store, asked from the event loop without holding it up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar

from charter_compiler.diagnostics.errors import MemoError
from charter_compiler.executor.memo.claims import Claims
from charter_compiler.executor.memo.keys import MemoKeys
from charter_compiler.executor.memo.store import CorruptEntryError, MemoEntry, MemoStore
from charter_compiler.executor.types import GenerationRequest, GenerationResult

T = TypeVar("T")


class Memo:
    """Answers of earlier calls. A store that fails does not fail the run: it is left alone from then on, and
    ``problem`` says why. Owned by one event loop; the store is used in one thread of its own.

    ``claims``: with them a call is computed by one of all the runs that share the store, and awaited by the others.
    Such a store was asked for, so the run does not begin without it: entering the context raises ``MemoError``.

    ``hits`` counts calls that it answered, ``corrupt`` entries that were damaged, and so were computed again,
    ``unrepeatable`` calls that have no key.
    """

    def __init__(
        self, open_store: Callable[[], MemoStore], keys: MemoKeys, model: str, claims: Claims | None = None
    ) -> None:
        self._open_store = open_store
        self._keys = keys
        self._model = model
        self._claims = claims
        self._store: MemoStore | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="charter-memo")
        self.problem: MemoError | None = None
        self.hits = 0
        self.corrupt = 0
        self.unrepeatable = 0

    async def __aenter__(self) -> Memo:
        self._store = await self._try(self._open_store)
        if self._claims is not None:
            try:
                if self.problem is not None:
                    raise self.problem
                await self._claims.open()
            except BaseException:
                await self.__aexit__()
                raise
        return self

    async def __aexit__(self, *exception: object) -> None:
        if self._claims is not None:
            await self._claims.close()
        if self._store is not None:
            await self._try(self._store.close)
            self._store = None
        self._thread.shutdown()

    def key(self, request: GenerationRequest, tokens: Sequence[int] | None) -> bytes | None:
        """The call's key; ``None`` where it is neither looked up nor kept."""
        if self._store is None or self.problem is not None:
            return None
        key = self._keys.key(request, tokens)
        self.unrepeatable += key is None
        return key

    @asynccontextmanager
    async def turn(self, key: bytes) -> AsyncIterator[GenerationResult | None]:
        """The stored answer, or ``None``: it is for the caller to compute it and ``put`` it there. Of those who share
        the claims nobody else does until the context ends; what another computes is awaited."""
        claims, stored, ours = self._claims, await self.get(key), False
        if claims is None:
            yield stored
            return
        try:
            while stored is None and not ours and self.problem is None:
                ours = await self._take(claims, key)
                stored = await self.get(key)  # what was put before the claim was let go
            yield stored
        finally:
            if ours:
                claims.release(key)

    async def _take(self, claims: Claims, key: bytes) -> bool:
        try:
            return await claims.take(key)
        except MemoError as error:
            self.problem = error
            return False

    async def get(self, key: bytes) -> GenerationResult | None:
        """The stored answer. ``cached_tokens`` is ``None``: no engine was asked."""
        store = self._store
        if store is None:
            return None
        try:
            entry = await self._try(lambda: store.get(key))
        except CorruptEntryError:
            self.corrupt += 1
            return None
        if entry is None:
            return None
        self.hits += 1
        return GenerationResult(
            entry.text, 0.0, None, entry.prompt_tokens, None, entry.output_tokens, finish_reason=entry.finish_reason
        )

    async def put(self, key: bytes, result: GenerationResult) -> None:
        """Keep an answer, unless there is a ``problem`` by now."""
        store = self._store
        if store is not None and self.problem is None:
            entry = MemoEntry(result.text, result.finish_reason, result.prompt_tokens, result.output_tokens)
            await self._try(lambda: store.put(key, self._model, entry))

    async def _try(self, work: Callable[[], T]) -> T | None:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except CorruptEntryError:
            raise
        except MemoError as error:
            self.problem = self.problem or error
            return None
