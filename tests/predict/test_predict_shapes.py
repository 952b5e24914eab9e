"""Outputs of a shape that the agent can parse: learned from its code, or asked for by a schema."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from charter_compiler.executor.entry import load_entry
from charter_compiler.executor.inputs import InputRow
from charter_compiler.executor.types import GenerationRequest
from charter_compiler.predict.control_flow import ItemTrace, trace_agent
from charter_compiler.predict.shapes import shape_of_response_format
from charter_compiler.predict.synthetic import SyntheticOutputs
from charter_compiler.tokens.tokenizer import default_tokenizer

DECODE = json.JSONDecoder.decode


def traced(tmp_path: Path, body: str, items: int = 2) -> list[ItemTrace]:
    path = tmp_path / "agent.py"
    lines = "".join(f"    {line}\n" for line in body.strip().splitlines())
    path.write_text(f"import json, re\n\ndef process(text, llm):\n{lines}", encoding="utf-8")
    rows = [InputRow(n, n + 1, {"text": f"text {n}"}) for n in range(items)]
    traces = trace_agent(load_entry(f"{path}:process"), rows, SyntheticOutputs(default_tokenizer()))
    assert json.JSONDecoder.decode is DECODE, "json is as it was"
    return traces


@pytest.mark.parametrize(
    ("body", "calls"),
    [
        ("d = json.loads(llm.generate(text))\nreturn d['a']['b'] + d['c']", 1),
        # keys, a loop over a list of objects
        ("for step in json.loads(llm.generate(text))['steps']:\n    llm.generate(step['goal'])", 4),
        # a list at the top
        ("for name in json.loads(llm.generate(text)):\n    llm.generate(name.upper())", 4),
        # arithmetic, and a text that is joined
        ("d = json.loads(llm.generate(text))\nreturn d['score'] > 3, 1 + d['n'], ', '.join(d['tags'])", 1),
        # one of the values that the code compares with
        ("d = json.loads(llm.generate(text))\nassert d['tool'] in ('search', 'stop')\nreturn d.get('x')", 1),
        # fenced or cut out of the output
        ("s = llm.generate(text)\nreturn json.loads(re.search(r'[{].*[}]|.*', s, re.S)[0])['k']", 1),
        # the error is caught: the branch of a model that answers in JSON is taken all the same
        (
            "try:\n    return json.loads(llm.generate(text))['k']\nexcept Exception:\n    llm.generate(text)",
            1,
        ),
        ("return int(llm.generate(text)) + 1", 1),
        ("return float(llm.generate(text).strip())", 1),
    ],
)
def test_the_agent_can_read_what_it_gets(tmp_path: Path, body: str, calls: int) -> None:
    traces = traced(tmp_path, body)
    assert [trace.error for trace in traces] == [None, None]
    assert [len(trace.calls) for trace in traces] == [calls, calls]


def test_what_cannot_be_learned_fails_and_says_where(tmp_path: Path) -> None:
    trace, _ = traced(tmp_path, "tools = {'a': 1}\nreturn tools[llm.generate(text)]")
    assert trace.error is not None
    assert (trace.error.type, trace.error.line) == ("KeyError", 5)


def test_plain_text_stays_plain_text(tmp_path: Path) -> None:
    (trace, _) = traced(tmp_path, "return llm.generate(text, max_tokens=9).split()")
    assert len(default_tokenizer().encode(trace.calls[0].output)) == 9


@pytest.mark.parametrize("length", [20, 60, 200])
def test_json_is_about_as_long_as_it_may_be(tmp_path: Path, length: int) -> None:
    (trace, _) = traced(tmp_path, f"d = json.loads(llm.generate(text, max_tokens={length}))\nreturn d['a'], d['b']")
    made = len(default_tokenizer().encode(trace.calls[0].output))
    assert 0.6 * length <= made <= length


def test_a_schema_is_followed(tmp_path: Path) -> None:
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "kind": {"enum": ["a", "b"]},
            "count": {"type": "integer", "minimum": 20, "maximum": 30},
            "sure": {"type": "boolean"},
            "parts": {"type": "array", "items": {"$ref": "#/$defs/part"}, "minItems": 2, "maxItems": 2},
            "maybe": {"anyOf": [{"type": "null"}, {"type": "number"}]},
        },
        "$defs": {"part": {"type": "object", "properties": {"id": {"type": "integer"}}}},
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    shape = shape_of_response_format(wanted)
    text = SyntheticOutputs(default_tokenizer()).text(0, 0, GenerationRequest(prompt="p", max_tokens=80), shape)
    value = json.loads(text)
    assert list(value) == list(schema["properties"])  # type: ignore[call-overload]
    assert value["kind"] in ("a", "b")
    assert 20 <= value["count"] <= 30
    assert isinstance(value["sure"], bool)
    assert [list(part) for part in value["parts"]] == [["id"], ["id"]]
    (trace, _) = traced(tmp_path, f"return llm.generate(text, max_tokens=80, response_format={wanted!r})[0] == '{{'")
    assert json.loads(trace.calls[0].output).keys() == value.keys()


@pytest.mark.parametrize("kind", ["json_object", "text"])
def test_other_response_formats(kind: str) -> None:
    assert (shape_of_response_format({"type": kind}) is None) == (kind == "text")
