"""The asynchronous twin of ``ProductionTritonClient``: the same calls, awaitable, and a target of the run time."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import replace
from types import TracebackType
from typing import Any, Self, Unpack

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from charter_compiler.diagnostics.errors import RequestCancelledError, TargetError, TargetUnavailableError
from charter_compiler.executor.attempts import Attempts
from charter_compiler.executor.metrics_endpoint import read_metrics_async
from charter_compiler.executor.prefixes import PrefixMismatchWarning, PrefixStats, WarmedPrefix
from charter_compiler.executor.triton_call import (
    HEALTH_TIMEOUT,
    Health,
    TritonCall,
    TritonClientCore,
    make_settings,
    statistics_as_metrics,
)
from charter_compiler.executor.triton_channel import TLS, channel_options, credentials
from charter_compiler.executor.triton_client import CallOptions, make_request
from charter_compiler.executor.triton_model import TritonModel, composing_models, describe_model
from charter_compiler.executor.triton_responses import ResponseReader
from charter_compiler.executor.types import GenerationRequest, GenerationResult, StreamChunk, TargetFacts, last_result
from charter_compiler.tokens.codec import Tokenizer


class AsyncProductionTritonClient:
    """Client over one gRPC connection for one event loop; implements ``AsyncTarget``. Safe to use from many tasks.

    Arguments, and what they raise, are those of ``ProductionTritonClient``. Cancelling a task cancels its call at the
    server. Construct it where the loop runs.
    """

    def __init__(
        self,
        url: str = "localhost:8001",
        model_name: str = "ensemble",
        timeout: float | None = 60,
        *,
        tls: bool | TLS = False,
        headers: Mapping[str, str] | None = None,
        tokenizer: Tokenizer | None = None,
        tokens_per_block: int | None = None,
        metrics_url: str | None = None,
        max_retries: int = 3,
    ) -> None:
        settings = make_settings(
            url, model_name, timeout, tls, headers, tokenizer, tokens_per_block, metrics_url, max_retries
        )
        self._settings = settings
        self._core = TritonClientCore(settings)
        options = channel_options(settings.endpoint, settings.tls)
        target = settings.endpoint.target
        self._channel = (
            grpc.aio.insecure_channel(target, options)
            if settings.tls is None
            else grpc.aio.secure_channel(target, credentials(settings.tls), options)
        )
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)

    def __repr__(self) -> str:
        return f"AsyncProductionTritonClient({self._settings.place!r})"

    async def generate(self, request: GenerationRequest) -> GenerationResult:
        """See ``AsyncTarget``. Messages need the client's tokenizer, whose chat template makes a prompt of them."""
        return await last_result(self._run(self._begin(request)))

    def stream(
        self, request: GenerationRequest | str, cache_id: int | None = None, **options: Unpack[CallOptions]
    ) -> AsyncGenerator[StreamChunk, None]:
        """See ``AsyncTarget``; with a prompt and options it is the ``stream`` of ``TritonClient``. Closing the iterator
        (``aclose``) cancels the call."""
        if isinstance(request, str):
            request = make_request(request, cache_id, options)
        return self._run(self._begin(request))

    async def infer_with_cache(
        self, prompt: str, cache_id: int | None = None, **options: Unpack[CallOptions]
    ) -> GenerationResult:
        """See ``TritonClient``."""
        return await last_result(self._run(self._begin(make_request(prompt, cache_id, options))))

    async def infer_batch(
        self,
        prompts: Sequence[str],
        cache_id: int | None = None,
        *,
        concurrency: int = 8,
        **options: Unpack[CallOptions],
    ) -> list[GenerationResult]:
        """See ``TritonClient``; at most ``concurrency`` calls are under way at once, begun in order."""
        calls = [self._begin(make_request(prompt, cache_id, options)) for prompt in prompts]
        turns = asyncio.Semaphore(max(1, concurrency))

        async def complete(call: TritonCall) -> GenerationResult:
            async with turns:
                return await last_result(self._run(call))

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(complete(call)) for call in calls]
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return [task.result() for task in tasks]

    async def prepopulate_cache(self, texts: Iterable[str]) -> dict[int, WarmedPrefix]:
        """See ``TritonClient``. Each is sent as a prompt that asks for one token: the engine keeps its blocks."""
        warmed: dict[int, WarmedPrefix] = {}
        for text in dict.fromkeys(texts):
            name = self._core.prefixes.register(text)
            result = await self.generate(GenerationRequest(prompt=text, max_tokens=1))
            warmed[name] = WarmedPrefix(text, result.prompt_tokens, replace(result, cache_id=name))
        return warmed

    def prefix_stats(self) -> dict[int, PrefixStats]:
        """See ``TritonClient``."""
        return self._core.prefixes.stats()

    async def health_check(self) -> Health:
        """See ``TritonClient``. Asks without retries, for at most ``HEALTH_TIMEOUT`` seconds a question."""
        model = self._settings.model_name
        try:
            self._core.check_open()
            live = (await self._ask(self._stub.ServerLive, service_pb2.ServerLiveRequest(), HEALTH_TIMEOUT)).live
            ready = (await self._ask(self._stub.ServerReady, service_pb2.ServerReadyRequest(), HEALTH_TIMEOUT)).ready
            server = await self._ask(self._stub.ServerMetadata, service_pb2.ServerMetadataRequest(), HEALTH_TIMEOUT)
        except TargetError as error:
            return Health(False, False, False, reason=str(error))
        try:
            request = service_pb2.ModelReadyRequest(name=model)
            model_ready = (await self._ask(self._stub.ModelReady, request, HEALTH_TIMEOUT)).ready
        except TargetError as error:
            return Health(live, ready, False, server.name, server.version, reason=str(error))
        reason = None if model_ready else f"{self._settings.place}: the model is not ready"
        return Health(live, ready, model_ready, server.name, server.version, reason)

    async def get_metrics(self) -> dict[str, float]:
        """See ``TritonClient``. From the Prometheus endpoint where one is known, else the server's statistics over gRPC
        by the same names."""
        attempts = self._attempts()
        await self._describe(attempts)
        if self._core.metrics_url is not None:
            return await read_metrics_async(self._core.metrics_url, loopback=self._settings.endpoint.loopback)
        request = service_pb2.ModelStatisticsRequest()
        return statistics_as_metrics(await self._ask(self._stub.ModelStatistics, request, attempts.remaining()))

    async def metrics(self) -> dict[str, float]:
        """See ``AsyncTarget``."""
        return await self.get_metrics()

    async def facts(self) -> TargetFacts:
        """See ``AsyncTarget``; from the models' configuration."""
        return self._core.facts(await self._describe(self._attempts()))

    async def stated(self) -> dict[str, Any]:
        """All that the server's configuration states of the model: its generation, and the parameters of it and of the
        models that it is composed of (paths of tokenizer and engine, sizes). Raises TargetError."""
        model = await self._describe(self._attempts())
        return {"profile": model.profile.name, "parameters": dict(model.parameters)}

    async def aclose(self) -> None:
        """See ``AsyncTarget``. Calls under way end with ``RequestCancelledError``."""
        self._core.closed = True
        await self._channel.close(grace=None)

    async def close(self) -> None:
        """``aclose`` under the synchronous client's name."""
        await self.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def _begin(self, request: GenerationRequest) -> TritonCall:
        call = self._core.begin(request)
        if call.use.mismatch is not None:
            # Two frames up: whoever awaits the public method.
            warnings.warn(str(call.use.mismatch), PrefixMismatchWarning, stacklevel=3)
        return call

    def _attempts(self) -> Attempts:
        self._core.check_open()
        return Attempts(self._settings.policy, self._settings.timeout, place=self._settings.place)

    async def _run(self, call: TritonCall) -> AsyncGenerator[StreamChunk, None]:
        """Attempts until one succeeds or may not be repeated."""
        call.start()
        while True:
            try:
                async with aclosing(self._attempt(call)) as chunks:
                    async for chunk in chunks:
                        yield chunk
                return
            except TargetError as error:
                if isinstance(error, TargetUnavailableError):
                    self._core.forget_model()
                delay = call.attempts.delay_after(error)
            await asyncio.sleep(delay)

    async def _attempt(self, call: TritonCall) -> AsyncGenerator[StreamChunk, None]:
        model = await self._describe(call.attempts)
        message = call.message(model, self._core.request_id())
        reader = ResponseReader(model, self._settings.place)
        self._core.check_open()
        options = {"timeout": call.attempts.remaining(), "metadata": self._settings.metadata}
        rpc: Any = None
        try:
            with self._own_errors():
                if model.decoupled:
                    rpc = self._stub.ModelStreamInfer(**options)
                    await rpc.write(message)
                    await rpc.done_writing()
                    async for response in rpc:
                        text = call.feed_stream(reader, response)
                        if text:
                            yield StreamChunk(text)
                else:
                    rpc = self._stub.ModelInfer(message, **options)
                    yield StreamChunk(call.feed(reader, await rpc))
        finally:
            # Nothing to cancel after the end; on the way out of a cancelled task or a closed stream, the call itself.
            if rpc is not None:
                rpc.cancel()
        rest = reader.finish()
        await self._learn_block_size(reader)
        chunk = call.last_chunk(reader, rest, self._core.block_size)
        self._core.finished(call, chunk)
        yield chunk

    async def _ask(self, method: Any, request: Any, timeout: float | None) -> Any:
        """A unary call that is not an inference."""
        with self._own_errors():
            return await method(request, timeout=timeout, metadata=self._settings.metadata)

    @contextmanager
    def _own_errors(self) -> Iterator[None]:
        """gRPC's errors as ours, and what a closed client raises as what it is."""
        try:
            yield
        except grpc.RpcError as error:
            # Without the cause: its text may quote our headers.
            raise self._settings.error(error) from None
        except grpc.aio.UsageError:
            self._core.check_open()
            raise
        except asyncio.CancelledError:
            self._raise_if_closed()
            raise

    def _raise_if_closed(self) -> None:
        """``aclose`` ends calls the way a cancelled task does. A task that nobody cancelled must not look cancelled."""
        task = asyncio.current_task()
        if self._core.closed and (task is None or not task.cancelling()):
            raise RequestCancelledError("the client was closed", place=self._settings.place) from None

    async def _describe(self, attempts: Attempts) -> TritonModel:
        """The model's description: read once, and again after the server was away. Tasks that come first at the same
        time read it each, rather than wait for one another's deadlines."""
        if self._core.model is not None:
            return self._core.model
        name = self._settings.model_name

        async def config_of(model: str) -> Any:
            request = service_pb2.ModelConfigRequest(name=model)
            return (await self._ask(self._stub.ModelConfig, request, attempts.remaining())).config

        request = service_pb2.ModelMetadataRequest(name=name)
        metadata = await self._ask(self._stub.ModelMetadata, request, attempts.remaining())
        config = await config_of(name)
        composing = [await config_of(model) for model in composing_models(config)]
        return self._core.keep_model(describe_model(metadata, config, composing, self._settings.place))

    async def _learn_block_size(self, reader: ResponseReader) -> None:
        url = self._core.block_size_url(reader)
        if url is None:
            return
        try:
            self._core.learn_block_size(await read_metrics_async(url, loopback=self._settings.endpoint.loopback))
        except TargetError:
            self._core.give_up_block_size()
