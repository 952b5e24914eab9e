"""Which calls are model calls, and where they take their prompt."""

from __future__ import annotations

from pathlib import Path

import pytest
from parser_show import parse, prompt

SDK_FIXTURES = sorted((Path(__file__).parent.parent / "fixtures" / "parser" / "sdk").glob("*.py"))


@pytest.mark.parametrize("path", SDK_FIXTURES, ids=[path.stem for path in SDK_FIXTURES])
def test_sdk_fixture(path: Path) -> None:
    """Each line with a comment ``# api | prompt`` holds the start of a call that is found so; no other line does."""
    source = path.read_text(encoding="utf-8")
    expected = {
        number: tuple(part.strip() for part in line.partition("# ")[2].split(" | "))
        for number, line in enumerate(source.splitlines(), start=1)
        if " | " in line.partition("# ")[2]
    }
    found = {call.span.line: (call.api, prompt(call)) for call in parse(source).calls}
    assert found == expected


def test_settings_that_are_constants() -> None:
    (one, two) = parse(
        """
        from openai import OpenAI
        MODEL = "some-model"
        client = OpenAI()
        def run(doc, limit, model="other"):
            client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": doc}],
                                           max_completion_tokens=50, temperature=0)
            client.chat.completions.create(model=model, messages=doc, max_tokens=limit)
        """
    ).calls
    assert (one.model, one.max_tokens, one.temperature) == ("some-model", 50, 0.0)
    assert (two.model, two.max_tokens, two.temperature) == (None, None, None)
    assert one.id == "agent.py:run#1"
    assert one.callee == "client.chat.completions.create"


FORWARD = {
    "llm.generate(prompt)": True,
    "llm.chat(messages=[{'role': 'user', 'content': prompt}])": True,
    "llm.chat(messages=[{'role': 'system', 'content': 'x'}, {'role': 'user', 'content': prompt}])": False,
    "llm.generate('x' + prompt)": False,
    "llm.generate(prompt.strip())": False,
    "llm.generate(prompt, **options)": True,
    "llm.generate(**options)": True,
    "[llm.generate(prompt) for prompt in options]": False,
}


@pytest.mark.parametrize("expression", FORWARD)
def test_forward(expression: str) -> None:
    (call,) = parse(f"def run(llm, prompt, **options):\n    {expression}\n").calls
    assert call.forward is FORWARD[expression]


INJECTED = {
    "llm.generate(x)": True,
    "llm(x)": True,
    "self.llm.invoke(x)": True,
    "self._judge_llm.predict(x)": True,
    "client.chat('Say hello')": True,
    "client.get('/path')": False,
    "client.chat(x)": False,
    "model.predict(x)": False,
    "model.generate('Say hello')": True,
    "anything.complete('Say hello')": True,
    "anything.complete(x)": False,
    "anything.run('Say hello')": False,
    "llm.close()": False,
    "llm.count_tokens(x)": False,
    "items['a'](x)": False,
    "client.chat.completions.create(messages=x)": True,
}


@pytest.mark.parametrize("expression", INJECTED)
def test_injected_clients(expression: str) -> None:
    parsed = parse(f"class Agent:\n    def run(self, llm, client, model, anything, items, x):\n        {expression}\n")
    assert bool(parsed.calls) is INJECTED[expression]


def test_a_client_with_a_fallback() -> None:
    parsed = parse(
        """
        from openai import OpenAI
        class Agent:
            def __init__(self, client=None, llm=None):
                self.client = client or OpenAI()
                if llm is None:
                    llm = make()
                self.llm = llm
            def run(self, doc):
                self.client.chat.completions.create(messages=[{"role": "user", "content": doc}])
                self.llm.generate(doc)
        """
    )
    assert [call.api for call in parsed.calls] == ["openai.chat.completions", "injected"]


def test_an_annotated_client() -> None:
    parsed = parse(
        """
        import openai
        from anthropic import Anthropic
        def run(a: "Anthropic | None", b: openai.AsyncOpenAI, doc):
            a.messages.create(system="s", messages=[{"role": "user", "content": doc}])
            b.responses.create(input=doc)
        """
    )
    assert [call.api for call in parsed.calls] == ["anthropic.messages", "openai.responses"]
    assert prompt(parsed.calls[0]) == "system: s / user: {doc}"


def test_messages() -> None:
    parsed = parse(
        """
        def run(llm, doc, history, role, flag):
            messages = [{"role": "developer", "content": "rules"}]
            if flag:
                messages.append({"role": "user", "content": "flagged"})
            messages.append({"role": "user", "content": [{"type": "text", "text": doc}, {"type": "image_url"}]})
            llm.chat(messages)
            fixed = [{"role": "system", "content": "s"}, *history, {"role": role, "content": doc}]
            answer = llm.chat(messages=fixed)
            fixed.append({"role": "assistant", "content": answer})
            fixed.append({"role": "assistant", "content": None, "tool_calls": []})
            llm.chat(fixed)
            llm.chat(messages=history)
        """
    )
    assert [prompt(call) for call in parsed.calls] == [
        "system: rules / user: (flagged)* / user: {doc}?",
        "system: s / unknown: ({history})* / unknown: {doc}",
        "system: s / unknown: ({history})* / unknown: {doc} / assistant: <2>",
        "unknown: {history}",
    ]


def test_ids_count_calls_in_source_order() -> None:
    parsed = parse(
        """
        def run(llm):
            llm.generate("a"); llm.generate("b")
        class A:
            def run(self, llm):
                def inner():
                    return llm.generate("c")
                return [inner(), (lambda: llm.generate("d"))()]
        llm = None
        def run(llm):
            llm.generate("e")
        """
    )
    assert [call.id for call in parsed.calls] == [
        "agent.py:run#1",
        "agent.py:run#2",
        "agent.py:A.run.inner#1",
        "agent.py:A.run#1",
        "agent.py:run#3",
    ]
