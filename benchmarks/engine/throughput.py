"""Throughput without any sharing: this engine beside llama.cpp's own server, and what foreign cells cost.

    python benchmarks/engine/throughput.py [--rounds N] [-o FILE]

1, 4 and 16 requests at once, each with a prompt of 96 tokens that nobody shares and 24 output tokens: this engine with
ever more cells of other prompts in its cache, and the server, in turns. Of each step the time outside ``llama_decode``
is the bookkeeping: block manager, batch, greedy sampling; in processor time of the engine's thread, since other work
runs on the machine.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from shared import Counted, ask, complete, conditions, llama_server, text_tokens, write

from charter_compiler.serve.engine.interface import Batch, EngineConfig

OUTPUT = Path(__file__).with_name("throughput.jsonl")
PROMPT, ANSWER = 96, 24
COUNTS, FOREIGN = (1, 4, 16), (0, 1024, 2048, 4096, 8192)


def prompts(count: int, seed: int) -> list[list[int]]:
    return [[500 + i, *text_tokens(PROMPT - 1, seed=1000 * seed + i)] for i in range(count)]


class Engine:
    """The engine, with the time that its steps spend in ``llama_decode``."""

    def __init__(self) -> None:
        self.counted = Counted(EngineConfig(capacity_blocks=384, max_context=8192))
        self.inside = 0.0
        self.next_id = 0
        decode = self.counted.runner.decode

        def timed(batch: Batch) -> None:
            started = time.thread_time()
            decode(batch)
            self.inside += time.thread_time() - started

        self.counted.runner.decode = timed  # type: ignore[method-assign]

    def fill(self, cells: int) -> None:
        """So many cells of others in the cache, and nothing else."""
        self.counted.core.clear()
        if cells:
            self._serve([text_tokens(min(1024, cells), seed=7 + n) for n in range(-(-cells // 1024))], 1)

    def measure(self, count: int, seed: int) -> dict[str, Any]:
        self.inside, started, busy = 0.0, time.perf_counter(), time.thread_time()
        self._serve(prompts(count, seed), ANSWER)
        busy = time.thread_time() - busy
        seconds = time.perf_counter() - started
        return {"seconds": seconds, "outside_llama_decode": (busy - self.inside) / busy}

    def _serve(self, many: list[list[int]], max_tokens: int) -> None:
        requests = [ask(self.next_id + i, prompt, max_tokens) for i, prompt in enumerate(many)]
        self.next_id += len(many)
        self.counted.serve(requests)


def by_server(url: str, count: int, seed: int) -> dict[str, Any]:
    with ThreadPoolExecutor(count) as pool:
        started = time.perf_counter()
        list(pool.map(lambda prompt: complete(url, prompt, ANSWER), prompts(count, seed)))
        return {"seconds": time.perf_counter() - started}


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="(%(default)s)")
    parser.add_argument("--foreign", type=int, nargs="+", default=FOREIGN, help="cells of others (%(default)s)")
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT, metavar="FILE", help="(%(default)s)")
    args = parser.parse_args(argv)
    engine = Engine()
    with args.output.open("w", encoding="utf-8") as file:
        write(file, conditions(engine.counted.core.config, prompt=PROMPT, answer=ANSWER))
        for count in COUNTS:
            options = {"n_parallel": count, "n_ctx": 256 * count, "kv_unified": True, "cache_ram_mib": 0}
            times: dict[str, list[float]] = {}
            with llama_server(**options) as url:
                for number in range(args.rounds):
                    for foreign in args.foreign:
                        engine.fill(foreign)
                        found = engine.measure(count, number)
                        write(file, {"count": count, "round": number, "by": "engine", "foreign": foreign, **found})
                        times.setdefault(f"engine, {foreign} foreign", []).append(found["seconds"])
                        times.setdefault("outside", []).append(found["outside_llama_decode"])
                        found = by_server(url, count, number)
                        write(file, {"count": count, "round": number, "by": "server", **found})
                        times.setdefault("server", []).append(found["seconds"])
            outside = statistics.median(times.pop("outside"))
            median = {name: statistics.median(values) for name, values in times.items()}
            summary = {
                "count": count,
                "median_s": {name: round(value, 3) for name, value in median.items()},
                "share_of_servers_throughput": {
                    name: round(median["server"] / value, 2) for name, value in median.items() if name != "server"
                },
                "outside_llama_decode": round(outside, 4),
            }
            write(file, {"summary": summary})
            print(summary, flush=True)
    engine.counted.runner.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
