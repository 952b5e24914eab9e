"""Is retention real? A prefix of each priority, a flood that needs every block, and the prefix again.

    python benchmarks/engine/retained.py [-o FILE]

Each case begins with an empty cache of 16 blocks. The prefix of 33 tokens is served with its priority, for ever or for
a time; then come foreign requests of twice the cache; then the prefix again, whose tokens are counted at llama_decode.
The exit code is 1 where what has priority 100 is not kept, as long as it lasts, or anything else is.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from shared import ask, conditions, counted, text_tokens, write

from charter_compiler.cache.retention import Retention, RetentionRange
from charter_compiler.serve.engine.interface import EngineConfig

OUTPUT = Path(__file__).with_name("retained.jsonl")
CONFIG = EngineConfig(tokens_per_block=8, capacity_blocks=16, max_context=128, max_running=4, max_sequences=32)
PREFIX, FLOOD = 33, 8
CASES = ((100, None, 0), (35, None, 0), (0, None, 0), (100, 60_000, 30), (100, 60_000, 61), (100, 2_000, 1))
"""Priority, its duration in ms, and how many seconds pass before the flood. The clock is moved, not waited for."""


def case(priority: int, duration_ms: int | None, wait_s: int) -> dict[str, object]:
    now = 0
    engine = counted(CONFIG, lambda: now)
    prefix = text_tokens(PREFIX, seed=1)
    retention = Retention((RetentionRange(0, None, priority, duration_ms),))
    engine.serve([ask(0, prefix, 1, retention=retention)])
    now += wait_s * 10**9
    flood = [ask(1 + i, [300 + i, *text_tokens(PREFIX - 1, seed=100 + i)], 1) for i in range(FLOOD)]
    for request in flood:
        engine.serve([request])
    engine.serve([ask(99, prefix, 1)])
    found: dict[str, object] = {
        "priority": priority,
        "duration_ms": duration_ms,
        "flood_after_s": wait_s,
        "prefix_tokens": PREFIX,
        "flood_tokens": FLOOD * PREFIX,
        "cache_tokens": CONFIG.capacity_blocks * CONFIG.tokens_per_block,
        "decoded_cold": engine.decoded[0],
        "decoded_again": engine.decoded[99],
    }
    engine.runner.close()
    return found


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT, metavar="FILE", help="(%(default)s)")
    args = parser.parse_args(argv)
    wrong = 0
    with args.output.open("w", encoding="utf-8") as file:
        write(file, conditions(CONFIG))
        for one in CASES:
            line = case(*one)
            write(file, line)
            print(line)
            priority, duration_ms, wait_s = one
            kept = priority == 100 and (duration_ms is None or duration_ms > 1000 * wait_s)
            wrong += line["decoded_again"] != (1 if kept else PREFIX)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
