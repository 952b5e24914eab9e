"""Call sites told from the text of their prompts, and what a gateway that knows an agent says and does of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from run_doubles import ScriptedTarget, facts, write_agent

from charter_compiler.diagnostics.errors import OutputError
from charter_compiler.executor.call_log import CallLog
from charter_compiler.executor.gateway.calls import Caller, SharedTarget
from charter_compiler.executor.gateway.templates import SiteTemplates
from charter_compiler.executor.layout import PromptLayouts
from charter_compiler.executor.prometheus import parse_metrics
from charter_compiler.executor.targets import OpenTarget
from charter_compiler.executor.types import GenerationRequest
from charter_compiler.predict.layout_of_entry import lay_out_entry, planned_layouts
from charter_compiler.predict.planning import calls_of_entry
from charter_compiler.tokens.tokenizer import default_tokenizer

FULL = Path("/dev/full")
AGENT = Path(__file__).parents[2] / "examples" / "agents" / "document_processor.py"
ENTRY = f"{AGENT}:DocumentProcessor.process"
CHAT = """
import openai

def answer(question, history):
    client = openai.OpenAI()
    system = "You are a careful clerk."
    first = client.chat.completions.create(model="m", messages=[
        {"role": "system", "content": system}, {"role": "user", "content": f"Question: {question}\\nShort answer:"}])
    return client.chat.completions.create(model="m", messages=[
        {"role": "system", "content": system}, *history, {"role": "user", "content": f"Question: {question}"}])
"""


class Prompts:
    """What ``document_processor`` sends, as its own code writes it."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def generate(self, prompt: str, max_tokens: int) -> str:
        self.sent.append(prompt)
        return f"answer {len(self.sent)}"


def prompts_of_the_agent(document: str) -> list[str]:
    namespace: dict[str, object] = {"__name__": "agent"}
    exec(compile(AGENT.read_text(encoding="utf-8"), str(AGENT), "exec"), namespace)  # the agent, with no Charter in it
    client = Prompts()
    namespace["DocumentProcessor"](client).process(document)  # type: ignore[operator]
    return client.sent


def test_each_prompt_is_of_the_call_site_that_wrote_it() -> None:
    calls = calls_of_entry(ENTRY)
    templates = SiteTemplates(calls)
    prompts = prompts_of_the_agent("A report.\n\nValidated entities:\nnone, says the document itself.")
    assert [getattr(templates.site_of(GenerationRequest(prompt=prompt)), "id", None) for prompt in prompts] == [
        call.id for call in calls
    ]


@pytest.mark.parametrize("prompt", ["", "Hello?", "You are a careful document analyst.", "Entities:"])
def test_another_prompt_is_of_none(prompt: str) -> None:
    assert SiteTemplates(calls_of_entry(ENTRY)).site_of(GenerationRequest(prompt=prompt)) is None


def test_messages_are_told_by_role_and_number(tmp_path: Path) -> None:
    calls = calls_of_entry(f"{write_agent(tmp_path, CHAT)}:answer")
    templates = SiteTemplates(calls)
    system, user = (
        {"role": "system", "content": "You are a careful clerk."},
        {"role": "user", "content": "Question: why?"},
    )

    def site(*messages: dict[str, str]) -> str | None:
        return getattr(templates.site_of(GenerationRequest(messages=messages)), "id", None)

    short = {"role": "user", "content": "Question: why?\nShort answer:"}
    assert site(system, short) == calls[0].id
    assert site(system, {"role": "assistant", "content": "Yes."}, user) == calls[1].id
    assert site({**system, "role": "user"}, short) is None
    assert site(short) is None


def test_equal_templates_are_told_apart_by_nothing(tmp_path: Path) -> None:
    source = "def ask(llm, text):\n" + '    a = llm.generate(f"Sum up the text: {text}")\n' * 2 + "    return a\n"
    templates = SiteTemplates(calls_of_entry(f"{write_agent(tmp_path, source)}:ask"))
    assert len(templates) == 2
    assert templates.site_of(GenerationRequest(prompt="Sum up the text: one")) is None


async def test_a_gateway_counts_logs_and_lays_out_by_call_site(tmp_path: Path) -> None:
    calls = calls_of_entry(ENTRY)
    layouts = PromptLayouts(planned_layouts(lay_out_entry(ENTRY, calls)), calls)
    client = ScriptedTarget()
    target = OpenTarget("scripted", client, replace(facts(), embedded=True), default_tokenizer(), None)
    prompts = prompts_of_the_agent("A report of the year, with names and places. " * 20)
    with CallLog(tmp_path / "log.jsonl") as log:
        shared = SharedTarget(target, 1, templates=SiteTemplates(calls), layouts=layouts, log=log)
        for prompt in (*prompts, "Something else."):
            await shared.answer(GenerationRequest(prompt=prompt, max_tokens=3), Caller(), None)
        await shared.aclose()
    assert [request.prompt == prompt for request, prompt in zip(client.sent, prompts, strict=False)].count(False) >= 1
    figures = parse_metrics(shared.metrics.text(), place="metrics")
    for call in calls:
        assert figures[f'charter_site_calls_total{{site="{call.id}"}}'] == 1
    last = figures[f'charter_site_tokens_total{{site="{calls[2].id}",kind="cached"}}']
    assert last > 200, "the document stands before the task, so the third call finds it in the cache"
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line.get("site") for line in lines] == [*(call.id for call in calls), None]
    assert {line["event"] for line in lines} == {"call"}
    assert not any("report" in line for line in (tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines())


@pytest.mark.skipif(not FULL.exists(), reason="a device of Linux that is always full")
async def test_a_gateway_goes_on_without_a_log_that_cannot_be_written() -> None:
    target, lost = OpenTarget("scripted", ScriptedTarget(), facts(), None, None), list[OutputError]()
    with CallLog(FULL) as log:
        shared = SharedTarget(target, 1, log=log, on_log_lost=lost.append)
        for _ in range(2):
            assert (await shared.answer(GenerationRequest(prompt="a", max_tokens=3), Caller(), None)).text == "yes"
        await shared.aclose()
    assert len(lost) == 1
