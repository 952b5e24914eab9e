"""The memo of one run: the store, asked from the event loop without holding it up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from charter_compiler.diagnostics.errors import MemoError
from charter_compiler.executor.memo.claims import Claims
from charter_compiler.executor.memo.keys import MemoKeys
from charter_compiler.executor.memo.store import CorruptEntryError, MemoEntry, MemoStore
from charter_compiler.executor.types import GenerationRequest, GenerationResult

T = TypeVar("T")

PATIENCE = 300.0
"""Seconds that a call waits at most for what other runs compute; then it is computed here too."""


class AnsweredElsewhereError(Exception):
    """The call's turn has come, but another run computes it, or has computed it. Never leaves ``executor``."""


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
        self._corrupt: set[bytes] = set()
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

    @property
    def corrupt(self) -> int:
        """Each entry counts once, however often it was looked at."""
        return len(self._corrupt)

    def key(self, request: GenerationRequest, tokens: Sequence[int] | None) -> bytes | None:
        """The call's key; ``None`` where it is neither looked up nor kept."""
        if self._store is None or self.problem is not None:
            return None
        key = self._keys.key(request, tokens)
        self.unrepeatable += key is None
        return key

    def turn(self, key: bytes) -> MemoTurn:
        """For one call."""
        return MemoTurn(self, key, self._claims)

    async def get(self, key: bytes) -> GenerationResult | None:
        """The stored answer. ``cached_tokens`` is ``None``: no engine was asked."""
        entry = await self.peek(key)
        if entry is None:
            return None
        self.hits += 1
        return GenerationResult(
            entry.text, 0.0, None, entry.prompt_tokens, None, entry.output_tokens,
            finish_reason=entry.finish_reason, stop=entry.stop,
        )  # fmt: skip

    async def peek(self, key: bytes) -> MemoEntry | None:
        """The stored entry; no hit is counted."""
        store = self._store
        if store is None:
            return None
        try:
            return await self._try(lambda: store.get(key))
        except CorruptEntryError:
            self._corrupt.add(key)
            return None

    async def put(self, key: bytes, result: GenerationResult) -> None:
        """Keep an answer, unless there is a ``problem`` by now."""
        store = self._store
        if store is not None and self.problem is None:
            entry = MemoEntry(
                result.text, result.finish_reason, result.prompt_tokens, result.output_tokens, result.stop
            )
            await self._try(lambda: store.put(key, self._model, entry))

    async def _try(self, work: Callable[[], T]) -> T | None:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except CorruptEntryError:
            raise
        except MemoError as error:
            self.problem = self.problem or error
            return None


class MemoTurn:
    """One call that the store is asked for. With claims others may compute it, or wait until it is computed here; the
    claim is held only while the call is at the target, so that nobody waits for a call that waits itself."""

    def __init__(self, memo: Memo, key: bytes, claims: Claims | None) -> None:
        self._memo = memo
        self._key = key
        self._claims = claims
        self._held: str | None = None
        self._patience = PATIENCE

    async def stored(self) -> GenerationResult | None:
        """The stored answer, or ``None``: then it is for the caller to compute it and ``put`` it there. What another
        run computes at this moment is awaited."""
        while (stored := await self._memo.get(self._key)) is None:
            if not await self._wait():
                break
        return stored

    async def claim(self) -> None:
        """The call goes to the target now.

        Raises:
            AnsweredElsewhereError: it need not: ``stored`` is to be asked again.
        """
        claims = self._usable_claims()
        if claims is None:
            return
        try:
            self._held = await claims.take(self._key)
        except MemoError as error:
            self._memo.problem = error
            return
        if self._held is None:
            raise AnsweredElsewhereError
        if await self._memo.peek(self._key) is not None:  # put there after ``stored`` had looked
            self.release()
            raise AnsweredElsewhereError

    def release(self) -> None:
        """The call is not at the target any more; what it answered was ``put``. Idempotent."""
        if self._claims is not None and self._held is not None:
            self._claims.release(self._held)
            self._held = None

    async def _wait(self) -> bool:
        """Whether another run had to be waited for."""
        claims = self._usable_claims()
        if claims is None:
            return False
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            return await claims.wait(self._key)
        except MemoError as error:
            self._memo.problem = error
            return False
        finally:
            self._patience -= clock() - began

    def _usable_claims(self) -> Claims | None:
        """``None`` also where they were lost, or waited for long enough."""
        return self._claims if self._memo.problem is None and self._patience > 0 else None
