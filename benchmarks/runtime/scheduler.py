"""What the scheduler costs a call while 10,000 others wait: its own time, without any target.

    python benchmarks/runtime/scheduler.py -o benchmarks/runtime/scheduler.jsonl

Calls are submitted until so many wait; then each call that ends is followed by a new one. Measured is all that the run
time asks for one call (``may_start``, ``start_item``, ``submit``, ``ready``, ``on_first_token``, ``on_done``,
``finish_item``), as time of the processor, and of the clock, which other load of the machine lengthens.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from charter_compiler.executor.scheduler.interface import ScheduledCall
from charter_compiler.executor.scheduler.mode import Mode, make_scheduler

BLOCKS = 30
"""Of a prompt: about 900 tokens in blocks of 32."""
CAPACITY = 256

SHAPES: dict[str, Callable[[int], tuple[tuple[int, ...], int]]] = {
    "nothing shared": lambda n: (tuple(hash((n, b)) for b in range(BLOCKS)), 1),
    "one prefix for all": lambda n: ((*(hash(("all", b)) for b in range(20)), *(hash((n, b)) for b in range(10))), 1),
    "documents of three calls": lambda n: (tuple(hash((n // 3, b)) for b in range(BLOCKS)), 1),
    "blocks not known": lambda n: ((), 0),
}


def measure(shape: str, waiting: int, calls: int) -> dict[str, object]:
    """One line of the results."""
    make = SHAPES[shape]
    scheduler = make_scheduler(Mode.OPTIMIZED, 2 * waiting, None if shape == "blocks not known" else CAPACITY)
    keys, sent, times = itertools.count(), deque[ScheduledCall](), []

    def submit() -> None:
        key = next(keys)
        scheduler.may_start()
        scheduler.start_item(key)
        scheduler.submit(ScheduledCall(key, key, *make(key)))

    for _ in range(waiting):
        submit()
    sent.extend(scheduler.ready())
    if shape == "blocks not known":
        sent = deque(itertools.islice(sent, waiting))
    for _ in range(calls):
        call = sent.popleft()
        assert call.item is not None
        start, cpu = time.perf_counter(), time.thread_time()
        scheduler.on_first_token(call.key)
        ready = scheduler.ready()
        scheduler.on_done(call.key)
        scheduler.finish_item(call.item)
        submit()
        ready += scheduler.ready()
        times.append((time.perf_counter() - start, time.thread_time() - cpu))
        sent.extend(ready)
    wall, own = np.array(times).T
    return {
        "shape": shape,
        "waiting": waiting,
        "calls": calls,
        "in_flight": len(sent),
        "cpu_us_a_call": figures(own),
        "wall_us_a_call": figures(wall),
    }


def figures(seconds: NDArray[np.float64]) -> dict[str, float]:
    """In microseconds."""
    p50, p99, most = np.percentile(seconds, [50, 99, 100])
    values = {"mean": np.mean(seconds), "p50": p50, "p99": p99, "max": most}
    return {name: round(float(value) * 1e6, 1) for name, value in values.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="F.jsonl", help="appended to")
    parser.add_argument("--waiting", type=int, nargs="*", default=[100, 1000, 10_000])
    parser.add_argument("--calls", type=int, default=5000)
    args = parser.parse_args()
    with args.output.open("a", encoding="utf-8") as file:
        for shape in SHAPES:
            for waiting in args.waiting:
                line = measure(shape, waiting, args.calls) | {
                    "machine": platform.processor() or platform.machine(),
                    "load": round(os.getloadavg()[0], 2),
                    "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                }
                file.write(json.dumps(line) + "\n")
                print(
                    line["shape"],
                    line["waiting"],
                    line["in_flight"],
                    line["cpu_us_a_call"],
                    line["wall_us_a_call"],
                    file=sys.stderr,
                )


if __name__ == "__main__":
    main()
