"""What the synchronous and the asynchronous Triton client have in common: all but the waiting.

Both drive the stubs of tritonclient's protobuf directly instead of ``tritonclient.grpc.InferenceServerClient``. That
class has one stream for all requests of a client, with one callback: the error or the end of one request cannot be told
from another's, no request has a deadline of its own, and cancelling one cancels all. Here each request is one
``ModelStreamInfer`` call on the client's one HTTP/2 connection: gRPC itself keeps them apart, ends them at their
deadline and tells the server when one is given up.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from charter_compiler.diagnostics.errors import RequestRejectedError, TargetError, UsageError
from charter_compiler.executor.attempts import Attempts
from charter_compiler.executor.grpc_errors import error_from_grpc, error_from_status
from charter_compiler.executor.prefixes import PrefixRegistry, PrefixUse
from charter_compiler.executor.prometheus import label_value
from charter_compiler.executor.retry import RetryPolicy
from charter_compiler.executor.triton_channel import TLS, Endpoint, call_metadata, parse_endpoint
from charter_compiler.executor.triton_model import TritonModel, infer_request
from charter_compiler.executor.triton_responses import ResponseReader
from charter_compiler.executor.types import GenerationRequest, StreamChunk, TargetFacts
from charter_compiler.serve.options import MARK
from charter_compiler.tokens.codec import Tokenizer

HEALTH_TIMEOUT = 5.0
"""Seconds for each question of a health check."""
BLOCK_METRIC = "nv_trt_llm_kv_cache_block_metrics"


@dataclass(frozen=True, slots=True)
class Health:
    """What a server says of itself; true when it can take requests for the model.

    ``reason`` tells why it cannot, ``server`` and ``version`` are ``None`` where it did not answer.
    """

    live: bool
    ready: bool
    model_ready: bool
    server: str | None = None
    version: str | None = None
    reason: str | None = None

    def __bool__(self) -> bool:
        return self.live and self.ready and self.model_ready


@dataclass(frozen=True, slots=True)
class TritonSettings:
    """A client's settings, checked. ``metadata`` goes with each call and is never shown."""

    endpoint: Endpoint
    model_name: str
    timeout: float | None
    tls: TLS | None
    metadata: tuple[tuple[str, str], ...] = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)
    policy: RetryPolicy
    tokenizer: Tokenizer | None
    tokens_per_block: int | None
    metrics_url: str | None

    @property
    def place(self) -> str:
        """The target in errors, as it would be written on the command line."""
        return f"triton://{self.endpoint.target}/{self.model_name}"

    def error(self, error: Exception) -> TargetError:
        """Charter's error for what gRPC raised."""
        return error_from_grpc(error, place=self.place, secrets=self.secrets)


def make_settings(
    url: str,
    model_name: str,
    timeout: float | None,
    tls: bool | TLS,
    headers: Mapping[str, str] | None,
    tokenizer: Tokenizer | None,
    tokens_per_block: int | None,
    metrics_url: str | None,
    max_retries: int,
) -> TritonSettings:
    """Check a client's arguments.

    Raises:
        UsageError: one of them makes no sense.
    """
    if timeout is not None and timeout <= 0:
        raise UsageError(f"timeout is {timeout} s", remedy="give a positive number of seconds, or None for no limit")
    if max_retries < 0 or (tokens_per_block is not None and tokens_per_block < 1):
        raise UsageError("max_retries is negative, or tokens_per_block below 1", remedy="correct it")
    headers = headers or {}
    return TritonSettings(
        endpoint=parse_endpoint(url),
        model_name=model_name,
        timeout=timeout,
        tls=tls if isinstance(tls, TLS) else (TLS() if tls else None),
        metadata=call_metadata(headers),
        secrets=tuple(headers.values()),
        policy=RetryPolicy(max_retries=max_retries),
        tokenizer=tokenizer,
        tokens_per_block=tokens_per_block,
        metrics_url=metrics_url,
    )


class TritonCall:
    """One request from its first attempt to its result."""

    def __init__(self, settings: TritonSettings, request: GenerationRequest, prompt: str, use: PrefixUse) -> None:
        self._settings = settings
        self._request = request
        self._prompt = prompt
        self.use = use
        self._timeout = request.timeout if request.timeout is not None else settings.timeout
        self._sent: float | None = None
        self._last = 0.0
        self.start()

    def start(self) -> None:
        """The deadline runs from here: a call may have waited for its turn since it was made."""
        self.attempts = Attempts(self._settings.policy, self._timeout, place=self._settings.place)

    def message(self, model: TritonModel, request_id: str) -> Any:
        """The ``ModelInferRequest``; starts the clock of latency and TTFT, which goes on through retries."""
        message = infer_request(model, self._request, self._prompt, request_id)
        if self._sent is None:
            self._sent = self.attempts.now()
        return message

    def feed(self, reader: ResponseReader, response: Any) -> str:
        """Hand a response that has just arrived to the reader; returns the text that it adds."""
        self._last = self._since_sent()
        self.attempts.delivered = True
        return reader.feed(response, self._last)

    def feed_stream(self, reader: ResponseReader, message: Any) -> str:
        """The same for a ``ModelStreamInferResponse``, which may be an error instead.

        Raises:
            TargetError: what the server said.
        """
        if message.error_message:
            raise error_from_status(
                None, message.error_message, place=self._settings.place, secrets=self._settings.secrets
            )
        return self.feed(reader, message.infer_response)

    def last_chunk(self, reader: ResponseReader, text: str, tokens_per_block: int | None) -> StreamChunk:
        """The chunk that carries the result."""
        details = dict(self.use.details)
        if self.attempts.retries:
            details["retries"] = self.attempts.retries
        return StreamChunk(
            text,
            reader.result(
                latency=self._last,
                tokens_per_block=tokens_per_block,
                cache_id=self._request.cache_id,
                details=details,
                stops=self._request.stop,
            ),
        )

    def _since_sent(self) -> float:
        return self.attempts.now() - (self._sent or 0.0)


class TritonClientCore:
    """State of a client that both forms share: settings, registered prefixes, request ids, the model's description.
    Safe to use from many threads."""

    def __init__(self, settings: TritonSettings) -> None:
        self.settings = settings
        self.prefixes = PrefixRegistry(settings.tokenizer)
        self._ids = itertools.count(1)
        self._lock = threading.Lock()
        self._model: TritonModel | None = None
        self._block_size = settings.tokens_per_block
        self._metrics_failed = False
        self.closed = False

    def request_id(self) -> str:
        """A name for a request in the server's log, unique in this client."""
        with self._lock:
            return f"charter-{next(self._ids)}"

    def begin(self, request: GenerationRequest) -> TritonCall:
        """Check a request and its prefix.

        Raises:
            RequestRejectedError: it can be told now that it is wrong, or the client is closed.
        """
        self.check_open()
        if request.timeout is not None and request.timeout <= 0:
            raise RequestRejectedError(f"timeout is {request.timeout} s", remedy="give a positive number of seconds")
        prompt = self._prompt_of(request)
        return TritonCall(self.settings, request, prompt, self.prefixes.use(prompt, request.cache_id))

    def check_open(self) -> None:
        """Raises ``RequestRejectedError`` once the client is closed."""
        if self.closed:
            raise RequestRejectedError(
                "the client is closed", place=self.settings.place, remedy="make a new one, or close it later"
            )

    def _prompt_of(self, request: GenerationRequest) -> str:
        prompt = request.prompt
        if (prompt is None) == (request.messages is None):
            raise RequestRejectedError("a request has either a prompt or messages", remedy="give one of them")
        if prompt is None:
            if self.settings.tokenizer is None:
                raise RequestRejectedError(
                    "Triton's models take text, and messages become text by the model's chat template",
                    place=self.settings.place,
                    remedy="give the client the model's tokenizer",
                )
            prompt = self.settings.tokenizer.render_chat(request.messages or ())
        if not prompt:
            raise RequestRejectedError("the prompt is empty", remedy="send one token or more")
        try:
            prompt.encode()
        except UnicodeEncodeError as error:
            raise RequestRejectedError(f"the prompt is not valid Unicode: {error}", remedy="clean it") from error
        return prompt

    @property
    def model(self) -> TritonModel | None:
        """The model's description, once it was read."""
        return self._model

    def keep_model(self, model: TritonModel) -> TritonModel:
        """Remember the description."""
        self._model = model
        self._block_size = self._block_size or model.tokens_per_block
        return model

    def forget_model(self) -> None:
        """The server went away; what comes back may be another."""
        self._model = None
        self._block_size = self.settings.tokens_per_block

    @property
    def block_size(self) -> int | None:
        """Tokens in a KV block, where it is known so far."""
        return self._block_size

    def block_size_url(self, reader: ResponseReader) -> str | None:
        """Where to ask for the block size, when a response has shown that it is needed and nothing told it yet."""
        if self._block_size is not None or self._metrics_failed or reader.reused_blocks is None:
            return None
        return self.metrics_url

    def give_up_block_size(self) -> None:
        """The metrics cannot be read: do not ask again with every call. Cached tokens stay unknown."""
        self._metrics_failed = True

    def finished(self, call: TritonCall, chunk: StreamChunk) -> None:
        """Count a call's prefix."""
        if chunk.result is not None:
            self.prefixes.count(call.use, chunk.result)

    def learn_block_size(self, metrics: Mapping[str, float]) -> None:
        """TensorRT-LLM never has the block size in its configuration, but among its metrics (0 until it has run)."""
        for key, value in metrics.items():
            if key.startswith(BLOCK_METRIC) and label_value(key, "kv_cache_block_type") == "tokens_per" and value > 0:
                self._block_size = int(value)

    @property
    def metrics_url(self) -> str | None:
        """Where the server's metrics are: as given, as the embedded server says, or Triton's default."""
        if self.settings.metrics_url is not None:
            return self.settings.metrics_url
        port = self._model.parameters.get("charter_metrics_port") if self._model is not None else None
        if port is not None:
            host = self.settings.endpoint.host
            return f"http://[{host}]:{port}/metrics" if ":" in host else f"http://{host}:{port}/metrics"
        return self.settings.endpoint.default_metrics_url

    def facts(self, model: TritonModel) -> TargetFacts:
        """What the configuration and the metrics tell."""

        def number(name: str) -> int | None:
            value = model.parameters.get(name, "")
            return int(value) if value.isdigit() else None

        return TargetFacts(
            target=self.settings.place,
            model=model.parameters.get("charter_model_name", model.name),
            tokenizer=model.parameters.get("tokenizer_dir"),
            tokens_per_block=self._block_size,
            capacity_blocks=number("charter_capacity_blocks"),
            max_context=number("charter_max_context"),
            reports_cached_tokens=model.profile.reused_blocks in model.outputs,
            embedded=MARK in model.parameters,
            kv_hint_actions=tuple(filter(None, model.parameters.get("charter_kv_hint_actions", "").split(","))),
        )


def statistics_as_metrics(statistics: Any) -> dict[str, float]:
    """``ModelStatisticsResponse`` by the names that Triton's own metrics have."""
    metrics: dict[str, float] = {}
    for model in statistics.model_stats:
        labels = f'{{model="{model.name}",version="{model.version}"}}'
        stats = model.inference_stats
        metrics |= {
            f"nv_inference_count{labels}": float(model.inference_count),
            f"nv_inference_exec_count{labels}": float(model.execution_count),
            f"nv_inference_request_success{labels}": float(stats.success.count),
            f"nv_inference_request_failure{labels}": float(stats.fail.count),
            f"nv_inference_request_duration_us{labels}": stats.success.ns / 1000,
            f"nv_inference_queue_duration_us{labels}": stats.queue.ns / 1000,
            f"nv_inference_compute_infer_duration_us{labels}": stats.compute_infer.ns / 1000,
        }
    return metrics
