"""``charter plan``: what a million items cost to plan, and how far sampled stretches are from whole replicas.

    python benchmarks/replicas/measure.py -o benchmarks/replicas/results.jsonl [--items N] [--checked N]

The first line holds the conditions. ``plan``: the command over ``--items`` rows, with 64 replicas, in a process of its
own. ``check``: over ``--checked`` rows, every replica simulated from its first item to its last, beside the plan's
sampled estimate; nothing is run, both are the same model of an engine.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from charter_compiler.api.environment import describe_environment
from charter_compiler.api.replica_planning import ReplicaRequest, prepare
from charter_compiler.predict.replicas import plan_counts, simulate_stretch
from charter_compiler.predict.sharding import share_out

FOLDER = Path(__file__).parent
ENTRY = f"{FOLDER / 'agent.py'}:answer"
SEED = 11
TEXT = "revenue margin report growth board assets risk cash market loan product plant order share"
WORDS = TEXT.split()
COUNTS = (1, 2)
"""Of the check. With more, its replicas would be simulated whole by the plan too."""


def write_rows(path: Path, items: int, companies: int) -> None:
    """Companies of 80 to 200 words, the first ones with the most questions, in no order."""
    chosen = random.Random(SEED)
    texts = [" ".join(chosen.choices(WORDS, k=chosen.randint(80, 200))) for _ in range(companies)]
    with path.open("w", encoding="utf-8") as file:
        for _ in range(items):
            company = texts[int(chosen.random() ** 2 * companies)]
            question = " ".join(chosen.choices(WORDS, k=chosen.randint(5, 30)))
            file.write(json.dumps({"company": company, "question": question}) + "\n")


def plan_all(folder: Path, items: int, companies: int) -> dict[str, Any]:
    rows = folder / "rows.jsonl"
    write_rows(rows, items, companies)
    command = ["plan", ENTRY, "--inputs", str(rows), "--replicas", "64", "--target", "sim", "--format", "json"]
    command += ["--deadline", "12h", "--price", "2.5"]
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    found = subprocess.run(
        [sys.executable, "-m", "charter_compiler.cli.main", *command], capture_output=True, text=True, check=False
    )
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if found.returncode not in (0, 2):
        raise RuntimeError(found.stderr)
    plan = json.loads(found.stdout)
    return {
        "benchmark": "plan",
        "items": items,
        "calls": 5 * items,
        "companies": companies,
        "inputs_mb": round(rows.stat().st_size / 1e6),
        "simulated_items": plan["simulated_items"],
        "wall_s": round(wall, 1),
        "processor_s": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1),
        "peak_mib": round(after.ru_maxrss / 1024),
        "chosen": plan["chosen"],
        "counts": [count for count in plan["counts"] if count["simulated"] or count["replicas"] == plan["chosen"]],
    }


def check(folder: Path, items: int, companies: int) -> Iterator[dict[str, Any]]:
    rows = folder / "checked.jsonl"
    write_rows(rows, items, companies)
    request = ReplicaRequest(ENTRY, rows, max(COUNTS), target="sim")
    run = prepare(request)
    counts = plan_counts(run.pieces, run.weights, max(COUNTS), request.window, run.simulation, run.tracer.trace)
    for estimated in counts:
        if estimated.replicas not in COUNTS:
            continue
        whole = [
            simulate_stretch(run.tracer.trace(run.pieces.stream(share)), run.weights, run.simulation)
            for share in share_out(run.pieces, estimated.replicas)
        ]
        prompt = sum(float(each.prompt_tokens[-1]) for each in whole)
        hit_rate = sum(float(each.cached_tokens[-1]) for each in whole) / prompt
        seconds = max(float(each.seconds[-1]) for each in whole)
        yield {
            "benchmark": "check",
            "items": items,
            "replicas": estimated.replicas,
            "hit_rate": {"planned": estimated.hit_rate, "whole": hit_rate},
            "seconds": {"planned": estimated.seconds, "whole": seconds},
            "standard_error": estimated.error,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", required=True, type=Path)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--checked", type=int, default=2_000)
    args = parser.parse_args()
    with args.output.open("w", encoding="utf-8") as file, tempfile.TemporaryDirectory() as folder:
        for line in measured(Path(folder), args.items, args.checked):
            file.write(json.dumps(line) + "\n")
            file.flush()


def measured(folder: Path, items: int, checked: int) -> Iterator[dict[str, Any]]:
    yield {
        "measured": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": subprocess.check_output(["git", "rev-parse", "HEAD"], text=True).strip(),
        "environment": dict(describe_environment()),
        "seed": SEED,
        "load_average": round(os.getloadavg()[0], 2),
    }
    yield plan_all(folder, items, companies=items // 50)
    yield from check(folder, checked, companies=checked // 50)


if __name__ == "__main__":
    main()
