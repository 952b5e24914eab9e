"""``charter simulate`` on very many requests: seconds and memory of the whole command, reading the trace included.

The trace is the Mooncake synthetic one, again and again: the blocks that more than 50 of its requests share keep their
ids, all others get new ones each time, so that it has the same kind of reuse at any length.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
BLOCK = 512
SHARED_BY = 50
APART = 10_000_000
HOUR_MS = 3_600_000
CASES = (
    ("vllm", "--capacity-blocks", "20000"),
    ("vllm", "--capacity-blocks", "20000", "--policy", "lru"),
    ("vllm", "--capacity-blocks", "20000", "--policy", "belady"),
)


def lengthened(source: Path, requests: int) -> Iterator[str]:
    rows = [json.loads(line) for line in source.read_text(encoding="utf-8").splitlines()]
    users = Counter(block for row in rows for block in set(row["hash_ids"]))
    for number in range(requests):
        turn, index = divmod(number, len(rows))
        row = rows[index]
        ids = [block if users[block] > SHARED_BY else block + turn * APART for block in row["hash_ids"]]
        yield json.dumps({**row, "timestamp": row["timestamp"] + turn * HOUR_MS, "hash_ids": ids}) + "\n"


def measure(trace: Path, options: tuple[str, ...]) -> dict[str, Any]:
    """One command in a process of its own. The peak is that of the largest child so far."""
    program = [sys.executable, "-m", "charter_compiler.cli.main", "simulate"]
    fixed = ["--trace", str(trace), "--block-size", str(BLOCK), "--warmup-fraction", "0.5", "--engine"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begin = time.perf_counter()
    ended = subprocess.run([*program, *fixed, *options], capture_output=True, text=True, check=True, cwd=ROOT)
    seconds = time.perf_counter() - begin
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "options": options,
        "wall_s": round(seconds, 1),
        "processor_s": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1),
        "peak_memory_gib": round(after.ru_maxrss / 2**20, 2),
        "result": json.loads(ended.stdout),
    }


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trace", type=Path, required=True, help="the Mooncake synthetic trace")
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args(argv)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    where = {"commit": commit.strip(), "python": platform.python_version(), "cores": str(os.cpu_count())}
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8") as made, args.output.open("w") as file:
        made.writelines(lengthened(args.trace, args.requests))
        made.flush()
        size = {"requests": args.requests, "trace_bytes": Path(made.name).stat().st_size}
        file.write(json.dumps({"environment": where, **size}) + "\n")
        for case in CASES:
            row = measure(Path(made.name), case)
            print(json.dumps(row), flush=True)
            file.write(json.dumps(row) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
