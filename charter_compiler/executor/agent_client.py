"""The client that Charter injects into an agent: what its author may call."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, Protocol

from charter_compiler.diagnostics.errors import CharterError, RequestCancelledError
from charter_compiler.executor.calls import AgentCall, CallSite, CallSites
from charter_compiler.executor.layout import PromptLayouts
from charter_compiler.executor.types import GenerationRequest, GenerationResult

DEFAULT_MAX_TOKENS = 256


class CallBackend(Protocol):
    """What stands behind the client: the run time, or the recorder of ``predict``."""

    def call(self, call: AgentCall) -> GenerationResult:
        """Answer a call of a synchronous agent; blocks its thread. Raises ``TargetError``."""

    async def acall(self, call: AgentCall) -> GenerationResult:
        """Answer a call of an asynchronous agent. Raises ``TargetError``."""


class AgentClient:
    """The model, as one item of a run sees it. Every method returns the text of the answer.

    Synchronous agents call ``generate`` (also ``complete``, or the client itself) and ``chat``; asynchronous ones await
    ``agenerate`` (``acomplete``) and ``achat``. All take the same keywords:

    - ``max_tokens``: the longest answer, in tokens; 256 if not given; ``--max-tokens`` caps it for the whole run.
    - ``temperature``, ``top_k``, ``top_p``, ``seed``: sampling; if none is given, the target's default, which is
      greedy on the embedded server.
    - ``stop``: a text or several, at which the answer ends; they are not part of it.
    - ``response_format``: OpenAI's (``{"type": "json_schema", ...}``), on targets that can hold outputs to it.
    - ``timeout``: seconds for the whole call, from when it is first sent to the target.

    They raise ``TargetError`` where the server cannot answer; an agent that does not catch it fails its item alone.
    """

    def __init__(
        self,
        item: int,
        backend: CallBackend,
        sites: CallSites,
        max_tokens_cap: int | None = None,
        layouts: PromptLayouts | None = None,
    ) -> None:
        self._item = item
        self._backend = backend
        self._sites = sites
        self._cap = max_tokens_cap
        self._layouts = PromptLayouts() if layouts is None else layouts
        self._ordinals = itertools.count()
        self._failures: list[tuple[BaseException, CallSite | None]] = []
        self._closed = False

    def close(self) -> None:
        """The item is over: a thread or task that the agent left behind can make no more calls."""
        self._closed = True

    def site_of(self, error: BaseException) -> CallSite | None:
        """The call that raised an error, or the error that it was raised from; ``None`` if no call did."""
        cause: BaseException | None = error
        while cause is not None:
            for failure, site in self._failures:
                if failure is cause:
                    return site
            cause = cause.__cause__ or cause.__context__
        return None

    def generate(self, prompt: str, **options: Any) -> str:
        """Complete a text, which is sent as it stands, without a chat template."""
        return self._answer(self._call(_prompt(prompt), None, **options))

    def complete(self, prompt: str, **options: Any) -> str:
        """The same as ``generate``."""
        return self._answer(self._call(_prompt(prompt), None, **options))

    __call__ = complete

    def chat(self, messages: Sequence[Mapping[str, Any]], **options: Any) -> str:
        """Answer a chat of ``{"role", "content"}`` messages; the model's own chat template is put around it."""
        return self._answer(self._call(None, _messages(messages), **options))

    def agenerate(self, prompt: str, **options: Any) -> Awaitable[str]:
        """``generate`` for asynchronous agents. The call is counted, and its place noted, before the first await."""
        return self._aanswer(self._call(_prompt(prompt), None, **options))

    acomplete = agenerate

    def achat(self, messages: Sequence[Mapping[str, Any]], **options: Any) -> Awaitable[str]:
        """``chat`` for asynchronous agents."""
        return self._aanswer(self._call(None, _messages(messages), **options))

    def _answer(self, call: AgentCall) -> str:
        try:
            return self._backend.call(call).text
        except CharterError as error:
            self._failures.append((error, call.site))
            raise

    async def _aanswer(self, call: AgentCall) -> str:
        try:
            return (await self._backend.acall(call)).text
        except CharterError as error:
            self._failures.append((error, call.site))
            raise

    def _call(
        self,
        prompt: str | None,
        messages: tuple[Mapping[str, Any], ...] | None,
        *,
        max_tokens: int = DEFAULT_MAX_TOKENS,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        stop: str | Sequence[str] | None = None,
        seed: int | None = None,
        response_format: Mapping[str, Any] | None = None,
        timeout: float | None = None,
    ) -> AgentCall:
        if self._closed:
            raise RequestCancelledError("the item is over; it can make no more calls")
        if max_tokens < 1:
            raise ValueError(f"max_tokens must be at least 1, not {max_tokens}")
        request = GenerationRequest(
            prompt=prompt,
            messages=messages,
            max_tokens=max_tokens if self._cap is None else min(max_tokens, self._cap),
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            seed=seed,
            stop=() if stop is None else (stop,) if isinstance(stop, str) else tuple(stop),
            response_format=response_format,
            timeout=timeout,
        )
        site = self._sites.here()
        return AgentCall(self._item, next(self._ordinals), site, self._layouts.apply(site, request))


def _prompt(prompt: object) -> str:
    if not isinstance(prompt, str):
        raise TypeError(f"the prompt is a {type(prompt).__name__}, not a str; for a list of messages call chat()")
    if not prompt:
        raise ValueError("the prompt is empty")
    return prompt


def _messages(messages: object) -> tuple[Mapping[str, Any], ...]:
    if isinstance(messages, str):
        raise TypeError(
            'chat() takes messages such as [{"role": "user", "content": "..."}]; for a text call generate()'
        )
    if not isinstance(messages, Sequence) or not messages:
        raise ValueError("chat() needs a list of at least one message")
    return tuple(dict(message) for message in messages)
