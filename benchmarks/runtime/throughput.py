"""100,000 items with prompts of 200 tokens on the simulated target: calls a second, and memory along the way.

    python benchmarks/runtime/throughput.py -o benchmarks/runtime/throughput.jsonl

Everything is in one process and nothing is computed: what is measured is the run time itself (tokens, scheduler,
journal with fsync, rows) and the engine's model, which answers.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from charter_compiler.api.measured_run import measured_run
from charter_compiler.api.run_request import PredictWhen, RunObserver, RunRequest
from charter_compiler.executor.metrics import Tally
from charter_compiler.executor.run.options import RunOptions
from charter_compiler.tokens.tokenizer import default_tokenizer

AGENT = Path(__file__).parent / "agents" / "one_call.py"
WORDS = Path(__file__).parents[2] / "examples" / "data" / "documents.jsonl"
TOKENS = 200
SAMPLES = 20


@dataclass(frozen=True, slots=True)
class Sample:
    """The process after so many items; ``rss_mb`` is its resident memory, ``calls_per_s`` of the last part."""

    items: int
    rss_mb: float
    elapsed_s: float
    calls_per_s: float


class MemoryObserver(RunObserver):
    """Looks at the process now and then."""

    def __init__(self, items: int) -> None:
        self._every = max(1, items // SAMPLES)
        self._start = time.perf_counter()
        self._last = (0, 0.0)
        self.samples: list[Sample] = []

    def running(self, items: int) -> None:
        self._start = time.perf_counter()

    def progress(self, tally: Tally) -> None:
        if tally.items >= self._last[0] + self._every:
            elapsed = time.perf_counter() - self._start
            rate = (tally.items - self._last[0]) / (elapsed - self._last[1])
            self.samples.append(Sample(tally.items, resident_mb(), round(elapsed, 2), round(rate)))
            self._last = (tally.items, elapsed)


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)


def write_inputs(path: Path, items: int) -> None:
    """Words of real reports, drawn anew for each item: ``TOKENS`` tokens, no two prompts alike."""
    tokenizer, chosen = default_tokenizer(), random.Random(0)
    with WORDS.open(encoding="utf-8") as file:
        words = [word for line in file for word in json.loads(line)["document"].split() if word.isalpha()]
    with path.open("w", encoding="utf-8") as file:
        for number in range(items):
            text = f"{number:06d} " + " ".join(chosen.choices(words, k=TOKENS))
            file.write(json.dumps({"text": tokenizer.decode(tokenizer.encode(text)[:TOKENS])}) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="F.jsonl", help="appended to")
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--concurrency", type=int, default=256)
    parser.add_argument("--target", default="sim://trtllm?running=200&blocks=4096")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        inputs = Path(name) / "in.jsonl"
        write_inputs(inputs, args.items)
        observer = MemoryObserver(args.items)
        load, cpu = os.getloadavg()[0], time.process_time()
        report = measured_run(
            RunRequest(
                f"{AGENT}:ask",
                inputs,
                Path(name) / "out.jsonl",
                target=args.target,
                options=RunOptions(concurrency=args.concurrency),
                predict=PredictWhen.NEVER,
            ),
            observer,
        )
    cpu = time.process_time() - cpu
    if report.stopped is not None:
        raise report.stopped
    metrics = report.metrics
    assert metrics.prompt_tokens is not None
    line = {
        "items": metrics.items,
        "failed": metrics.failed,
        "calls": metrics.calls,
        "tokens_a_prompt": metrics.prompt_tokens / metrics.calls,
        "concurrency": args.concurrency,
        "target": args.target,
        "wall_s": round(metrics.wall_s, 2),
        "calls_per_s": round(metrics.calls / metrics.wall_s),
        "cpu_us_a_call": round(cpu / metrics.calls * 1e6),
        "samples": [asdict(sample) for sample in observer.samples],
        "machine": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "load_before": round(load, 2),
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    with args.output.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    print(json.dumps(line, indent=1), file=sys.stderr)


if __name__ == "__main__":
    main()
