"""Tools at the gateway: told to the model in text, heard in its answer, in both APIs' forms."""

from __future__ import annotations

import json
from typing import Any

import pytest

from charter_compiler.diagnostics.errors import RequestRejectedError
from charter_compiler.executor.gateway import anthropic_api, openai_api
from charter_compiler.executor.gateway.tools import Tool, Tools, heard, told
from charter_compiler.executor.types import GenerationRequest, GenerationResult

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"type": "function", "function": {"name": "weather", "description": "The weather.", "parameters": SCHEMA}}
TIME = {"type": "function", "function": {"name": "time", "parameters": {"type": "object"}}}
CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call>'
TOOLS = Tools((Tool("weather", "", SCHEMA), Tool("time", "", {})))


def result(text: str) -> GenerationResult:
    return GenerationResult(text, 0.0, None, 5, 0, 7, finish_reason="stop")


def chat(**fields: Any) -> tuple[GenerationRequest, openai_api.Shape]:
    body = {"model": "m", "messages": [{"role": "user", "content": "Rome?"}], "tools": [WEATHER, TIME], **fields}
    return openai_api.parse(body, chat=True)


def test_the_model_is_told_of_tools_calls_and_results() -> None:
    request, _ = chat(
        messages=[
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "Rome?"},
            {"role": "assistant", "content": None, "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}
            ]},
            {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
        ]
    )  # fmt: skip
    assert request.messages is not None
    system, user, assistant, tool = request.messages
    assert system["content"].startswith("Be kind.\n\n# Tools")
    assert json.dumps(WEATHER) in system["content"]
    assert user == {"role": "user", "content": "Rome?"}
    assert assistant == {"role": "assistant", "content": CALL}
    assert tool == {"role": "user", "content": "<tool_response>\nsunny\n</tool_response>"}
    assert request.response_format is None


def test_without_tools_nothing_is_told() -> None:
    assert told([{"role": "user", "content": "hi"}], None) == [{"role": "user", "content": "hi"}]
    request, _ = chat(tool_choice="none")
    assert request.messages == ({"role": "user", "content": "Rome?"},)


@pytest.mark.parametrize(
    ("text", "rest", "names"),
    [
        (CALL, "", ["weather"]),
        (f"I look.\n{CALL}", "I look.", ["weather"]),
        (f'{CALL}\n<tool_call>{{"name": "time", "arguments": {{}}}}</tool_call>', "", ["weather", "time"]),
        (CALL.removesuffix("\n</tool_call>"), "", ["weather"]),  # the end token came instead
        ('<tool_call>{"name": "other", "arguments": {}}</tool_call>', None, []),
        ('<tool_call>{"name": "weather", "arguments": "Rome"}</tool_call>', None, []),
        ('<tool_call>{"name": "weather", </tool_call>', None, []),
        ('<tool_call>{"name": {"weather": 1}, "arguments": {}}</tool_call>', None, []),
        ('<tool_call>{"name": "weather", "arguments": {"city": NaN}}</tool_call>', None, []),
        ("No call.", None, []),
    ],
)
def test_what_is_heard(text: str, rest: str | None, names: list[str]) -> None:
    said, calls = heard(text, TOOLS)
    assert [call.name for call in calls] == names
    assert said == (text if rest is None else rest)


def test_a_chat_answers_with_calls_whole_and_streamed() -> None:
    request, shape = chat()
    whole = shape.whole(request, result(f"I look.\n{CALL}"), "m")["choices"][0]
    assert whole["finish_reason"] == "tool_calls"
    assert whole["message"]["content"] == "I look."
    (call,) = whole["message"]["tool_calls"]
    assert call["function"] == {"name": "weather", "arguments": '{"city": "Rome"}'}
    lines = [*shape.begin("m"), *shape.text("I look", "m"), *shape.end(request, result(f"I look.\n{CALL}"), "m")]
    events = [json.loads(line[6:])["choices"][0] for line in lines if line != "data: [DONE]\n\n"]
    assert "".join(event["delta"].get("content") or "" for event in events) == "I look."
    assert [
        event["delta"]["tool_calls"][0]["function"]["name"] for event in events if "tool_calls" in event["delta"]
    ] == ["weather"]
    assert events[-1]["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "weather"}}])
def test_a_call_that_must_be_made_is_held_to_its_schema(choice: Any) -> None:
    request, shape = chat(tool_choice=choice)
    assert request.response_format is not None
    schema = request.response_format["json_schema"]["schema"]
    one = schema if isinstance(choice, dict) else schema["anyOf"][0]
    assert one["properties"] == {"name": {"const": "weather"}, "arguments": SCHEMA}
    answer = shape.whole(request, result('{"name": "weather", "arguments": {"city": "Rome"}}'), "m")["choices"][0]
    assert answer["message"]["tool_calls"][0]["function"]["arguments"] == '{"city": "Rome"}'
    assert answer["message"]["content"] is None


def test_anthropics_form_of_it() -> None:
    body = {
        "model": "m",
        "max_tokens": 50,
        "tools": [{"name": "weather", "description": "The weather.", "input_schema": SCHEMA}],
        "tool_choice": {"type": "tool", "name": "weather"},
        "messages": [
            {"role": "user", "content": "Rome?"},
            {"role": "assistant", "content": [
                {"type": "text", "text": "I look."},
                {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Rome"}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "sunny"}]},
                {"type": "text", "text": "And now?"},
            ]},
        ],
    }  # fmt: skip
    request, shape = anthropic_api.parse(body)
    assert request.messages is not None
    assert [message["role"] for message in request.messages] == ["system", "user", "assistant", "user", "user"]
    assert request.messages[2]["content"] == f"I look.\n{CALL}"
    assert "sunny" in request.messages[3]["content"]
    answer = result('{"name": "weather", "arguments": {"city": "Oslo"}}')
    message = shape.whole(request, answer, "m")
    assert message["stop_reason"] == "tool_use"
    assert message["content"] == [
        {"type": "tool_use", "id": message["content"][0]["id"], "name": "weather", "input": {"city": "Oslo"}}
    ]
    lines = [*shape.begin("m"), *shape.text("x", "m"), *shape.end(request, answer, "m")]
    events = [json.loads(line.partition("data: ")[2]) for line in lines]
    assert [event["type"] for event in events] == [
        "message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta",
        "message_stop",
    ]  # fmt: skip
    assert events[2]["delta"] == {"type": "input_json_delta", "partial_json": '{"city": "Oslo"}'}


def test_one_call_is_enough_where_the_client_says_so() -> None:
    body = {
        "model": "m", "max_tokens": 50, "messages": [{"role": "user", "content": "Rome?"}],
        "tools": [{"name": "weather", "input_schema": SCHEMA}],
    }  # fmt: skip
    for choice, calls in ((None, 2), ({"type": "auto", "disable_parallel_tool_use": True}, 1)):
        request, shape = anthropic_api.parse({**body, "tool_choice": choice})
        assert len(shape.whole(request, result(f"{CALL}\n{CALL}"), "m")["content"]) == calls


def test_a_tool_in_another_form_is_refused() -> None:
    with pytest.raises(RequestRejectedError, match="no schema"):
        chat(tools=[{"type": "function", "function": {"name": "weather", "parameters": "city"}}])
    with pytest.raises(RequestRejectedError, match="no name"):
        anthropic_api.parse({"model": "m", "messages": [], "tools": [{"input_schema": SCHEMA}]})
