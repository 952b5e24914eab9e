"""How fast the simulation is: beside vLLM's manager, a sweep beside single runs, and by the number of blocks.

Runs in the peer's environment (``make bench-cache``), so that both sides have the same interpreter.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from vllm_peer import Charter, Prompt, Vllm, Workload, environment, prompts

from charter_compiler.cache.policy_cache import Policy
from charter_compiler.cache.simulate import Engine, Setup, sweep
from charter_compiler.cache.stack_distance import lru_curve
from charter_compiler.cache.trace import Trace, build_trace, parse_trace, trace_of_prompts

CONCURRENCY = 8
CAPACITIES = 32


def replay(side: Any, requests: list[Prompt]) -> tuple[float, list[int]]:
    """Processor seconds to start and end every request, ``CONCURRENCY`` at once, hashing included; cached tokens."""
    running: deque[Any] = deque()
    cached = []
    begin = time.process_time()
    for index, request in enumerate(requests):
        started = None if len(running) >= CONCURRENCY else side.start(index, request.tokens, request.salt)
        while started is None:
            side.finish(running.popleft())
            started = side.start(index, request.tokens, request.salt)
        running.append(started[0])
        cached.append(started[1])
    return time.process_time() - begin, cached


def workloads() -> Iterator[Workload]:
    for block_size in (16, 32):
        for piece_tokens in (400, 1600):
            yield Workload(
                99, 1000, block_size, 4000 * 16 // block_size, CONCURRENCY, None, piece_tokens=piece_tokens, pieces=5
            )


def against_vllm(workload: Workload, repeats: int) -> Iterator[dict[str, Any]]:
    """One run on both sides, and the curve of 32 capacities beside 32 runs of ours."""
    requests = prompts(workload)
    blocks = sum(-(-len(request.tokens) // workload.block_size) for request in requests)
    tokens = [request.tokens for request in requests]
    for side in (Charter, Vllm):
        replay(side(workload), requests)  # the first run of a process is slower on both sides
    for repeat in range(repeats):
        ours, cached = replay(Charter(workload), requests)
        theirs, expected = replay(Vllm(workload), requests)
        begin = time.process_time()
        trace = trace_of_prompts(tokens, workload.block_size)
        capacities = [max(1, trace.distinct_blocks * (step + 1) // CAPACITIES) for step in range(CAPACITIES)]
        results = sweep(trace, Setup(Engine.VLLM, None, Policy.LRU), capacities)
        swept = time.process_time() - begin
        yield {
            "measure": "one run beside vLLM's; a sweep of 32 capacities beside 32 of our runs",
            "block_size": workload.block_size,
            "requests": len(requests),
            "blocks": blocks,
            "repeat": repeat,
            "equal": cached == expected,
            "charter_s": ours,
            "vllm_s": theirs,
            "charter_blocks_per_s": round(blocks / ours),
            "vllm_blocks_per_s": round(blocks / theirs),
            "times_faster_than_vllm": round(theirs / ours, 2),
            "sweep_s": swept,
            "sweep_points": len(results),
            "times_faster_than_32_runs": round(CAPACITIES * ours / swept, 1),
        }


def repeated(trace: Trace, requests: int, seed: int) -> Trace:
    """A trace of the same kind, as long as wanted: copies of it one after another, each with ids of its own but for the
    blocks that many requests share, whose ids stay."""
    counts = np.diff(trace.offsets)
    copies = -(-requests // trace.requests)
    popular = np.bincount(trace.nodes, minlength=trace.distinct_blocks) > 50
    shift = np.where(popular[trace.nodes], 0, trace.distinct_blocks)
    rng = random.Random(seed)
    offsets = [0, *sorted(rng.randrange(1 << 40) for _ in range(copies - 1))]
    ids = np.concatenate([trace.nodes + shift * (1 + offset) for offset in offsets])

    def tiled(values: Any) -> Any:
        return np.tile(values, copies)

    made = build_trace(
        trace.block_size,
        tiled(counts),
        ids,
        tiled(trace.lengths),
        tiled(trace.outputs),
        tiled(trace.timestamps),
        tiled(trace.priorities),
    )
    return made.first(requests)


def growth(path: Path, sizes: list[int]) -> Iterator[dict[str, Any]]:
    """Time and memory by the number of requests of the Mooncake synthetic kind: the whole LRU curve each time."""
    with path.open("rb") as file:
        original = parse_trace(file, 512, str(path))
    for size in sizes:
        begin = time.process_time()
        trace = repeated(original, size, seed=size)
        built = time.process_time() - begin
        begin = time.process_time()
        curve = lru_curve(trace, trace.requests // 2)
        seconds = time.process_time() - begin
        yield {
            "measure": "LRU curve of all capacities, Mooncake synthetic kind",
            "requests": trace.requests,
            "blocks": len(trace.nodes),
            "distinct_blocks": trace.distinct_blocks,
            "build_s": round(built, 3),
            "curve_s": round(seconds, 3),
            "ns_per_block": round(1e9 * seconds / len(trace.nodes), 1),
            "hit_rate_unbounded": curve.hit_rate(trace.distinct_blocks),
            "peak_memory_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        }


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--trace", type=Path, help="the Mooncake synthetic trace, for the growth")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--sizes", type=int, nargs="*", default=[62_500, 250_000, 1_000_000])
    args = parser.parse_args(argv)
    with args.output.open("w", encoding="utf-8") as file:
        for row in measure(args):
            print(json.dumps(row))
            file.write(json.dumps(row) + "\n")
    return 0


def measure(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    yield {"environment": environment(), "measured": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    for workload in workloads():
        yield from against_vllm(workload, args.repeats)
    if args.trace is not None:
        yield from growth(args.trace, args.sizes)


if __name__ == "__main__":
    sys.exit(main())
