"""Runs of the example agents against a deployment, each over rows that no run before it has sent.

A server's cache remembers. So that a run finds only what it put there itself, the varying field of each row begins with
a mark of the run; what is constant in the prompts may be warm from before, as it is in production.
"""

from __future__ import annotations

import json
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from charter_compiler.api.examples import examples_folder
from charter_compiler.api.measured_run import measured_run
from charter_compiler.api.run_report import RunReport
from charter_compiler.api.run_request import RunRequest
from charter_compiler.deploy.connect import Server
from charter_compiler.deploy.settings import AgentCase
from charter_compiler.diagnostics.errors import UsageError
from charter_compiler.executor.inputs import read_inputs
from charter_compiler.executor.run.options import RunOptions
from charter_compiler.executor.scheduler.mode import Mode

SENTENCE = "the auditor compared each figure of the report with the ledger and wrote down every difference"


@dataclass(frozen=True, slots=True)
class Example:
    """An agent of ``examples/``: its entry, its rows, and the field that tells rows apart."""

    entry: str
    inputs: str
    field: str


DOCUMENTS = Example("agents/document_processor.py:DocumentProcessor.process", "data/documents.jsonl", "document")
COMPANIES = Example("agents/delta_processor.py:DeltaProcessor.process", "data/companies.jsonl", "company")


@dataclass(frozen=True, slots=True)
class How:
    """How an agent is run. ``unshared``: each prompt begins with a text of its own, so that an engine finds nothing of
    it in its cache: what the same work costs without reuse, on a server whose cache cannot be switched off."""

    mode: Mode
    layout: bool = False
    unshared: bool = False


UNSHARED_AGENT = '''"""Written by deploy/workload.py: the agent beside this file, no prefix of it shared."""

import uuid

from {module} import {name}


class Unshared:
    def __init__(self, llm):
        self.llm = llm

    def generate(self, prompt, max_tokens):
        return self.llm.generate(f"[{{uuid.uuid4()}}]\\n{{prompt}}", max_tokens=max_tokens)


class {name}Unshared({name}):
    def __init__(self, llm_client):
        super().__init__(Unshared(llm_client))
'''


def run_example(server: Server, example: Example, case: AgentCase, how: How, folder: Path) -> RunReport:
    """One run; its files go to ``folder``, which is made.

    Raises:
        UsageError: the example has fewer rows than the case asks for.
        CharterError: what ``measured_run`` raises, or reports as the reason why the run ended early.
    """
    folder.mkdir(parents=True, exist_ok=True)
    entry = f"{examples_folder() / example.entry}"
    if how.unshared:
        entry = _unshared(entry, folder)
    inputs = folder / "inputs.jsonl"
    rows = marked_rows(example, case, uuid.uuid4().hex[:8])
    inputs.write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows), encoding="utf-8")
    report = measured_run(
        RunRequest(
            entry,
            inputs,
            folder / "rows.jsonl",
            target=server.target,
            target_options=server.options(),
            options=RunOptions(mode=how.mode, concurrency=case.concurrency, max_tokens=case.max_tokens, merge=False),
            layout=how.layout,
            record=True,
        )
    )
    if report.stopped is not None:
        raise report.stopped
    return report


def marked_rows(example: Example, case: AgentCase, mark: str) -> list[dict[str, Any]]:
    """The first rows of the example, shortened as the case says, each with the mark of the run."""
    path = examples_folder() / example.inputs
    rows = [dict(row.values) for row, _ in zip(read_inputs(path), range(case.items), strict=False)]
    if len(rows) < case.items:
        raise UsageError(f"{case.items} items are asked for", place=str(path), remedy=f"there are {len(rows)}")
    for number, row in enumerate(rows):
        for name, value in row.items():
            row[name] = value[: case.text_characters] if isinstance(value, str) else value
        row[example.field] = f"({mark}-{number}) {row[example.field]}"
    return rows


def _unshared(entry: str, folder: Path) -> str:
    path, _, qualified = entry.rpartition(":")
    source, (name, method) = Path(path), qualified.split(".")
    shutil.copy(source, folder / source.name)
    written = folder / f"unshared_{source.name}"
    written.write_text(UNSHARED_AGENT.format(module=source.stem, name=name), encoding="utf-8")
    return f"{written}:{name}Unshared.{method}"


def prose(words: int, *, own: bool) -> str:
    """Text of so many words; ``own``: beginning with one that no other text has, so that no cache holds it."""
    words_of = SENTENCE.split()
    start = [uuid.uuid4().hex] if own else []
    return " ".join([*start, *(words_of[index % len(words_of)] for index in range(words - len(start)))])
