"""The client of a real Triton server: the embedded one, or TensorRT-LLM in either profile."""

from __future__ import annotations

import warnings
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from types import TracebackType
from typing import Any, Self, Unpack

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from charter_compiler.diagnostics.errors import RequestCancelledError, TargetError, TargetUnavailableError
from charter_compiler.executor.attempts import Attempts
from charter_compiler.executor.call_scope import CallScope
from charter_compiler.executor.metrics_endpoint import read_metrics
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
from charter_compiler.executor.types import GenerationRequest, GenerationResult, StreamChunk, TargetFacts
from charter_compiler.tokens.codec import Tokenizer

GRPC_ERRORS = (grpc.RpcError, grpc.FutureCancelledError, grpc.FutureTimeoutError)


class ProductionTritonClient:
    """Blocking client over one gRPC connection; implements ``TritonClient``. Safe to use from many threads.

    Args:
        url: gRPC address, ``host:port``.
        model_name: the ensemble, the BLS model or the llmapi model.
        timeout: seconds for a whole call with its retries; ``None`` for no limit. A call may give its own.
        tls: ``True`` for TLS with the system's roots, or files (``TLS``).
        headers: sent with each call (as gRPC metadata); never shown in errors.
        tokenizer: the model's; shows prefix mismatches by token, and renders messages.
        tokens_per_block: of the server's KV cache, where it does not say so itself.
        metrics_url: Prometheus endpoint; by default what the embedded server names, and port 8002 beside port 8001.
        max_retries: further attempts of a call that the server was not there for or turned away; never once a part of
            the answer has arrived.

    Raises:
        UsageError: an argument makes no sense. Nothing is connected before the first call.
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
        self._scope = CallScope()
        options = channel_options(settings.endpoint, settings.tls)
        target = settings.endpoint.target
        self._channel = (
            grpc.insecure_channel(target, options)
            if settings.tls is None
            else grpc.secure_channel(target, credentials(settings.tls), options)
        )
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)

    def __repr__(self) -> str:
        return f"ProductionTritonClient({self._settings.place!r})"

    def infer_with_cache(
        self, prompt: str, cache_id: int | None = None, **options: Unpack[CallOptions]
    ) -> GenerationResult:
        """See ``TritonClient``."""
        call = self._begin(make_request(prompt, cache_id, options))
        return self._complete(call)

    def generate(self, request: GenerationRequest) -> GenerationResult:
        """``infer_with_cache`` for a ready request, which may hold messages instead of a prompt."""
        return self._complete(self._begin(request))

    def infer_batch(
        self,
        prompts: Sequence[str],
        cache_id: int | None = None,
        *,
        concurrency: int = 8,
        **options: Unpack[CallOptions],
    ) -> list[GenerationResult]:
        """See ``TritonClient``; at most ``concurrency`` calls are under way at once, begun in order."""
        calls = [self._begin(make_request(prompt, cache_id, options)) for prompt in prompts]
        scope = CallScope()

        def complete(call: TritonCall) -> GenerationResult:
            try:
                return self._complete(call, scope)
            except BaseException as error:
                scope.cancel(error)
                raise

        with ThreadPoolExecutor(max_workers=max(1, concurrency), thread_name_prefix="charter-batch") as pool:
            try:
                return list(pool.map(complete, calls))
            except TargetError as error:
                # The first in order may only have been cancelled because of the one that failed.
                raise scope.reason or error from None
            finally:
                # Also when this thread is interrupted: to leave the pool is to wait for what is under way.
                scope.cancel()

    def stream(self, prompt: str, cache_id: int | None = None, **options: Unpack[CallOptions]) -> Iterator[StreamChunk]:
        """See ``TritonClient``."""
        return self._run(self._begin(make_request(prompt, cache_id, options)), self._scope)

    def prepopulate_cache(self, texts: Iterable[str]) -> dict[int, WarmedPrefix]:
        """See ``TritonClient``. Each is sent as a prompt that asks for one token: the engine keeps its blocks."""
        warmed: dict[int, WarmedPrefix] = {}
        for text in dict.fromkeys(texts):
            name = self._core.prefixes.register(text)
            result = self.generate(GenerationRequest(prompt=text, max_tokens=1))
            warmed[name] = WarmedPrefix(text, result.prompt_tokens, replace(result, cache_id=name))
        return warmed

    def prefix_stats(self) -> dict[int, PrefixStats]:
        """See ``TritonClient``."""
        return self._core.prefixes.stats()

    def health_check(self) -> Health:
        """See ``TritonClient``. Asks without retries, for at most ``HEALTH_TIMEOUT`` seconds a question."""
        model = self._settings.model_name
        try:
            self._core.check_open()
            live = self._ask(self._stub.ServerLive, service_pb2.ServerLiveRequest(), HEALTH_TIMEOUT).live
            ready = self._ask(self._stub.ServerReady, service_pb2.ServerReadyRequest(), HEALTH_TIMEOUT).ready
            server = self._ask(self._stub.ServerMetadata, service_pb2.ServerMetadataRequest(), HEALTH_TIMEOUT)
        except TargetError as error:
            return Health(False, False, False, reason=str(error))
        try:
            request = service_pb2.ModelReadyRequest(name=model)
            model_ready = self._ask(self._stub.ModelReady, request, HEALTH_TIMEOUT).ready
        except TargetError as error:
            return Health(live, ready, False, server.name, server.version, reason=str(error))
        reason = None if model_ready else f"{self._settings.place}: the model is not ready"
        return Health(live, ready, model_ready, server.name, server.version, reason)

    def get_metrics(self) -> dict[str, float]:
        """See ``TritonClient``. From the Prometheus endpoint where one is known, else the server's statistics over gRPC
        by the same names."""
        self._core.check_open()
        attempts = Attempts(self._settings.policy, self._settings.timeout, place=self._settings.place)
        self._describe(attempts)
        if self._core.metrics_url is not None:
            return read_metrics(self._core.metrics_url, loopback=self._settings.endpoint.loopback)
        request = service_pb2.ModelStatisticsRequest()
        return statistics_as_metrics(self._ask(self._stub.ModelStatistics, request, attempts.remaining()))

    def facts(self) -> TargetFacts:
        """What the server says of itself, from its models' configuration."""
        self._core.check_open()
        attempts = Attempts(self._settings.policy, self._settings.timeout, place=self._settings.place)
        return self._core.facts(self._describe(attempts))

    def close(self) -> None:
        """See ``TritonClient``."""
        self._core.closed = True
        self._scope.cancel()
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _begin(self, request: GenerationRequest) -> TritonCall:
        call = self._core.begin(request)
        if call.use.mismatch is not None:
            # Two frames up: the caller of the public method.
            warnings.warn(str(call.use.mismatch), PrefixMismatchWarning, stacklevel=3)
        return call

    def _complete(self, call: TritonCall, scope: CallScope | None = None) -> GenerationResult:
        with closing(self._run(call, scope or self._scope)) as chunks:
            result = [chunk.result for chunk in chunks][-1]
        assert result is not None, "the last chunk carries the result"
        return result

    def _run(self, call: TritonCall, scope: CallScope) -> Generator[StreamChunk, None, None]:
        """Attempts until one succeeds or may not be repeated."""
        call.start()
        while True:
            try:
                yield from self._attempt(call, scope)
                return
            except TargetError as error:
                if isinstance(error, TargetUnavailableError):
                    self._core.forget_model()
                delay = call.attempts.delay_after(error)
            scope.wait(delay)

    def _attempt(self, call: TritonCall, scope: CallScope) -> Iterator[StreamChunk]:
        if scope.cancelled:
            raise RequestCancelledError("given up before it was sent", place=self._settings.place)
        model = self._describe(call.attempts)
        message = call.message(model, self._core.request_id())
        reader = ResponseReader(model, self._settings.place)
        rpc = self._send(model, message, call.attempts.remaining())
        scope.add(rpc)
        try:
            if model.decoupled:
                for response in rpc:
                    text = call.feed_stream(reader, response)
                    if text:
                        yield StreamChunk(text)
            else:
                yield StreamChunk(call.feed(reader, rpc.result()))
        except GRPC_ERRORS as error:
            # Without the cause: its text may quote our headers.
            raise self._settings.error(error) from None
        finally:
            # Nothing to cancel after the end; on the way out of a generator that is closed early, the call itself.
            rpc.cancel()
            scope.discard(rpc)
        rest = reader.finish()
        self._learn_block_size(reader)
        chunk = call.last_chunk(reader, rest, self._core.block_size)
        self._core.finished(call, chunk)
        yield chunk

    def _send(self, model: TritonModel, message: Any, timeout: float | None) -> Any:
        self._core.check_open()
        options = {"timeout": timeout, "metadata": self._settings.metadata}
        try:
            if model.decoupled:
                return self._stub.ModelStreamInfer(iter((message,)), **options)
            return self._stub.ModelInfer.future(message, **options)
        except ValueError:  # what gRPC says of a closed channel
            self._core.check_open()
            raise

    def _ask(self, method: Any, request: Any, timeout: float | None) -> Any:
        """A unary call that is not an inference."""
        try:
            return method(request, timeout=timeout, metadata=self._settings.metadata)
        except GRPC_ERRORS as error:
            raise self._settings.error(error) from None
        except ValueError:
            self._core.check_open()
            raise

    def _describe(self, attempts: Attempts) -> TritonModel:
        """The model's description: read once, and again after the server was away. Threads that come first at the same
        time read it each, rather than wait for one another's deadlines."""
        if self._core.model is not None:
            return self._core.model
        name = self._settings.model_name

        def config_of(model: str) -> Any:
            request = service_pb2.ModelConfigRequest(name=model)
            return self._ask(self._stub.ModelConfig, request, attempts.remaining()).config

        request = service_pb2.ModelMetadataRequest(name=name)
        metadata = self._ask(self._stub.ModelMetadata, request, attempts.remaining())
        config = config_of(name)
        composing = [config_of(model) for model in composing_models(config)]
        return self._core.keep_model(describe_model(metadata, config, composing, self._settings.place))

    def _learn_block_size(self, reader: ResponseReader) -> None:
        url = self._core.block_size_url(reader)
        if url is None:
            return
        try:
            self._core.learn_block_size(read_metrics(url, loopback=self._settings.endpoint.loopback))
        except TargetError:
            self._core.give_up_block_size()
