"""Are the tokens that go through llama_decode those that the cache model predicts, request by request?

    python benchmarks/engine/counted.py [--requests N] [--kinds KIND ...] [-o FILE]

Random requests with shared beginnings, eight at once, through a cache that is short of blocks and of sequences: once
``plain``, once ``retained``: with random retention (priorities and durations) and partial reuse. The model is the same
core over a runner that computes nothing. Both have a clock that moves by 1 ms an iteration, so that durations end at
the same moment.
The file has a line of conditions, then a line a request. The exit code is 1 where one differs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from counting import Steps, due, modelled, random_requests, trickle
from shared import conditions, counted, write

from charter_compiler.serve.engine.interface import EngineConfig

OUTPUT = Path(__file__).with_name("counted.jsonl")
SEED = 5
KINDS = {"plain": False, "retained": True}
CONFIG = EngineConfig(
    tokens_per_block=4, capacity_blocks=64, max_context=128, max_running=8, max_sequences=14, prefill_chunk=64
)


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=1000, metavar="N", help="of each kind (%(default)s)")
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS), help="(both)")
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT, metavar="FILE", help="(%(default)s)")
    args = parser.parse_args(argv)
    wrong = 0
    with args.output.open("w", encoding="utf-8") as file:
        write(file, conditions(CONFIG, seed=SEED))
        for kind in args.kinds:
            retained = KINDS[kind]
            config = replace(CONFIG, enable_partial_reuse=retained)
            requests = random_requests(args.requests, SEED, retained=retained)
            clock = Steps()
            engine = counted(config, clock)
            outputs = trickle(engine.core, requests, clock)
            predicted = modelled(config, requests, outputs)
            differing = 0
            for request in requests:
                perf = predicted[request.request_id]
                decoded = engine.decoded[request.request_id]
                differing += decoded != due(perf)
                line = {"kind": kind, "request": request.request_id, "prompt_tokens": len(request.prompt)}
                write(file, line | {"cached": perf.num_cached_tokens, "predicted": due(perf), "decoded": decoded})
            stats = engine.core.stats()
            summary = {
                "kind": kind,
                "requests": len(requests),
                "differing": differing,
                "prompt_tokens": stats.prompt_tokens,
                "cached_tokens": stats.cached_tokens,
                "decoded_tokens": stats.decoded_tokens,
                "evicted_blocks": stats.evicted_blocks,
                "evicted_for_sequences": stats.evicted_for_sequences,
            }
            write(file, {"summary": summary})
            print(summary)
            wrong += differing
            engine.runner.close()
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
