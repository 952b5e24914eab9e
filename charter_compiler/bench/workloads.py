"""What is run: agents of ``examples/``, over real texts, at the sizes that a case asks for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from charter_compiler.api.examples import examples_folder
from charter_compiler.diagnostics.errors import UsageError
from charter_compiler.executor.entry import load_entry
from charter_compiler.executor.inputs import InputRow, read_inputs
from charter_compiler.executor.prompts import PromptTokens
from charter_compiler.predict.control_flow import trace_agent
from charter_compiler.predict.planning import calls_of_entry
from charter_compiler.predict.synthetic import SyntheticOutputs
from charter_compiler.tokens.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent and its rows. ``text`` names the field whose length a case may ask for; ``shared``: one such text for
    all rows, else each row has its own. ``feeds``: outputs flow into later prompts."""

    name: str
    entry: str
    inputs: str
    text: str | None = None
    shared: bool = False
    feeds: bool = False


def example(name: str, entry: str, data: str, text: str | None = None, *, shared: bool = False, feeds: bool) -> Agent:
    """An agent of the shipped examples."""
    folder = examples_folder()
    return Agent(name, f"{folder / 'agents' / entry}", f"{folder / 'data' / data}", text, shared, feeds)


def example_agents() -> dict[str, Agent]:
    """Every agent of the examples by its name.

    Raises:
        UsageError: the examples are missing from this installation.
    """
    questions = "report_questions.jsonl"
    agents = (
        example("document_processor", "document_processor.py:DocumentProcessor.process", "documents.jsonl", "document",
                feeds=True),
        example("delta_processor", "delta_processor.py:DeltaProcessor.process", "companies.jsonl", feeds=False),
        example("claims_desk", "claims_desk.py:ClaimsDesk.sort", "companies.jsonl", feeds=False),
        example("report_analyst", "report_analyst.py:ReportAnalyst.process", "company_reports.jsonl", feeds=False),
        example("map_reduce", "map_reduce.py:summarize", "documents.jsonl", "document", feeds=True),
        example("debate", "debate.py:Debate.decide", questions, feeds=True),
        example("reflection", "reflection.py:write_note", questions, feeds=True),
        example("tree_search", "tree_search.py:TreeSearch.explain", questions, feeds=True),
        example("tool_loop", "tool_loop.py:ToolLoop.run", questions, feeds=True),
        example("retrieval", "retrieval.py:Retrieval.answer", questions, feeds=False),
        example("question_desk", "question_desk.py:QuestionDesk.handle", questions, feeds=True),
        example("document_qa", "document_qa.py:answer", "document_questions.jsonl", "document", shared=True,
                feeds=True),
        example("coding_team", "coding_team.py:change", "coding_requests.jsonl", feeds=True),
    )  # fmt: skip
    return {agent.name: agent for agent in agents}


def make_rows(agent: Agent, items: int, text_tokens: int | None, tokenizer: Tokenizer) -> list[dict[str, Any]]:
    """The first rows of the agent's inputs; with ``text_tokens`` the text of each has so many tokens: it is cut, or
    goes on with the texts of the rows after it.

    Raises:
        UsageError: there are fewer rows, too little text, or the agent has no text whose length can be chosen.
    """
    rows = [dict(row.values) for row in read_inputs(Path(agent.inputs))]
    if len(rows) < items:
        raise UsageError(f"{items} items are asked for", place=agent.inputs, remedy=f"there are {len(rows)}")
    if text_tokens is None:
        return rows[:items]
    if agent.text is None:
        raise UsageError(f"no text of {agent.name} can be made longer or shorter", remedy="leave the text tokens out")
    texts = list(dict.fromkeys(str(row[agent.text]).strip() for row in rows))
    lengths = [len(tokenizer.encode(text)) for text in texts]
    chosen, at = [], 0
    for row in rows[:items]:
        if agent.shared:
            at = 0
        start = at
        while sum(lengths[start:at]) < text_tokens and at < len(texts):
            at += 1
        if sum(lengths[start:at]) < text_tokens:
            raise UsageError(f"not enough text for {items} of {text_tokens} tokens", place=agent.inputs)
        tokens = tokenizer.encode("\n\n".join(texts[start:at]))[:text_tokens]
        chosen.append(row | {agent.text: tokenizer.decode(tokens)})
    return chosen


def write_rows(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """As JSON Lines."""
    path.write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows), encoding="utf-8")


def blocks_of_largest_call(
    entry: str, inputs: Path, max_tokens: int, block_size: int, tokenizer: Tokenizer, items: int
) -> int:
    """KV blocks of the largest call that any item makes, its output included: below that no run is possible. Computed
    from the agent's control flow, with outputs as long as they may be."""
    rows: list[InputRow] = list(islice(read_inputs(inputs), items))
    traces = trace_agent(
        load_entry(entry), rows, SyntheticOutputs(tokenizer), max_tokens=max_tokens, calls=calls_of_entry(entry)
    )
    prompts = PromptTokens(tokenizer, block_size)
    sizes = [0]
    for trace in traces:
        for call in trace.calls:
            request = call.call.request
            tokens = len(prompts.tokens(request) or ()) + request.max_tokens
            sizes.append(-(-tokens // block_size))
    return max(sizes)
