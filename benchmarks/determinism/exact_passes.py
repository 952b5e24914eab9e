"""The exact passes change neither the prompts of an agent nor, on a reproducible engine, its outputs.

Two runs of each agent on embedded servers of their own: as written, and with all exact passes. Every call is compared,
later ones too: their prompts hold the outputs of earlier ones.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

from charter_compiler.api.run_request import RunRequest
from charter_compiler.api.side_by_side import run_side_by_side
from charter_compiler.executor.run.options import RunOptions
from charter_compiler.executor.targets import TargetOptions
from charter_compiler.serve.engine.interface import EngineConfig

EXAMPLES = Path(__file__).parents[2] / "examples"
AGENTS = {
    "document_processor.py:DocumentProcessor.process": "documents.jsonl",
    "question_desk.py:QuestionDesk.handle": "report_questions.jsonl",
}
"""With their inputs. The first shares less than the 128 tokens that a reproducible engine reuses at a time, the second
more."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="F.jsonl")
    parser.add_argument("--items", type=int, default=4)
    parser.add_argument("--max-tokens", type=int, default=24)
    args = parser.parse_args()
    lines = [compare(agent, data, args.items, args.max_tokens) for agent, data in AGENTS.items()]
    args.output.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    print(json.dumps(lines, indent=2))


def compare(agent: str, data: str, items: int, max_tokens: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        request = RunRequest(
            entry=f"{EXAMPLES / 'agents' / agent}",
            inputs=EXAMPLES / "data" / data,
            output=Path(folder) / "out.jsonl",
            target_options=TargetOptions(fresh_server=True, engine=EngineConfig(reproducible=True)),
            options=RunOptions(concurrency=4, max_tokens=max_tokens),
            limit=items,
        )
        runs = run_side_by_side(request, Path(folder))
    found = runs.comparison
    return {
        "agent": agent,
        "items": items,
        "max_tokens": max_tokens,
        "calls": runs.baseline.metrics.calls,
        "compared": found.compared,
        "not_compared": found.not_compared,
        "different_prompts": len(found.different_prompts),
        "different_outputs": len(found.different_outputs),
        "hit_rate_as_written": runs.baseline.metrics.hit_rate,
        "hit_rate_optimized": runs.optimized.metrics.hit_rate,
        "machine": platform.processor() or platform.machine(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


if __name__ == "__main__":
    main()
