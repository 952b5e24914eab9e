"""Tools on targets that take text: the model is told of them in the prompt, in the form that Hermes and Qwen models
were trained with, and what it calls is read from its answer. Pure."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from charter_compiler.diagnostics.errors import RequestRejectedError
from charter_compiler.executor.gateway.wire import read_json, text_of

CALL = re.compile(r"<tool_call>\s*(\{.*?\})\s*(?:</tool_call>|$)", re.DOTALL)
HEAD = """# Tools

You may call one or more functions to assist with the user query.

You are provided with function signatures within <tools></tools> XML tags:
<tools>
{tools}
</tools>

For each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:
<tool_call>
{{"name": <function-name>, "arguments": <args-json-object>}}
</tool_call>"""
"""The words of Qwen2.5's chat template, which are Hermes 2 Pro's."""


@dataclass(frozen=True, slots=True)
class Tool:
    """One function: its name, what it does, and the JSON schema of its arguments."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Tools:
    """What may be called. ``forced``: the tools of which one must be called, empty where the model decides.
    ``single``: of several calls the first counts."""

    tools: tuple[Tool, ...]
    forced: tuple[Tool, ...] = ()
    single: bool = False

    @property
    def response_format(self) -> dict[str, Any] | None:
        """What holds the answer to a call, where one must be made."""
        if not self.forced:
            return None
        calls = [_call_schema(tool) for tool in self.forced]
        schema = calls[0] if len(calls) == 1 else {"anyOf": calls}
        return {"type": "json_schema", "json_schema": {"name": "call", "schema": schema}}


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of the model's; ``arguments`` is JSON."""

    id: str
    name: str
    arguments: str


def select(tools: Sequence[Tool], choice: str | None, name: str | None = None) -> Tools | None:
    """What a request's choice leaves of its tools: ``auto``, ``none``, ``required``, or ``named``.

    Raises:
        RequestRejectedError: a tool is named that is not there.
    """
    if not tools or choice == "none":
        return None
    if choice == "required":
        return Tools(tuple(tools), tuple(tools))
    if choice == "named":
        named = tuple(tool for tool in tools if tool.name == name)
        if not named:
            raise RequestRejectedError(f"there is no tool {name!r}", remedy="name one of the tools")
        return Tools(tuple(tools), named)
    return Tools(tuple(tools))


def told(messages: Sequence[Any], tools: Tools | None) -> list[dict[str, Any]]:
    """The messages (of OpenAI's form) as plain ones that tell of the tools, of earlier calls and of their results."""
    plain = [_plain(message) for message in messages]
    if tools is None:
        return plain
    head = HEAD.format(tools="\n".join(_described(tool) for tool in tools.tools))
    if plain and plain[0].get("role") in ("system", "developer"):
        return [{"role": "system", "content": f"{text_of(plain[0].get('content'))}\n\n{head}"}, *plain[1:]]
    return [{"role": "system", "content": head}, *plain]


def heard(text: str, tools: Tools | None) -> tuple[str, tuple[ToolCall, ...]]:
    """The answer's text without the calls, and the calls. What is no call of a known tool stays text."""
    if tools is None:
        return text, ()
    if tools.forced:
        call = _call(text, tools)
        return ("", (call,)) if call is not None else (text, ())
    calls: list[ToolCall] = []

    def take(match: re.Match[str]) -> str:
        call = _call(match[1], tools)
        if call is None:
            return match[0]
        if not (tools.single and calls):
            calls.append(call)
        return ""

    rest = CALL.sub(take, text)
    return (rest.strip() if calls else text), tuple(calls)


def _call(text: str, tools: Tools) -> ToolCall | None:
    try:
        value = read_json(text)
        name, arguments = value["name"], value.get("arguments", value.get("parameters", {}))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    if not any(tool.name == name for tool in tools.tools) or not isinstance(arguments, dict):
        return None
    return ToolCall(f"call_{uuid.uuid4().hex[:24]}", name, json.dumps(arguments))


def _call_schema(tool: Tool) -> dict[str, Any]:
    arguments = dict(tool.parameters) or {"type": "object"}
    return {
        "type": "object",
        "properties": {"name": {"const": tool.name}, "arguments": arguments},
        "required": ["name", "arguments"],
        "additionalProperties": False,
    }


def _described(tool: Tool) -> str:
    function = {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}
    return json.dumps({"type": "function", "function": function})


def _plain(message: Any) -> dict[str, Any]:
    """A message without tool calls in it: they are spelled out, as the model would have done."""
    if not isinstance(message, dict):
        raise RequestRejectedError("a message is not an object")
    if message.get("role") == "tool":
        text = text_of(message.get("content"))
        return {"role": "user", "content": f"<tool_response>\n{text}\n</tool_response>"}
    calls = message.get("tool_calls")
    if not calls:
        return dict(message)
    said = [text_of(message["content"])] if message.get("content") else []
    try:
        for call in calls:
            function = call["function"]
            spelled = {"name": function["name"], "arguments": json.loads(function["arguments"] or "{}")}
            said.append(f"<tool_call>\n{json.dumps(spelled)}\n</tool_call>")
    except (KeyError, TypeError, ValueError) as error:
        raise RequestRejectedError(f"a tool call in the messages has another form: {error}") from None
    return {"role": "assistant", "content": "\n".join(said)}


def tool_of(name: str, description: object, parameters: object) -> Tool:
    """A tool as the client tells it. Raises RequestRejectedError where its parameters are no schema."""
    if not isinstance(parameters, dict | None):
        raise RequestRejectedError(f"the parameters of the tool {name} are no schema", remedy="give a JSON object")
    return Tool(name, str(description or ""), parameters or {})


def tools_of_openai(given: Sequence[Any]) -> list[Tool]:
    """The tools of a chat completion. Raises RequestRejectedError for other tools than functions."""
    found = []
    for tool in given:
        function = tool.get("function") if isinstance(tool, dict) and tool.get("type") == "function" else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise RequestRejectedError("a tool is no function with a name", remedy="the gateway takes functions")
        found.append(tool_of(function["name"], function.get("description"), function.get("parameters")))
    return found


def choice_of_openai(given: str | Mapping[str, Any] | None) -> tuple[str | None, str | None]:
    """The kind of ``tool_choice``, and the name that it names."""
    if isinstance(given, Mapping):
        function = given.get("function")
        return "named", function.get("name") if isinstance(function, Mapping) else None
    if given not in (None, "auto", "none", "required"):
        raise RequestRejectedError(f"tool_choice is {given!r}", remedy="give auto, none, required or a function")
    return given, None
