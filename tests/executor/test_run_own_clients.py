"""Agents that construct an SDK's own client, run unchanged on the simulated target."""

from __future__ import annotations

import itertools
import json
import os
from collections import defaultdict
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import httpx
import pytest
from run_doubles import write_agent

from charter_compiler.api.measured_run import RunReport, measured_run
from charter_compiler.api.run_request import RunRequest
from charter_compiler.diagnostics.errors import EntryError
from charter_compiler.executor.calls import AgentCall, CallSite, CallSites
from charter_compiler.executor.gateway.calls import Caller, GatewayCalls
from charter_compiler.executor.gateway.server import listen, serving_on
from charter_compiler.executor.gateway.templates import SiteTemplates
from charter_compiler.executor.layout import PromptLayouts
from charter_compiler.executor.recording import read_recording, recording_path
from charter_compiler.executor.run.gateway import DENIED, RunAnswerer
from charter_compiler.executor.run.options import RunOptions
from charter_compiler.executor.sdk_calls import (
    HOST,
    NO_KEY,
    SITE_HEADER,
    TOKEN_HEADER,
    RunListener,
    guarded_token,
    marked_requests,
    run_token,
    site_of_header,
)
from charter_compiler.executor.types import GenerationRequest, GenerationResult

OPENAI = """
from openai import OpenAI

client = OpenAI()

def answer(question):
    facts = client.chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": f"List facts: {question}"}], max_tokens=6
    ).choices[0].message.content
    reply = client.completions.create(model="gpt-4o-mini", prompt=f"Facts: {facts} Answer: {question}", max_tokens=4)
    return {"facts": facts, "reply": reply.choices[0].text}
"""
ASYNC_OPENAI = """
import asyncio
from openai import AsyncOpenAI

async def answer(question):
    async with AsyncOpenAI() as client:
        async def ask(n):
            stream = await client.chat.completions.create(
                model="any", messages=[{"role": "user", "content": f"{question} {n}"}], max_tokens=4, stream=True
            )
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
        return await asyncio.gather(*(ask(n) for n in range(3)))
"""
BLOCKING_IN_ASYNC = """
from openai import OpenAI

async def answer(question):
    client = OpenAI()
    reply = client.completions.create(model="any", prompt=question, max_tokens=3)
    return reply.choices[0].text
"""
ANTHROPIC = """
import anthropic

def answer(question):
    message = anthropic.Anthropic().messages.create(
        model="claude", system="Be brief.", messages=[{"role": "user", "content": question}], max_tokens=5
    )
    return message.content[0].text
"""
THREADED = """
from concurrent.futures import ThreadPoolExecutor
from openai import OpenAI

def answer(question):
    client = OpenAI()
    def ask(n):
        return client.completions.create(model="any", prompt=f"{question} {n}", max_tokens=3).choices[0].text
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(ask, range(2)))
"""


BOTH = """
from openai import AsyncOpenAI

async def answer(question, llm):
    first = await llm.agenerate(question, max_tokens=3)
    async with AsyncOpenAI() as client:
        reply = await client.completions.create(model="any", prompt=f"{question} {first}", max_tokens=3)
    return [first, reply.choices[0].text, await llm.agenerate(reply.choices[0].text, max_tokens=2)]
"""
ELSEWHERE = """
from openai import OpenAI, OpenAIError

client = OpenAI(base_url="http://127.0.0.1:9/v1", api_key="none", max_retries=0)

def answer(question):
    try:
        return client.completions.create(model="any", prompt=question, max_tokens=2).choices[0].text
    except OpenAIError:
        return "nobody there"
"""


def run(folder: Path, source: str, items: int = 3, *, record: bool = True) -> RunReport:
    rows = "".join(json.dumps({"question": f"What is number {n}?"}) + "\n" for n in range(items))
    (folder / "in.jsonl").write_text(rows, encoding="utf-8")
    return measured_run(
        RunRequest(
            f"{write_agent(folder, source)}:answer",
            folder / "in.jsonl",
            folder / "out.jsonl",
            target="sim",
            options=RunOptions(concurrency=2),
            record=record,
        )
    )


@pytest.mark.parametrize(
    ("source", "calls"),
    [(OPENAI, 2), (ASYNC_OPENAI, 3), (BLOCKING_IN_ASYNC, 1), (ANTHROPIC, 1)],
    ids=["openai", "async, streamed", "blocking in async", "anthropic"],
)
def test_an_unchanged_agent_runs_and_its_calls_are_its_items(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, calls: int
) -> None:
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    report = run(tmp_path, source)
    assert (report.stopped, report.first_error) == (None, None)
    assert (report.metrics.items, report.metrics.failed, report.metrics.calls) == (3, 0, 3 * calls)
    rows = [json.loads(line) for line in report.rows.read_text(encoding="utf-8").splitlines()]
    assert all(row["output"] for row in rows)
    recorded = list(read_recording(recording_path(report.rows)))
    assert sorted(call["item"] for call in recorded) == sorted(list(range(3)) * calls)
    lines = source.splitlines()
    for call in recorded:
        assert "agent.py" in call["call"]
        assert any(".create(" in line for line in lines[call["line"] - 1 : call["line"] + 2]), call["line"]
    assert "OPENAI_BASE_URL" not in os.environ
    assert "OPENAI_API_KEY" not in os.environ
    assert any("own client" in note for note in report.notes)


def test_calls_asked_at_once_are_known_by_their_text(tmp_path: Path) -> None:
    source = """
import asyncio
from openai import AsyncOpenAI

async def answer(question):
    async with AsyncOpenAI() as client:
        replies = await asyncio.gather(
            client.completions.create(model="any", prompt=f"Names in: {question}", max_tokens=2),
            client.completions.create(model="any", prompt=f"Dates in: {question}", max_tokens=2),
        )
    return [reply.choices[0].text for reply in replies]
"""
    recorded = list(read_recording(recording_path(run(tmp_path, source, items=1).rows)))
    assert sorted(call["line"] for call in recorded) == [8, 9]
    assert all(call["call"].rpartition("#")[2] in "12" for call in recorded)


def test_an_agent_may_use_both_clients_in_its_own_loop(tmp_path: Path) -> None:
    report = run(tmp_path, BOTH, items=12)
    assert (report.metrics.items, report.metrics.failed) == (12, 0)
    assert report.metrics.calls + report.metrics.memoized_calls == 36


def test_a_call_site_of_any_name_is_told_in_a_header() -> None:
    site = CallSite("jörg.py", 3, "jörg.prüfe#1")
    told: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        raw = dict(request.headers.raw)[SITE_HEADER.encode()]
        told.append(raw.decode("latin-1"))  # as a server reads it
        return httpx.Response(200)

    sites = CallSites(Path())
    sites.here = lambda: site  # type: ignore[method-assign]
    url, transport = "http://127.0.0.1:1", httpx.MockTransport(answer)
    with marked_requests(url, "token", sites), httpx.Client(transport=transport) as client:
        client.get(url)
    assert site_of_header(told[0]) == {"line": 3, "label": "jörg.prüfe#1"}


PLAIN = """
import json, os, urllib.error, urllib.request
from openai import OpenAI

def answer(question):
    with OpenAI() as client:
        client.completions.create(model="any", prompt=question, max_tokens=2)
    request = urllib.request.Request(
        os.environ["OPENAI_BASE_URL"] + "/completions",
        json.dumps({"model": "any", "prompt": question, "max_tokens": 3}).encode(),
        {"Content-Type": "application/json", "Authorization": "Bearer " + os.environ["OPENAI_API_KEY"]},
    )
    try:
        with urllib.request.urlopen(request) as response:
            return json.load(response)["choices"][0]["text"]
    except urllib.error.HTTPError as error:
        error.close()
        raise
"""


def test_clients_have_the_runs_token_whatever_their_key_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-the-users")
    for source in (OPENAI, OPENAI.replace("OpenAI()", "OpenAI(api_key='sk-in-the-code')")):
        assert run(tmp_path, source, items=1).first_error is None
    refused = run(tmp_path, PLAIN, items=1)
    assert refused.first_error is not None, "a stranger, whose key is not the run's"
    assert "401" in refused.first_error[1].message
    monkeypatch.delenv("OPENAI_API_KEY")
    assert run(tmp_path, PLAIN, items=1).first_error is None, "the token stands in for a key"


async def test_a_runs_gateway_answers_nobody_without_its_token() -> None:
    headers: list[dict[str, str]] = [{}, {"x-charter-item": "0"}, {"authorization": "Bearer charter-run"}]
    with closing(listen(HOST, 0)) as socket:
        listener = RunListener(socket)
        assert listener.token not in repr(listener)
        answerer: Any = SimpleNamespace(model="m", aclose=AsyncMock(), answer=None)  # it is not asked
        async with (
            serving_on(socket, GatewayCalls(answerer), HOST, listener.token, DENIED),
            httpx.AsyncClient(base_url=listener.url, trust_env=False) as client,
        ):
            for sent in headers:
                refused = await client.post("/v1/completions", json={"prompt": "a"}, headers=sent)
                assert refused.status_code == 401
                assert refused.json()["error"]["message"] == DENIED
            for name, value in (("x-api-key", ""), ("authorization", "Bearer "), (TOKEN_HEADER, "")):
                allowed = await client.get("/v1/models", headers={name: value + listener.token})
                assert allowed.status_code == 200


def test_a_runs_token_is_sent_to_its_gateway_alone() -> None:
    told: list[httpx.Headers] = []

    def answer(request: httpx.Request) -> httpx.Response:
        told.append(request.headers)
        return httpx.Response(200)

    url, token, transport = "http://127.0.0.1:1", run_token(), httpx.MockTransport(answer)
    with (
        guarded_token(url, token),
        marked_requests(url, token, CallSites(Path())),
        httpx.Client(transport=transport) as client,
    ):
        for key in (token, "sk-own"):
            client.get("http://elsewhere:1", headers={"authorization": f"Bearer {key}", "api-key": key})
        client.get(url, headers={"api-key": "sk-own"})
        client.get(url, headers={"authorization": f"Bearer {token}"})
    assert [headers.get("api-key") for headers in told] == [NO_KEY, "sk-own", "sk-own", None]
    assert [headers.get(TOKEN_HEADER) for headers in told] == [None, None, token, token]
    assert told[3]["authorization"] == f"Bearer {token}"
    assert all(token not in str(headers.raw) for headers in told[:2])


def test_a_runs_token_is_kept_while_the_module_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    early = """
import os
import httpx

def told(request):
    return httpx.Response(200, text=request.headers["api-key"])

with httpx.Client(transport=httpx.MockTransport(told)) as elsewhere:
    TOLD = elsewhere.get("http://elsewhere:1", headers={"api-key": os.environ["OPENAI_API_KEY"]}).text
"""
    report = run(tmp_path, f"{OPENAI}{early}".replace("return {", 'return {"told": TOLD, '), items=1, record=False)
    assert json.loads(report.rows.read_text(encoding="utf-8"))["output"]["told"] == NO_KEY


async def test_an_answer_that_the_runs_cap_cut_says_so() -> None:
    """To a client whose own limit is above the cap, on a target that does not say why an answer ended."""

    async def answered(call: AgentCall, on_text: object) -> GenerationResult:
        return GenerationResult("four", 0.0, None, 1, None, call.request.max_tokens)

    dispatcher: Any = SimpleNamespace(acall=answered)
    fleet: Any = None  # it is asked for requests of no item
    answerer = RunAnswerer(
        "m", dispatcher, fleet, PromptLayouts(), lambda item: True, 4, defaultdict(itertools.count),
        itertools.count(-1, -1), SiteTemplates(()),
    )  # fmt: skip
    result = await answerer.answer(GenerationRequest(prompt="a", max_tokens=100), Caller(item=0), None)
    assert result.finish_reason == "length"


def test_an_agent_that_exits_fails_its_item_alone(tmp_path: Path) -> None:
    source = BLOCKING_IN_ASYNC.replace(
        "    client =", "    if ' 0' in question:\n        raise SystemExit(3)\n    client ="
    )
    report = run(tmp_path, source)
    assert (report.metrics.items, report.metrics.failed, report.metrics.calls) == (3, 1, 2)


def test_an_agent_whose_calls_go_elsewhere_is_named(tmp_path: Path) -> None:
    report = run(tmp_path, ELSEWHERE, items=2)
    assert report.metrics.calls == 0
    assert any("no call went through this run" in note for note in report.notes)


def test_a_call_while_the_module_is_imported_is_refused_and_named(tmp_path: Path) -> None:
    source = OPENAI + "\nWARM = client.completions.create(model='any', prompt='early', max_tokens=2)\n"
    with pytest.raises(EntryError, match="a model was asked while the agent's module was imported"):
        run(tmp_path, source)


def test_calls_of_threads_that_the_agent_starts_are_answered_too(tmp_path: Path) -> None:
    report = run(tmp_path, THREADED)
    assert (report.metrics.items, report.metrics.failed, report.metrics.calls) == (3, 0, 6)


def test_an_error_of_the_target_is_the_sdks_own(tmp_path: Path) -> None:
    source = OPENAI.replace("max_tokens=6", "max_tokens=100000")
    report = run(tmp_path, source, items=1)
    assert report.first_error is not None
    _, error = report.first_error
    assert error.type == "BadRequestError"
    assert error.line is not None
    assert "exceed the context" in error.message
