"""The OpenAI-compatible protocol: addresses, bodies, events, failures. Pure; ``openai_client`` does the talking."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

from charter_compiler.diagnostics.errors import (
    AuthenticationError,
    ContextLengthError,
    RequestRejectedError,
    TargetError,
    TargetOverloadedError,
    TargetProtocolError,
    TargetTimeoutError,
    TargetUnavailableError,
    UnknownModelError,
    UsageError,
)
from charter_compiler.executor.grpc_errors import one_line
from charter_compiler.executor.prometheus import label_value
from charter_compiler.executor.types import GenerationRequest, GenerationResult

CACHE_INFO = "vllm:cache_config_info"
"""vLLM's metric whose labels are the sizes of its KV cache."""
TOO_LONG = ("context length", "maximum model length", "context size")
"""Words of vLLM, SGLang and llama.cpp for a prompt that is."""
GIVEN_UP = ("abort", "error")
"""Finish reasons of vLLM and SGLang for an answer that the server did not finish."""
SCHEMES = {"openai": "http", "openais": "https"}
TARGET_REMEDY = "write openai://host:port/v1?model=NAME, or openais:// for TLS"


@dataclass(frozen=True, slots=True)
class OpenAIAddress:
    """``base_url`` ends without a slash."""

    base_url: str
    host: str
    model: str

    @property
    def place(self) -> str:
        """The target in errors."""
        return f"{self.base_url} ({self.model})"


def parse_target(target: str) -> OpenAIAddress:
    """``openai://host:port/v1?model=NAME``.

    Raises:
        UsageError: it is something else, or it carries a key.
    """
    try:
        parts = urlsplit(target)
        host, port = parts.hostname, parts.port
        query = parse_qs(parts.query, strict_parsing=bool(parts.query))
    except ValueError as error:
        raise UsageError(f"not a target: {error}", remedy=TARGET_REMEDY) from error
    if parts.username is not None or parts.password is not None or query.keys() - {"model"}:
        # Not shown: what should not be there may be a secret.
        raise UsageError(
            "a target holds host, port, path and model, nothing else",
            place=f"{parts.scheme}://{host}",
            remedy="give a key in the environment as OPENAI_API_KEY",
        )
    models = query.get("model", [])
    if parts.scheme not in SCHEMES or not host or len(models) != 1:
        raise UsageError("not a target", place=target, remedy=TARGET_REMEDY)
    shown = f"[{host}]" if ":" in host else host
    netloc = shown if port is None else f"{shown}:{port}"
    return OpenAIAddress(f"{SCHEMES[parts.scheme]}://{netloc}{parts.path.rstrip('/')}", host, models[0])


def request_body(request: GenerationRequest, model: str) -> tuple[str, dict[str, Any]]:
    """Path and JSON of a request: a completion for a prompt, a chat for messages.

    Raises:
        RequestRejectedError: neither or both are given, or ``max_tokens`` is below 1.
    """
    if (request.prompt is None) == (request.messages is None):
        raise RequestRejectedError("a request has either a prompt or messages", remedy="give one of them")
    if request.max_tokens < 1:
        raise RequestRejectedError(f"max_tokens is {request.max_tokens}", remedy="ask for one token or more")
    body: dict[str, Any] = {
        "model": model,
        "max_tokens": request.max_tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    for name in ("temperature", "top_p", "top_k", "seed"):
        value = getattr(request, name)
        if value is not None:
            body[name] = value
    if request.stop:
        body["stop"] = list(request.stop)
    if request.response_format is not None:
        body["response_format"] = dict(request.response_format)
    if request.messages is not None:
        return "/chat/completions", body | {"messages": [dict(message) for message in request.messages]}
    return "/completions", body | {"prompt": request.prompt}


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts as the server gave them; ``None`` where it did not."""

    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    output_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """What one server-sent event adds."""

    text: str = ""
    finish_reason: str | None = None
    usage: Usage | None = None
    stop: str | None = None


class EventDecoder:
    """Bytes of a server-sent event stream to the data of its events.

    Lines end with LF or CR LF and with nothing else: a JSON string may hold U+2028 and other characters that Python
    counts as line ends.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def feed(self, piece: bytes) -> list[str]:
        """The data of the events that ``piece`` completes."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        events = []
        for line in lines:
            line = line.removesuffix(b"\r")
            if line.startswith(b"data:"):
                self._data.append(line[5:].removeprefix(b" "))
            elif not line and self._data:
                events.append(b"\n".join(self._data).decode("utf-8", "replace"))
                self._data = []
        return events


class Answer:
    """The events of one answer, put together."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._finish_reason: str | None = None
        self._stop: str | None = None
        self._usage = Usage()
        self._ttft: float | None = None
        self._latency = 0.0
        self._done = False

    def feed(self, data: str, now: float, place: str, secrets: tuple[str, ...] = ()) -> str:
        """Take the data of an event that arrived ``now`` seconds after the call began; returns the text it adds.

        Raises:
            TargetError: see ``parse_event``.
        """
        self._latency = now
        if data.strip() == "[DONE]":
            self._done = True
            return ""
        event = parse_event(data, place, secrets)
        if event.text and self._ttft is None:
            self._ttft = now
        self._pieces.append(event.text)
        self._finish_reason = event.finish_reason or self._finish_reason
        self._stop = event.stop or self._stop
        self._usage = event.usage or self._usage
        return event.text

    def result(self, request: GenerationRequest, retries: int, place: str) -> GenerationResult:
        """The whole call; times count from its beginning and include retries.

        Raises:
            TargetProtocolError: the answer was cut off.
            TargetError: the server says that it gave the answer up.
        """
        if self._finish_reason in GIVEN_UP:
            raise TargetError(
                f"the server gave the answer up ({self._finish_reason})", place=place, remedy="see the server's log"
            )
        if not self._done and self._finish_reason is None:
            raise TargetProtocolError("the stream ended before the answer", place=place)
        return GenerationResult(
            text="".join(self._pieces),
            latency=self._latency,
            ttft=self._ttft,
            prompt_tokens=self._usage.prompt_tokens,
            cached_tokens=self._usage.cached_tokens,
            output_tokens=self._usage.output_tokens,
            cache_id=request.cache_id,
            finish_reason=self._finish_reason,
            details={"retries": retries} if retries else {},
            stop=self._stop if self._stop in request.stop else None,
        )


def parse_event(data: str, place: str, secrets: tuple[str, ...] = ()) -> Event:
    """The JSON of one event.

    Raises:
        TargetError: it is an error of the server, or not JSON of the expected form.
    """
    try:
        document = json.loads(data)
    except ValueError as error:
        raise TargetProtocolError(f"an event is not JSON: {data[:80]!r}", place=place) from error
    if not isinstance(document, dict):
        raise TargetProtocolError(f"an event is not an object: {data[:80]!r}", place=place)
    if document.get("error"):
        failure = document["error"]
        code = failure.get("code") if isinstance(failure, dict) else None
        # An error inside a stream has its HTTP status, if any, in its code: the response's own was 200.
        raise error_for(code if isinstance(code, int) else 500, data, {}, place, secrets)
    try:
        choice = (document.get("choices") or [{}])[0]
        text = choice.get("text") or (choice.get("delta") or {}).get("content") or ""
        usage = _usage(document["usage"]) if document.get("usage") else None
        # Fields of vLLM's and SGLang's own: the stop text, or the id of a token (of the model's own end, for one).
        stop = choice.get("stop_reason") or choice.get("matched_stop")
        return Event(str(text), choice.get("finish_reason"), usage, stop if isinstance(stop, str) else None)
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise TargetProtocolError(f"an event has another form than expected: {data[:80]!r}", place=place) from error


def _usage(usage: Mapping[str, Any]) -> Usage:
    details = usage.get("prompt_tokens_details") or {}
    return Usage(
        _count(usage.get("prompt_tokens")), _count(details.get("cached_tokens")), _count(usage.get("completion_tokens"))
    )


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def error_for(
    status: int, body: str, headers: Mapping[str, str], place: str, secrets: tuple[str, ...] = ()
) -> TargetError:
    """The error for an HTTP status that is not 200."""
    message = one_line(_message(body), secrets) or f"the server answered {status}"
    lowered = message.lower()
    if status in {401, 403}:
        return AuthenticationError(message, place=place, remedy="set OPENAI_API_KEY to a key of this server")
    if status == 404:
        return UnknownModelError(message, place=place, remedy="check the path and the model's name against /v1/models")
    if status == 413 or (status in {400, 422} and any(words in lowered for words in TOO_LONG)):
        return ContextLengthError(
            message, place=place, remedy="shorten the prompt, or serve the model with a longer context"
        )
    if status in {408, 504}:
        return TargetTimeoutError(message, place=place, remedy="raise the timeout, or send less at once")
    if status == 429 or (status == 503 and "retry-after" in headers):
        return TargetOverloadedError(
            message, place=place, remedy="lower the concurrency", retry_after=retry_after(headers.get("retry-after"))
        )
    if status in {502, 503}:
        return TargetUnavailableError(message, place=place, remedy="is the server running and its model loaded?")
    if 400 <= status < 500:
        return RequestRejectedError(message, place=place, remedy="correct the request")
    if status >= 500:
        return TargetError(message, place=place, remedy="see the server's log")
    return TargetProtocolError(message, place=place, remedy=TARGET_REMEDY)


def vllm_sizes(metrics: Iterable[str]) -> tuple[int, int] | None:
    """Tokens a block and blocks of vLLM's KV cache, from the names of its metrics; ``None`` where they do not tell, as
    with prefix caching off."""
    for key in metrics:
        if key.partition("{")[0] == CACHE_INFO and label_value(key, "enable_prefix_caching") == "True":
            size, blocks = label_value(key, "block_size") or "", label_value(key, "num_gpu_blocks") or ""
            if size.isdecimal() and blocks.isdecimal():
                return int(size), int(blocks)
    return None


def retry_after(value: str | None) -> float | None:
    """Seconds of a ``Retry-After`` header; ``None`` for the form with a date, which would need both clocks right."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        return None
    return seconds if 0 <= seconds < float("inf") else None


def _message(body: str) -> str:
    """The message inside an error body: the forms of OpenAI, vLLM and FastAPI, or the body itself."""
    try:
        document = json.loads(body)
    except ValueError:
        return body
    if isinstance(document, dict):
        inner = document.get("error", document)
        if isinstance(inner, dict):
            return str(inner.get("message") or inner.get("detail") or body)
        return str(inner)
    return body
