"""What the chosen order of calls saves on the real embedded server where the cache is small.

Three runs of each agent, each on a server of its own with an empty cache: as written, item by item, and in the order
that the compiler chose by simulation. `make bench-schedule` writes the raw results.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from charter_compiler.api.measured_run import RunReport, measured_run
from charter_compiler.api.run_request import RunRequest
from charter_compiler.executor.run.options import RunOptions
from charter_compiler.executor.scheduler.mode import Mode
from charter_compiler.executor.targets import TargetOptions
from charter_compiler.plan.schedule import DEFAULT_SCHEDULE
from charter_compiler.serve.engine.interface import EngineConfig

EXAMPLES = Path(__file__).parents[2] / "examples"
BLOCK_SIZE = 32


@dataclass(frozen=True)
class Workload:
    """``blocks``: capacity of the cache, of 32 tokens each; about what one stage, or a few items, need."""

    entry: str
    data: str
    blocks: int


WORKLOADS = (
    Workload("question_desk.py:QuestionDesk.handle", "report_questions.jsonl", 20),
    Workload("document_qa.py:answer", "document_questions.jsonl", 64),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="F.jsonl")
    parser.add_argument("--rows", type=int, default=None)
    parser.add_argument("--concurrency", type=int, default=4)
    args = parser.parse_args()
    with args.output.open("w", encoding="utf-8") as results, tempfile.TemporaryDirectory() as folder:
        for workload in WORKLOADS:
            for line in compare(workload, args.rows, args.concurrency, Path(folder)):
                print(json.dumps(line), file=results, flush=True)
                print(*(line[key] for key in ("entry", "run", "schedule", "predicted", "measured")), file=sys.stderr)


def compare(workload: Workload, rows: int | None, concurrency: int, folder: Path) -> list[dict[str, Any]]:
    engine = EngineConfig(tokens_per_block=BLOCK_SIZE, capacity_blocks=workload.blocks, max_context=2048)
    request = RunRequest(
        entry=f"{EXAMPLES / 'agents' / workload.entry}",
        inputs=EXAMPLES / "data" / workload.data,
        output=folder / "out.jsonl",
        target_options=TargetOptions(fresh_server=True, engine=engine),
        options=RunOptions(concurrency=concurrency),
        limit=rows,
    )
    chosen = measured_run(request)
    assert chosen.plan is not None
    by_item = measured_run(replace(request, plan=replace(chosen.plan, schedule=DEFAULT_SCHEDULE)))
    as_written = measured_run(replace(request, options=replace(request.options, mode=Mode.BASELINE)))
    runs = {"as written": as_written, "item by item": by_item, "chosen": chosen}
    return [figures(workload, name, report, concurrency) for name, report in runs.items()]


def figures(workload: Workload, name: str, report: RunReport, concurrency: int) -> dict[str, Any]:
    metrics = report.metrics
    assert report.stopped is None
    assert report.prediction is not None
    schedule = report.plan.schedule if report.plan is not None and name != "as written" else None
    return {
        "entry": workload.entry,
        "run": name,
        "schedule": None if schedule is None else str(schedule),
        "blocks": workload.blocks,
        "block_size": BLOCK_SIZE,
        "concurrency": concurrency,
        "items": metrics.items,
        "failed": metrics.failed,
        "calls": metrics.calls,
        "prompt_tokens": metrics.prompt_tokens,
        "cached_tokens": metrics.cached_tokens,
        "predicted": report.prediction.hit_rate,
        "measured": metrics.hit_rate,
        "attainable": metrics.attainable_hit_rate,
        "wall_s": metrics.wall_s,
        "machine": platform.processor() or platform.machine(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


if __name__ == "__main__":
    main()
