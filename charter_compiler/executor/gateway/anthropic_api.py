"""Anthropic's messages: bodies in, answers and events out. Pure."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from charter_compiler.executor.gateway.wire import NUMBER, Fields, event, messages_of, stop_of, text_of, was_cut
from charter_compiler.executor.types import GenerationRequest, GenerationResult


def parse(body: Mapping[str, Any]) -> tuple[GenerationRequest, Shape]:
    """The request, and how it is to be answered.

    Raises:
        RequestRejectedError: a field is wrong, missing, or would change the answer in a way that is not supported.
    """
    fields = Fields(body)
    fields.ignore("model", "metadata", "service_tier")
    fields.neutral(tools=[[]], thinking=[{"type": "disabled"}])
    stream = fields.take("stream", bool, False)
    system = fields.take("system", (str, list))
    head = [] if system is None else [{"role": "system", "content": text_of(system)}]
    request = GenerationRequest(
        messages=messages_of([*head, *fields.need("messages", list)]),
        max_tokens=fields.need("max_tokens", int),
        temperature=fields.take("temperature", NUMBER),
        top_k=fields.take("top_k", int),
        top_p=fields.take("top_p", NUMBER),
        stop=stop_of(fields.take("stop_sequences", list)),
    )
    fields.finish()
    return request, Shape(stream=stream)


class Shape:
    """The form of one message."""

    def __init__(self, *, stream: bool) -> None:
        self.stream = stream
        self._id = f"msg_{uuid.uuid4().hex}"

    def whole(self, request: GenerationRequest, result: GenerationResult, model: str) -> dict[str, Any]:
        """The message in one piece."""
        content = [{"type": "text", "text": result.text}]
        message = self._message(model, content, _reason(request, result), _usage(result))
        return message | {"stop_sequence": result.details.get("stop")}

    def begin(self, model: str) -> Iterator[str]:
        """Events before the first text. The counts follow at the end: the target reports them then."""
        message = self._message(model, [], None, {"input_tokens": 0, "output_tokens": 0})
        yield event({"type": "message_start", "message": message}, "message_start")
        start = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
        yield event(start, "content_block_start")

    def text(self, piece: str, model: str) -> Iterator[str]:
        """Events of a piece of text."""
        delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}}
        yield event(delta, "content_block_delta")

    def end(self, request: GenerationRequest, result: GenerationResult, model: str) -> Iterator[str]:
        """Events after the last text."""
        yield event({"type": "content_block_stop", "index": 0}, "content_block_stop")
        delta = {"stop_reason": _reason(request, result), "stop_sequence": result.details.get("stop")}
        yield event({"type": "message_delta", "delta": delta, "usage": _usage(result)}, "message_delta")
        yield event({"type": "message_stop"}, "message_stop")

    def _message(self, model: str, content: list[Any], reason: str | None, usage: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "id": self._id,
            "type": "message",
            "role": "assistant",
            "model": model,
            "content": content,
            "stop_reason": reason,
            "stop_sequence": None,
            "usage": usage,
        }


def _reason(request: GenerationRequest, result: GenerationResult) -> str:
    if "stop" in result.details:
        return "stop_sequence"
    return "max_tokens" if was_cut(request, result) else "end_turn"


def _usage(result: GenerationResult) -> dict[str, Any]:
    """``input_tokens`` are those that were not cached, as in Anthropic's API. The form demands numbers: 0 where the
    target reports none; ``cache_read_input_tokens`` is left out then."""
    usage = {
        "input_tokens": (result.prompt_tokens or 0) - (result.cached_tokens or 0),
        "output_tokens": result.output_tokens or 0,
    }
    if result.cached_tokens is not None:
        usage["cache_read_input_tokens"] = result.cached_tokens
    return usage


def error_body(message: str, status: int) -> dict[str, Any]:
    """Anthropic's form of an error."""
    kinds = {400: "invalid_request_error", 401: "authentication_error", 429: "rate_limit_error"}
    return {"type": "error", "error": {"type": kinds.get(status, "api_error"), "message": message}}
