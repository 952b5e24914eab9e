"""Target for OpenAI-compatible servers: vLLM, SGLang, llama.cpp's server, trtllm-serve."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from types import TracebackType
from typing import Self

import httpx

from charter_compiler.diagnostics.errors import (
    RequestCancelledError,
    RequestRejectedError,
    TargetError,
    TargetProtocolError,
    TargetTimeoutError,
    TargetUnavailableError,
    UnknownModelError,
    UsageError,
)
from charter_compiler.executor.attempts import Attempts
from charter_compiler.executor.grpc_errors import one_line
from charter_compiler.executor.metrics_endpoint import read_metrics_async
from charter_compiler.executor.openai_wire import (
    Answer,
    EventDecoder,
    OpenAIAddress,
    error_for,
    parse_target,
    request_body,
    vllm_sizes,
)
from charter_compiler.executor.retry import RetryPolicy
from charter_compiler.executor.sdk_calls import key_of_environment
from charter_compiler.executor.triton_channel import Endpoint
from charter_compiler.executor.types import GenerationRequest, GenerationResult, StreamChunk, TargetFacts, last_result

KEY_VARIABLE = "OPENAI_API_KEY"
CONNECT_TIMEOUT = 10.0
"""Seconds; a call without a limit still does not wait for ever for a host that is not there."""


def check_openai_target(target: str) -> None:
    """Raises what ``OpenAITarget`` does for this text with the environment's key; opens nothing."""
    _check_key(parse_target(target), key_of_environment(KEY_VARIABLE))


def _check_key(address: OpenAIAddress, key: str | None) -> None:
    """Refuse to send a key in the clear, except to this machine."""
    if key and address.base_url.startswith("http://") and not Endpoint(address.host, 0).loopback:
        raise UsageError(
            "the API key would be sent without encryption",
            place=address.place,
            remedy=f"write openais://, or unset {KEY_VARIABLE} if the server needs no key",
        )


class OpenAITarget:
    """An ``AsyncTarget`` over HTTP. Safe to use from many tasks of one loop.

    It always streams, so that the time to the first token is measured, and asks for the usage. ``cached_tokens`` is
    what the usage reports (vLLM: ``--enable-prompt-tokens-details``, SGLang: ``--enable-cache-report``), else ``None``.

    Args:
        target: ``openai://host:port/v1?model=NAME``; ``openais://`` for TLS.
        timeout: seconds for a whole call with its retries; ``None`` for no limit. A request may give its own.
        api_key: by default from the environment variable ``OPENAI_API_KEY``; none is sent where that is not set.
        max_retries: further attempts of a call that the server was not there for or turned away; never once a part of
            the answer has arrived.
        retry_overloads: whether calls that were turned away (429) are among them.

    Raises:
        UsageError: the target is not one, or a key would go to another machine without TLS.
    """

    def __init__(
        self,
        target: str,
        timeout: float | None = 60,
        *,
        api_key: str | None = None,
        max_retries: int = 3,
        retry_overloads: bool = True,
    ) -> None:
        self._address = parse_target(target)
        self._timeout = timeout
        self._policy = RetryPolicy(max_retries=max_retries, overloads=retry_overloads)
        key = api_key if api_key is not None else key_of_environment(KEY_VARIABLE)
        _check_key(self._address, key)
        self._secrets = (key,) if key else ()
        self._loopback = Endpoint(self._address.host, 0).loopback
        self._client = httpx.AsyncClient(
            base_url=self._address.base_url,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            # No limit of its own: the scheduler decides how many calls are under way, `Attempts` how long they take.
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=None),
            timeout=httpx.Timeout(None, connect=CONNECT_TIMEOUT),
            trust_env=not self._loopback,
        )

    def __repr__(self) -> str:
        return f"OpenAITarget({self._address.place!r})"

    async def generate(self, request: GenerationRequest) -> GenerationResult:
        """See ``AsyncTarget``."""
        return await last_result(self.stream(request))

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[StreamChunk, None]:
        """See ``AsyncTarget``. Closing the iterator (``aclose``) ends the call at the server."""
        timeout = request.timeout if request.timeout is not None else self._timeout
        attempts = Attempts(self._policy, timeout, place=self._address.place)
        while True:
            try:
                async with aclosing(self._attempt(request, attempts)) as chunks:
                    async for chunk in chunks:
                        yield chunk
                return
            except TargetError as error:
                delay = attempts.delay_after(error)
            await asyncio.sleep(delay)

    async def facts(self) -> TargetFacts:
        """See ``AsyncTarget``; from ``/models``, where vLLM and SGLang tell the context's length, and for vLLM from
        ``/metrics``, which has the sizes of its cache.

        Raises:
            UnknownModelError: the server does not list the model.
        """
        try:
            limit = httpx.Timeout(self._timeout, connect=CONNECT_TIMEOUT)
            response = await self._client.get("/models", timeout=limit)
        except httpx.HTTPError as error:
            raise self._error(error, self._timeout) from None
        except RuntimeError:  # what httpx says of a closed client
            self._check_open()
            raise
        if response.status_code != httpx.codes.OK:
            raise error_for(response.status_code, response.text, response.headers, self._address.place, self._secrets)
        try:
            models = {entry["id"]: entry for entry in response.json()["data"]}
        except (ValueError, KeyError, TypeError) as error:
            raise TargetProtocolError("/models answers in another form", place=self._address.place) from error
        if self._address.model not in models:
            names = ", ".join(sorted(models)) or "none"
            raise UnknownModelError(
                f"the server has no model {self._address.model!r}",
                place=self._address.base_url,
                remedy=f"it has {names}",
            )
        entry = models[self._address.model]
        length, root = entry.get("max_model_len"), entry.get("root")
        is_vllm = entry.get("owned_by") == "vllm"
        sizes = vllm_sizes(await self._metrics_if_any()) if is_vllm else None
        return TargetFacts(
            target=self._address.place,
            model=self._address.model,
            tokens_per_block=None if sizes is None else sizes[0],
            capacity_blocks=None if sizes is None else sizes[1],
            max_context=length if isinstance(length, int) else None,
            engine="vllm" if is_vllm else None,
            model_path=root if isinstance(root, str) else None,
        )

    async def _metrics_if_any(self) -> Mapping[str, float]:
        """The metrics, or none where a proxy in front of the server does not pass them on."""
        try:
            return await self.metrics()
        except TargetError:
            return {}

    @property
    def loopback(self) -> bool:
        """Whether the server is on this machine, so that its paths are ours."""
        return self._loopback

    async def metrics(self) -> Mapping[str, float]:
        """See ``AsyncTarget``; from ``/metrics`` beside the API's path."""
        origin = httpx.URL(self._address.base_url)
        return await read_metrics_async(str(origin.copy_with(path="/metrics")), loopback=self._loopback)

    async def aclose(self) -> None:
        """See ``AsyncTarget``."""
        await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _attempt(self, request: GenerationRequest, attempts: Attempts) -> AsyncGenerator[StreamChunk, None]:
        path, body = request_body(request, self._address.model)
        answer = Answer()
        async with aclosing(self._events(path, body, attempts)) as events:
            async for data in events:
                text = answer.feed(data, attempts.now(), self._address.place, self._secrets)
                if text:
                    attempts.delivered = True
                    yield StreamChunk(text)
        yield StreamChunk("", answer.result(request, attempts.retries, self._address.place))

    async def _events(self, path: str, body: object, attempts: Attempts) -> AsyncGenerator[str, None]:
        """The data of each event of a streamed answer. Nothing is handed out inside a deadline's scope: it must not go
        off in the consumer's code."""
        self._check_open()
        response: httpx.Response | None = None
        decoder = EventDecoder()
        try:
            async with asyncio.timeout(attempts.remaining()):
                response = await self._client.send(self._client.build_request("POST", path, json=body), stream=True)
                if response.status_code != httpx.codes.OK:
                    text = (await response.aread()).decode("utf-8", "replace")
                    raise error_for(response.status_code, text, response.headers, self._address.place, self._secrets)
            pieces = response.aiter_raw() if "content-encoding" not in response.headers else response.aiter_bytes()
            while True:
                async with asyncio.timeout(attempts.remaining()):
                    piece = await anext(pieces, None)
                if piece is None:
                    return
                for data in decoder.feed(piece):
                    yield data
        except (httpx.HTTPError, httpx.StreamError, TimeoutError) as error:
            raise self._error(error, attempts.timeout) from None
        finally:
            # Before its end this closes the connection, by which the server learns that nobody listens any more.
            if response is not None:
                await response.aclose()

    def _check_open(self) -> None:
        if self._client.is_closed:
            raise RequestRejectedError("the client is closed", place=self._address.place, remedy="make a new one")

    def _error(self, error: Exception, timeout: float | None) -> TargetError:
        """Charter's error for one of httpx or of a deadline."""
        place = self._address.place
        if isinstance(error, TimeoutError | httpx.TimeoutException) and not isinstance(error, httpx.ConnectTimeout):
            return TargetTimeoutError(f"no answer within {timeout} s", place=place, remedy="raise the timeout")
        if self._client.is_closed:
            return RequestCancelledError("the client was closed", place=place)
        if isinstance(error, httpx.UnsupportedProtocol | httpx.DecodingError | httpx.TooManyRedirects):
            return TargetProtocolError(one_line(str(error), self._secrets), place=place)
        cause = one_line(str(error), self._secrets) or type(error).__name__
        return TargetUnavailableError(cause, place=place, remedy="is the server running, and is this its port?")
