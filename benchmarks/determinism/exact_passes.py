"""The exact passes change neither the prompts of an agent nor, on a reproducible engine, its outputs.

Two runs of the document processor on embedded servers of their own: as written, and with all exact passes. Every call
is compared, later ones too: their prompts hold the outputs of earlier ones.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from pathlib import Path

from charter_compiler.api.measured_run import RunRequest
from charter_compiler.api.side_by_side import run_side_by_side
from charter_compiler.executor.orchestrator import RunOptions
from charter_compiler.executor.targets import TargetOptions
from charter_compiler.serve.engine.interface import EngineConfig

EXAMPLES = Path(__file__).parents[2] / "examples"
ENTRY = "agents/document_processor.py:DocumentProcessor.process"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="F.jsonl")
    parser.add_argument("--documents", type=int, default=8)
    parser.add_argument("--max-tokens", type=int, default=24)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        request = RunRequest(
            entry=f"{EXAMPLES / ENTRY}",
            inputs=EXAMPLES / "data" / "documents.jsonl",
            output=Path(folder) / "out.jsonl",
            target_options=TargetOptions(fresh_server=True, engine=EngineConfig(reproducible=True)),
            options=RunOptions(concurrency=4, max_tokens=args.max_tokens),
            limit=args.documents,
        )
        runs = run_side_by_side(request, Path(folder))
    found = runs.comparison
    line = {
        "agent": ENTRY,
        "documents": args.documents,
        "max_tokens": args.max_tokens,
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
    args.output.write_text(json.dumps(line) + "\n", encoding="utf-8")
    print(json.dumps(line, indent=2))


if __name__ == "__main__":
    main()
