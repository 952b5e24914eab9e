"""OpenAI's responses: bodies in, answers and events out. Pure."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from charter_compiler.diagnostics.errors import RequestRejectedError
from charter_compiler.executor.gateway.wire import DEFAULT_MAX_TOKENS, NUMBER, Fields, event, messages_of, was_cut
from charter_compiler.executor.types import GenerationRequest, GenerationResult


def parse(body: Mapping[str, Any]) -> tuple[GenerationRequest, Shape]:
    """The request, and how it is to be answered.

    Raises:
        RequestRejectedError: a field is wrong, missing, or would change the answer in a way that is not supported.
    """
    fields = Fields(body)
    fields.ignore("model", "user", "store", "metadata", "service_tier", "include", "prompt_cache_key")
    fields.neutral(
        tools=[[]], tool_choice=["none", "auto"], parallel_tool_calls=[True, False], truncation=["disabled"],
        background=[False], text=[{"format": {"type": "text"}}],
    )  # fmt: skip
    stream = fields.take("stream", bool, False)
    given = fields.need("input", (str, list))
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    if any(not isinstance(item, dict) or item.get("type", "message") != "message" for item in items):
        raise RequestRejectedError("input holds something that is no message", remedy="the gateway takes texts")
    instructions = fields.take("instructions", str)
    if instructions is not None:
        items = [{"role": "system", "content": instructions}, *items]
    request = GenerationRequest(
        messages=messages_of(items),
        max_tokens=fields.take("max_output_tokens", int, DEFAULT_MAX_TOKENS),
        temperature=fields.take("temperature", NUMBER),
        top_p=fields.take("top_p", NUMBER),
    )
    fields.finish()
    return request, Shape(request, instructions, stream=stream)


class Shape:
    """The form of one response."""

    def __init__(self, request: GenerationRequest, instructions: str | None, *, stream: bool) -> None:
        self.stream = stream
        self._item = f"msg_{uuid.uuid4().hex}"
        self._texts: list[str] = []
        self._number = 0
        self._head: dict[str, Any] = {
            "id": f"resp_{uuid.uuid4().hex}",
            "object": "response",
            "created_at": int(time.time()),
            "error": None,
            "incomplete_details": None,
            "instructions": instructions,
            "max_output_tokens": request.max_tokens,
            "metadata": {},
            "parallel_tool_calls": False,
            "temperature": request.temperature,
            "tool_choice": "none",
            "tools": [],
            "top_p": request.top_p,
        }

    def whole(self, request: GenerationRequest, result: GenerationResult, model: str) -> dict[str, Any]:
        """The response in one piece."""
        cut = was_cut(request, result)
        status = "incomplete" if cut else "completed"
        return {
            **self._head,
            "model": model,
            "status": status,
            "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
            "output": [self._message(result.text, status)],
            "usage": _usage(result),
        }

    def begin(self, model: str) -> Iterator[str]:
        """Events before the first text."""
        started = {**self._head, "model": model, "status": "in_progress", "output": [], "usage": None}
        yield self._event("response.created", response=started)
        yield self._event("response.in_progress", response=started)
        item = {"id": self._item, "type": "message", "role": "assistant", "status": "in_progress", "content": []}
        yield self._event("response.output_item.added", output_index=0, item=item)
        yield self._event("response.content_part.added", **self._place(), part=_part(""))

    def text(self, piece: str, model: str) -> Iterator[str]:
        """Events of a piece of text."""
        yield self._event("response.output_text.delta", **self._place(), delta=piece, logprobs=[])

    def end(self, request: GenerationRequest, result: GenerationResult, model: str) -> Iterator[str]:
        """Events after the last text."""
        response = self.whole(request, result, model)
        yield self._event("response.output_text.done", **self._place(), text=result.text, logprobs=[])
        yield self._event("response.content_part.done", **self._place(), part=_part(result.text))
        yield self._event("response.output_item.done", output_index=0, item=response["output"][0])
        yield self._event(f"response.{response['status']}", response=response)

    def _message(self, text: str, status: str) -> dict[str, Any]:
        return {"id": self._item, "type": "message", "role": "assistant", "status": status, "content": [_part(text)]}

    def _place(self) -> dict[str, Any]:
        return {"item_id": self._item, "output_index": 0, "content_index": 0}

    def _event(self, kind: str, **data: Any) -> str:
        number, self._number = self._number, self._number + 1
        return event({"type": kind, "sequence_number": number, **data}, kind)


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _usage(result: GenerationResult) -> dict[str, Any] | None:
    """``None`` where the target reports no tokens. The form demands cached tokens: 0 where they are not known."""
    if result.prompt_tokens is None or result.output_tokens is None:
        return None
    return {
        "input_tokens": result.prompt_tokens,
        "input_tokens_details": {"cached_tokens": result.cached_tokens or 0},
        "output_tokens": result.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": result.prompt_tokens + result.output_tokens,
    }
