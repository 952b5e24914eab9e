"""Throughput without any sharing: this engine beside llama.cpp's own server, and what foreign cells cost.

    python benchmarks/engine/throughput.py [--rounds N] [--foreign N ...] [--counts N ...] [-o FILE]

1, 4 and 16 requests at once, each with a prompt of 96 tokens that nobody shares and 24 output tokens: this engine with
ever more cells of other prompts in its cache, and the server with as many slots and none, in turns. No prompt is sent
twice to the same side; both sides get the same ones; they are made before the clock starts. What a
measurement leaves in this engine's cache is forgotten before the next.

Beside the wall time stands the processor time of the whole process, all threads: other work on the machine lengthens
the first much and the second little. Of each step the time outside ``llama_decode`` is the bookkeeping: block manager,
batch, greedy sampling; in processor time of the engine's thread.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from shared import ask, complete, conditions, counted, llama_server, text_tokens, timed, write

from charter_compiler.cache.block_keys import root_key
from charter_compiler.serve.engine.interface import Batch, EngineConfig

OUTPUT = Path(__file__).with_name("throughput.jsonl")
PROMPT, ANSWER = 96, 24
COUNTS, FOREIGN = (1, 4, 16), (0, 1024, 2048, 4096, 8192)
MEASURED = "measured"
"""The salt of what is measured: it tells its blocks from foreign ones."""


def prompts(count: int, seed: int) -> list[list[int]]:
    return [[500 + i, *text_tokens(PROMPT - 1, seed=1000 * seed + i)] for i in range(count)]


class Engine:
    """The engine, with the time that its steps spend in ``llama_decode``."""

    def __init__(self) -> None:
        self.counted = counted(EngineConfig(capacity_blocks=384, max_context=8192))
        self.inside = 0.0
        self.next_id = 0
        self.foreign = 0
        decode = self.counted.runner.decode

        def watched(batch: Batch) -> None:
            started = time.thread_time()
            decode(batch)
            self.inside += time.thread_time() - started

        self.counted.runner.decode = watched  # type: ignore[method-assign]

    def fill(self, cells: int) -> None:
        """So many cells of others in the cache, and nothing else; not fewer than before."""
        self._forget_measured()
        assert cells >= self.foreign
        while self.foreign < cells:
            many = min(1024, cells - self.foreign)
            self._serve([text_tokens(many, seed=7 + self.foreign)], 1, None)
            self.foreign += many

    def measure(self, many: list[list[int]]) -> dict[str, Any]:
        self._forget_measured()
        self.inside = 0.0
        busy = time.thread_time()
        found = timed(lambda: self._serve(many, ANSWER, MEASURED))
        busy = time.thread_time() - busy
        return {**found, "outside_llama_decode": (busy - self.inside) / busy}

    def _forget_measured(self) -> None:
        blocks = self.counted.core.blocks
        root = blocks.roots.get(root_key(MEASURED))
        while root is not None and root.children:
            blocks.forget(next(block for block in root.subtree() if block.evictable))

    def _serve(self, many: list[list[int]], max_tokens: int, salt: str | None) -> None:
        requests = [ask(self.next_id + i, prompt, max_tokens, cache_salt=salt) for i, prompt in enumerate(many)]
        self.next_id += len(many)
        self.counted.serve(requests)


def by_server(url: str, many: list[list[int]]) -> dict[str, Any]:
    answers: list[dict[str, Any]] = []
    with ThreadPoolExecutor(len(many)) as pool:
        found = timed(lambda: answers.extend(pool.map(lambda prompt: complete(url, prompt, ANSWER), many)))
    assert all(answer["timings"]["cache_n"] < PROMPT / 2 for answer in answers), "the server reused a prompt"
    return found


def summary(foreign: int, count: int, times: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    median = {
        (side, figure): statistics.median(one[figure] for one in found)
        for side, found in times.items()
        for figure in ("seconds", "processor_s")
    }
    outside = statistics.median(one["outside_llama_decode"] for one in times["engine"])
    return {
        "foreign": foreign,
        "count": count,
        "engine_s": round(median["engine", "seconds"], 3),
        "server_s": round(median["server", "seconds"], 3),
        "share_of_servers_throughput": round(median["server", "seconds"] / median["engine", "seconds"], 3),
        "by_processor_time": round(median["server", "processor_s"] / median["engine", "processor_s"], 3),
        "outside_llama_decode": round(outside, 4),
    }


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="(%(default)s)")
    parser.add_argument("--foreign", type=int, nargs="+", default=FOREIGN, help="cells of others (%(default)s)")
    parser.add_argument("--counts", type=int, nargs="+", default=COUNTS, help="requests at once (%(default)s)")
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT, metavar="FILE", help="(%(default)s)")
    args = parser.parse_args(argv)
    engine = Engine()
    seed = 0
    with args.output.open("w", encoding="utf-8") as file, contextlib.ExitStack() as stack:
        write(file, conditions(engine.counted.core.config, prompt=PROMPT, answer=ANSWER))
        urls = {
            count: stack.enter_context(
                llama_server(n_parallel=count, n_ctx=256 * count, kv_unified=True, cache_ram_mib=0)
            )
            for count in args.counts
        }
        for foreign in sorted(args.foreign):
            engine.fill(foreign)
            for count in args.counts:
                times: dict[str, list[dict[str, float]]] = defaultdict(list)
                for number in range(args.rounds):
                    seed += 1
                    many = prompts(count, seed)
                    sides = {"engine": engine.measure, "server": partial(by_server, urls[count])}
                    # Whoever comes first in one round comes second in the next.
                    for side in sorted(sides, reverse=bool(number % 2)):
                        found = sides[side](many)
                        write(file, {"foreign": foreign, "count": count, "round": number, "by": side, **found})
                        times[side].append(found)
                line = summary(foreign, count, times)
                write(file, {"summary": line})
                print(line, flush=True)
    engine.counted.runner.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
