"""Many short random requests, some cancelled at random moments: no block, sequence or memory is left over.

    python benchmarks/engine/endurance.py [--requests N] [--seconds S] [-o FILE]

The engine itself, sixteen requests at once, through a cache that is short of blocks and sequences, with random
retention, one in ten with a KV hint: retain, pin, demote, release or prefetch. Three in ten requests are cancelled at
a random step, unless they have ended by then. Every 500 requests the file gets a line: resident memory, blocks and
sequences in use, entries of the eviction queue. At the end, with nothing running and the leases over, no block may be
held, the invariants must hold, and forgetting everything must leave llama.cpp without a single position. After
``--seconds`` no more requests are sent.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from counting import Counted, random_retention
from shared import ask, conditions, counted, write

from charter_compiler.config.hints.received import ReceivedAction
from charter_compiler.plan.hints import HintAction
from charter_compiler.serve.engine.interface import EngineConfig

OUTPUT = Path(__file__).with_name("endurance.jsonl")
SEED, EVERY = 11, 500
LEASE_MS = 50.0
MAX_GROWTH = 16 * 2**20
"""Bytes of resident memory between the first line and the end."""
CONFIG = EngineConfig(
    tokens_per_block=4,
    capacity_blocks=160,
    max_context=64,
    max_running=16,
    max_sequences=40,
    prefill_chunk=128,
    enable_partial_reuse=True,
)


def random_hints(rng: random.Random, passages: Sequence[Sequence[int]]) -> tuple[ReceivedAction, ...]:
    if rng.random() < 0.9:
        return ()
    action = rng.choice(list(HintAction))
    tokens = tuple(rng.choice(passages))
    return (ReceivedAction("1", f"charter.{action}", action, 0, 8, 60, LEASE_MS, None, tokens),)


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096


def state(engine: Counted, ended: int) -> dict[str, Any]:
    blocks = engine.core.blocks
    return {
        "ended": ended,
        "resident_bytes": resident_bytes(),
        "held_blocks": blocks.held_blocks,
        "cached_blocks": blocks.cached_blocks,
        "pinned_blocks": engine.core.stats().pinned_blocks,
        "sequences": blocks.pool.in_use,
        "queue_entries": len(blocks.queue),
    }


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=20_000, metavar="N", help="(%(default)s)")
    parser.add_argument("--seconds", type=float, default=float("inf"), metavar="S", help="(no limit)")
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT, metavar="FILE", help="(%(default)s)")
    args = parser.parse_args(argv)
    rng = random.Random(SEED)
    passages = [[rng.randrange(100, 40_000) for _ in range(rng.randrange(4, 13))] for _ in range(12)]
    engine = counted(CONFIG)
    core = engine.core
    doomed: dict[int, int] = {}
    started = ended = cancelled = step = first_resident = 0
    deadline = time.monotonic() + args.seconds
    with args.output.open("w", encoding="utf-8") as file:
        write(file, conditions(CONFIG, seed=SEED))
        while not core.idle or (started < args.requests and time.monotonic() < deadline):
            step += 1
            while started < args.requests and time.monotonic() < deadline and core.stats().waiting < 4:
                prompt = [*rng.choice(passages), *(rng.randrange(100, 40_000) for _ in range(rng.randrange(1, 4)))]
                extra = {"retention": random_retention(rng), "hints": random_hints(rng, passages)}
                core.add(ask(started, prompt, rng.randrange(1, 4), **extra))
                if rng.random() < 0.3:
                    doomed[started] = step + rng.randrange(3)
                started += 1
            outputs = [output for output in core.step() if output.finish]
            for request_id in [i for i, when in doomed.items() if when <= step]:
                del doomed[request_id]
                if (output := core.cancel(request_id)) is not None:
                    outputs.append(output)
                    cancelled += 1
            if (ended + len(outputs)) // EVERY > ended // EVERY:
                core.check()
                write(file, line := state(engine, ended + len(outputs)))
                first_resident = first_resident or line["resident_bytes"]
            ended += len(outputs)
        time.sleep(LEASE_MS / 1000)
        core.step()  # ends the leases that are over
        core.check()
        before = state(engine, ended)
        core.clear()
        left = sum(engine.runner.sequence_length(sequence) for sequence in range(CONFIG.max_sequences))
        summary = {"cancelled": cancelled, **before, "positions_left": left, "sequences_left": core.blocks.pool.in_use}
        write(file, {"summary": summary})
        print(summary)
    engine.runner.close()
    grown = before["resident_bytes"] - first_resident > MAX_GROWTH
    return 1 if grown or before["held_blocks"] or left or core.blocks.pool.in_use else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
