"""Many items on a Ray cluster of three nodes on this machine, with the simulated target: the driver's memory along the
way, and whether each call was answered once; with ``--kill``, one node is lost when a third of the items is done.

    .venv-ray/bin/python benchmarks/ray/measure.py -o benchmarks/ray/results.jsonl [--items N] [--kill]

Nothing is computed: what is measured is Charter's driver, workers and journals, and Ray. Times of the clock are of a
machine that other work shares.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import ray
from local_nodes import local_nodes

from charter_compiler.api.cluster.connection import Cluster
from charter_compiler.api.cluster.keeper import shards_folder
from charter_compiler.api.cluster.run import cluster_run
from charter_compiler.api.run_request import PredictWhen, RunObserver, RunRequest
from charter_compiler.executor.metrics import Tally
from charter_compiler.executor.run.options import RunOptions

AGENT = """
async def answer(manual, question, llm):
    return await llm.agenerate(f"{manual}\\n\\nQuestion: {question}\\nAnswer:", max_tokens=8)
"""
WORDS = Path(__file__).parents[2] / "examples" / "data" / "documents.jsonl"
GROUP = 64
"""Items that share a manual."""
SAMPLES = 20


class Watch(RunObserver):
    """The driver's memory now and then; what is to happen when a third of the items is done."""

    def __init__(self, items: int, at_a_third: Any) -> None:
        self._every, self._third, self._at_a_third = max(1, items // SAMPLES), items // 3, at_a_third
        self._start = time.perf_counter()
        self.before_mb = resident_mb()
        self.samples: list[dict[str, float]] = []

    def running(self, items: int) -> None:
        self._sample(0)

    def progress(self, tally: Tally) -> None:
        if tally.items % self._every == 0:
            self._sample(tally.items)
        if tally.items == self._third:
            self._at_a_third()

    def _sample(self, items: int) -> None:
        elapsed = round(time.perf_counter() - self._start, 1)
        self.samples.append({"items": items, "driver_mb": resident_mb(), "elapsed_s": elapsed})


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)


def write_inputs(path: Path, items: int) -> None:
    """Manuals of 40 words of real reports, each with ``GROUP`` questions that lie apart in the file."""
    chosen = random.Random(0)
    with WORDS.open(encoding="utf-8") as file:
        words = [word for line in file for word in json.loads(line)["document"].split() if word.isalpha()]
    manuals = [" ".join(chosen.choices(words, k=40)) for _ in range(max(1, items // GROUP))]
    with path.open("w", encoding="utf-8") as file:
        for number in range(items):
            row = {"manual": manuals[number % len(manuals)], "question": f"{number:07}?"}
            file.write(json.dumps(row) + "\n")


def answered(folder: Path) -> Counter[int]:
    """How often the call of each item was answered, by the journals."""
    found: Counter[int] = Counter()
    for path in folder.glob("*.jsonl"):
        with path.open(encoding="utf-8") as file:
            found.update(json.loads(line)["call"][0] for line in file if line.startswith('{"call"'))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="F.jsonl", help="appended to")
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--concurrency", type=int, default=64, help="items in flight at each worker")
    parser.add_argument("--kill", action="store_true")
    args = parser.parse_args()
    lost: list[int] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "agent.py").write_text(AGENT, encoding="utf-8")
        write_inputs(folder / "in.jsonl", args.items)
        output = folder / "out.jsonl"
        with local_nodes(workers=2, object_store_mb=200) as nodes:

            def lose() -> None:
                if args.kill:
                    nodes.remove_node(next(iter(nodes.worker_nodes)), allow_graceful=False)
                    lost.append(1)

            watch = Watch(args.items, lose)
            report = cluster_run(
                RunRequest(
                    f"{folder / 'agent.py'}:answer", folder / "in.jsonl", output, target="sim",
                    options=RunOptions(concurrency=args.concurrency), predict=PredictWhen.NEVER,
                ),
                Cluster(workers=2),
                watch,
            )  # fmt: skip
        if report.stopped is not None:
            raise report.stopped
        with output.open(encoding="utf-8") as file:
            in_order = [json.loads(line)["index"] for line in file] == list(range(args.items))
        calls, shards = answered(shards_folder(output)), len(list(shards_folder(output).glob("*.jsonl")))
        size = (folder / "in.jsonl").stat().st_size + output.stat().st_size
    line = {
        "items": report.metrics.items,
        "failed": report.metrics.failed,
        "calls": report.metrics.calls,
        "answered_twice": sum(times > 1 for times in calls.values()),
        "missing": args.items - len(calls),
        "rows_in_order": in_order,
        "nodes": 3,
        "nodes_lost": len(lost),
        "shards": shards,
        "rows_in_and_out_mb": round(size / 1e6, 1),
        "hit_rate": report.metrics.hit_rate,
        "wall_s": round(report.metrics.wall_s, 1),
        "driver_mb_before": watch.before_mb,
        "samples": watch.samples,
        "ray": ray.__version__,
        "load_after": round(os.getloadavg()[0], 1),
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    with args.output.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    print(json.dumps(line, indent=1), file=sys.stderr)


if __name__ == "__main__":
    main()
