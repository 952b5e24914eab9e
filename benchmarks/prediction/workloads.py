"""The example agents as workloads: entry, inputs, and whether outputs feed later prompts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"


@dataclass(frozen=True)
class Workload:
    """``feeds``: outputs of calls flow into later prompts, so that the prediction cannot know these."""

    name: str
    entry: str
    data: str
    feeds: bool

    @property
    def path(self) -> str:
        return f"{EXAMPLES / 'agents' / self.entry}"

    @property
    def inputs(self) -> Path:
        return EXAMPLES / "data" / self.data


WORKLOADS = (
    Workload("document_processor", "document_processor.py:DocumentProcessor.process", "documents.jsonl", True),
    Workload("delta_processor", "delta_processor.py:DeltaProcessor.process", "companies.jsonl", False),
    Workload("report_analyst", "report_analyst.py:ReportAnalyst.process", "company_reports.jsonl", False),
    Workload("map_reduce", "map_reduce.py:summarize", "documents.jsonl", True),
    Workload("debate", "debate.py:Debate.decide", "report_questions.jsonl", True),
    Workload("reflection", "reflection.py:write_note", "report_questions.jsonl", True),
    Workload("tree_search", "tree_search.py:TreeSearch.explain", "report_questions.jsonl", True),
    Workload("tool_loop", "tool_loop.py:ToolLoop.run", "report_questions.jsonl", True),
    Workload("retrieval", "retrieval.py:Retrieval.answer", "report_questions.jsonl", False),
    Workload("question_desk", "question_desk.py:QuestionDesk.handle", "report_questions.jsonl", True),
    Workload("document_qa", "document_qa.py:answer", "document_questions.jsonl", True),
)
