"""Anthropic's messages: bodies in, answers and events out. Pure."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from charter_compiler.diagnostics.errors import RequestRejectedError
from charter_compiler.executor.gateway.tools import Tool, ToolCall, Tools, heard, select, told, tool_of
from charter_compiler.executor.gateway.wire import NUMBER, Fields, event, messages_of, stop_of, text_of, was_cut
from charter_compiler.executor.types import GenerationRequest, GenerationResult


def parse(body: Mapping[str, Any]) -> tuple[GenerationRequest, Shape]:
    """The request, and how it is to be answered.

    Raises:
        RequestRejectedError: a field is wrong, missing, or would change the answer in a way that is not supported.
    """
    fields = Fields(body)
    fields.ignore("model", "metadata", "service_tier")
    fields.neutral(thinking=[{"type": "disabled"}])
    choice = fields.take("tool_choice", dict, {})
    tools = select(_tools(fields.take("tools", list, [])), *_choice(choice))
    if choice.get("disable_parallel_tool_use") and tools is not None:
        tools = replace(tools, single=True)
    stream = fields.take("stream", bool, False)
    system = fields.take("system", (str, list))
    head = [] if system is None else [{"role": "system", "content": text_of(system)}]
    request = GenerationRequest(
        messages=messages_of(told([*head, *_openai_messages(fields.need("messages", list))], tools)),
        max_tokens=fields.need("max_tokens", int),
        temperature=fields.take("temperature", NUMBER),
        top_k=fields.take("top_k", int),
        top_p=fields.take("top_p", NUMBER),
        stop=stop_of(fields.take("stop_sequences", list)),
        response_format=None if tools is None else tools.response_format,
    )
    fields.finish()
    return request, Shape(stream=stream, tools=tools)


def _tools(given: list[Any]) -> list[Tool]:
    found = []
    for tool in given:
        if not isinstance(tool, dict) or tool.get("type", "custom") != "custom" or "input_schema" not in tool:
            raise RequestRejectedError("a tool has no input_schema", remedy="the gateway takes tools of the client")
        if not isinstance(tool.get("name"), str):
            raise RequestRejectedError("a tool has no name")
        found.append(tool_of(tool["name"], tool.get("description"), tool["input_schema"]))
    return found


def _choice(given: Mapping[str, Any]) -> tuple[str | None, str | None]:
    kinds = {None: None, "auto": "auto", "any": "required", "tool": "named", "none": "none"}
    kind = given.get("type")
    if kind not in kinds:
        raise RequestRejectedError(f"tool_choice is {kind!r}", remedy="give auto, any, tool or none")
    return kinds[kind], given.get("name")


def _openai_messages(messages: list[Any]) -> list[Any]:
    """Messages with the calls and results of tools, which are blocks here, as messages and fields of OpenAI's form."""
    found: list[Any] = []
    for message in messages:
        content = message.get("content") if isinstance(message, dict) else None
        if not isinstance(content, list):
            found.append(message)
            continue
        blocks = [block for block in content if isinstance(block, dict)]
        used = [block for block in blocks if block.get("type") == "tool_use"]
        results = [block for block in blocks if block.get("type") == "tool_result"]
        rest = [block for block in content if block not in used and block not in results]
        found += [{"role": "tool", "content": block.get("content") or ""} for block in results]
        if used:
            calls = [
                {"function": {"name": block.get("name"), "arguments": json.dumps(block.get("input"))}} for block in used
            ]
            found.append({**message, "content": rest, "tool_calls": calls})
        elif rest:
            found.append({**message, "content": rest})
    return found


class Shape:
    """The form of one message. With ``tools`` it comes in one piece: until its end it may turn out to be a call."""

    def __init__(self, *, stream: bool, tools: Tools | None = None) -> None:
        self.stream = stream
        self._tools = tools
        self._id = f"msg_{uuid.uuid4().hex}"

    def whole(self, request: GenerationRequest, result: GenerationResult, model: str) -> dict[str, Any]:
        """The message in one piece."""
        said, calls = heard(result.text, self._tools)
        content: list[Any] = [{"type": "text", "text": said}] if said or not calls else []
        content += [_tool_use(call, json.loads(call.arguments)) for call in calls]
        message = self._message(model, content, _reason(request, result, calls), _usage(result))
        return message | {"stop_sequence": _stop(result, calls)}

    def begin(self, model: str) -> Iterator[str]:
        """Events before the first text. The counts follow at the end: the target reports them then."""
        message = self._message(model, [], None, {"input_tokens": 0, "output_tokens": 0})
        yield event({"type": "message_start", "message": message}, "message_start")
        if self._tools is None:
            yield from self._start_text()

    def _start_text(self) -> Iterator[str]:
        start = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
        yield event(start, "content_block_start")

    def text(self, piece: str, model: str) -> Iterator[str]:
        """Events of a piece of text."""
        if self._tools is None:
            yield from self._text(piece)

    def _text(self, piece: str) -> Iterator[str]:
        delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}}
        yield event(delta, "content_block_delta")

    def end(self, request: GenerationRequest, result: GenerationResult, model: str) -> Iterator[str]:
        """Events after the last text."""
        said, calls = heard(result.text, self._tools)
        if self._tools is None or said or not calls:
            if self._tools is not None:
                yield from self._start_text()
                yield from self._text(said)
            yield event({"type": "content_block_stop", "index": 0}, "content_block_stop")
        for index, call in enumerate(calls, start=1 if said else 0):
            start = {"type": "content_block_start", "index": index, "content_block": _tool_use(call, {})}
            yield event(start, "content_block_start")
            piece = {"type": "input_json_delta", "partial_json": call.arguments}
            yield event({"type": "content_block_delta", "index": index, "delta": piece}, "content_block_delta")
            yield event({"type": "content_block_stop", "index": index}, "content_block_stop")
        delta = {"stop_reason": _reason(request, result, calls), "stop_sequence": _stop(result, calls)}
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


def _tool_use(call: ToolCall, arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": arguments}


def _reason(request: GenerationRequest, result: GenerationResult, calls: Sequence[ToolCall]) -> str:
    if calls:
        return "tool_use"
    if result.stop is not None:
        return "stop_sequence"
    return "max_tokens" if was_cut(request, result) else "end_turn"


def _stop(result: GenerationResult, calls: Sequence[ToolCall]) -> str | None:
    """Where a tool is called, that is why the message ended."""
    return None if calls else result.stop


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
