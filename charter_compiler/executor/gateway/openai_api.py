"""OpenAI's chat completions and completions: bodies in, answers and events out. Pure."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from charter_compiler.executor.gateway.tools import (
    ToolCall,
    Tools,
    choice_of_openai,
    heard,
    select,
    told,
    tools_of_openai,
)
from charter_compiler.executor.gateway.wire import (
    DEFAULT_MAX_TOKENS,
    NUMBER,
    Fields,
    event,
    messages_of,
    stop_of,
    was_cut,
)
from charter_compiler.executor.types import GenerationRequest, GenerationResult

COMPLETION_MAX_TOKENS = 16
"""OpenAI's own default for completions."""


def parse(body: Mapping[str, Any], *, chat: bool) -> tuple[GenerationRequest, Shape]:
    """The request, and how it is to be answered.

    Raises:
        RequestRejectedError: a field is wrong, missing, or would change the answer in a way that is not supported.
    """
    fields = Fields(body)
    fields.ignore("model", "user", "store", "metadata", "service_tier", "prompt_cache_key", "safety_identifier")
    fields.neutral(
        n=[1], best_of=[1], echo=[False], suffix=[""], logprobs=[False], presence_penalty=[0], frequency_penalty=[0],
        logit_bias=[{}], modalities=[["text"]],
    )  # fmt: skip
    tools: Tools | None = None
    if chat:
        given = tools_of_openai(fields.take("tools", list, []))
        tools = select(given, *choice_of_openai(fields.take("tool_choice", (str, dict))))
        if not fields.take("parallel_tool_calls", bool, True) and tools is not None:
            tools = replace(tools, single=True)
    stream = fields.take("stream", bool, False)
    usage = bool(fields.take("stream_options", dict, {}).get("include_usage"))
    limit = fields.take("max_tokens", int)
    limit = fields.take("max_completion_tokens", int, limit)
    response_format = fields.take("response_format", dict)
    if tools is not None and tools.forced:
        response_format = tools.response_format
    request = GenerationRequest(
        prompt=None if chat else fields.need("prompt", str),
        messages=messages_of(told(fields.need("messages", list), tools)) if chat else None,
        max_tokens=(DEFAULT_MAX_TOKENS if chat else COMPLETION_MAX_TOKENS) if limit is None else limit,
        temperature=fields.take("temperature", NUMBER),
        top_k=fields.take("top_k", int),
        top_p=fields.take("top_p", NUMBER),
        seed=fields.take("seed", int),
        stop=stop_of(fields.take("stop", (str, list))),
        response_format=None if response_format == {"type": "text"} else response_format,
    )
    fields.finish()
    return request, Shape(chat=chat, stream=stream, usage=usage, tools=tools)


class Shape:
    """The form of one answer; ``usage``: a streamed one ends with its token counts. With ``tools`` it comes in one
    piece: until its end it may turn out to be a call."""

    def __init__(self, *, chat: bool, stream: bool, usage: bool, tools: Tools | None = None) -> None:
        self.chat, self.stream, self.usage = chat, stream, usage
        self._tools = tools
        self._head = {
            "id": f"{'chatcmpl' if chat else 'cmpl'}-{uuid.uuid4().hex}",
            "created": int(time.time()),
        }

    def whole(self, request: GenerationRequest, result: GenerationResult, model: str) -> dict[str, Any]:
        """The answer in one piece."""
        said, calls = heard(result.text, self._tools)
        reason = "tool_calls" if calls else "length" if was_cut(request, result) else "stop"
        message: dict[str, Any] = {"role": "assistant", "content": said}
        if calls:
            message |= {"content": said or None, "tool_calls": [_tool_call(call) for call in calls]}
        content = {"message": message} if self.chat else {"text": result.text}
        kind = "chat.completion" if self.chat else "text_completion"
        choice = {"index": 0, **content, "finish_reason": reason, "logprobs": None}
        return {**self._head, "object": kind, "model": model, "choices": [choice], "usage": usage_of(result)}

    def begin(self, model: str) -> Iterator[str]:
        """Events before the first text."""
        if self.chat:
            yield self._chunk(model, {"delta": {"role": "assistant", "content": ""}}, None)

    def text(self, piece: str, model: str) -> Iterator[str]:
        """Events of a piece of text."""
        if self._tools is not None:
            return
        yield self._chunk(model, {"delta": {"content": piece}} if self.chat else {"text": piece}, None)

    def end(self, request: GenerationRequest, result: GenerationResult, model: str) -> Iterator[str]:
        """Events after the last text."""
        said, calls = heard(result.text, self._tools)
        if self._tools is not None and said:
            yield self._chunk(model, {"delta": {"content": said}}, None)
        for index, call in enumerate(calls):
            yield self._chunk(model, {"delta": {"tool_calls": [{"index": index, **_tool_call(call)}]}}, None)
        reason = "tool_calls" if calls else "length" if was_cut(request, result) else "stop"
        yield self._chunk(model, {"delta": {}} if self.chat else {"text": ""}, reason)
        if self.usage:
            yield event({**self._event(model), "choices": [], "usage": usage_of(result)})
        yield "data: [DONE]\n\n"

    def _chunk(self, model: str, content: Mapping[str, Any], reason: str | None) -> str:
        choice = {"index": 0, **content, "finish_reason": reason, "logprobs": None}
        return event({**self._event(model), "choices": [choice]})

    def _event(self, model: str) -> dict[str, Any]:
        return {**self._head, "object": "chat.completion.chunk" if self.chat else "text_completion", "model": model}


def _tool_call(call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def usage_of(result: GenerationResult) -> dict[str, Any] | None:
    """Token counts; ``None`` where the target reports none. Without cached tokens the detail is left out."""
    if result.prompt_tokens is None or result.output_tokens is None:
        return None
    usage: dict[str, Any] = {
        "prompt_tokens": result.prompt_tokens,
        "completion_tokens": result.output_tokens,
        "total_tokens": result.prompt_tokens + result.output_tokens,
    }
    if result.cached_tokens is not None:
        usage["prompt_tokens_details"] = {"cached_tokens": result.cached_tokens}
    return usage


def error_body(message: str, status: int) -> dict[str, Any]:
    """OpenAI's form of an error."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    return {"error": {"message": message, "type": kind, "param": None, "code": status}}
