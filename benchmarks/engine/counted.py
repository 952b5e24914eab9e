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
import random
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from shared import Counted, ask, conditions, tokens, write

from charter_compiler.cache.retention import Retention, RetentionRange
from charter_compiler.serve.engine.core import EngineCore
from charter_compiler.serve.engine.interface import EngineConfig, EngineOutput, EngineRequest
from charter_compiler.serve.engine.null_runner import NullRunner

OUTPUT = Path(__file__).with_name("counted.jsonl")
SEED = 5
KINDS = {"plain": False, "retained": True}
CONFIG = EngineConfig(
    tokens_per_block=4, capacity_blocks=64, max_context=128, max_running=8, max_sequences=14, prefill_chunk=64
)


class Steps:
    """A clock that moves by a millisecond an iteration."""

    now = 0

    def __call__(self) -> int:
        return self.now


def random_requests(count: int, *, retained: bool) -> list[EngineRequest]:
    """Prompts that begin with some of a few shared passages."""
    rng = random.Random(SEED)
    passages = [[rng.randrange(100, 40_000) for _ in range(rng.randrange(3, 15))] for _ in range(8)]
    made = []
    for i in range(count):
        prompt = [token for _ in range(rng.randrange(1, 4)) for token in rng.choice(passages)]
        prompt += [rng.randrange(100, 40_000) for _ in range(rng.randrange(0, 6))]
        made.append(ask(i, prompt, rng.randrange(1, 5), retention=random_retention(rng) if retained else None))
    return made


def random_retention(rng: random.Random) -> Retention:
    durations = (None, 5.0, 40.0)
    ranges = (
        RetentionRange(0, 8, rng.choice((0, 35, 100)), rng.choice(durations)),
        RetentionRange(8, None, rng.choice((0, 35, 100)), rng.choice(durations)),
    )
    return Retention(ranges, rng.choice((0, 35, 100)), rng.choice(durations))


def trickle(core: EngineCore, requests: Sequence[EngineRequest], clock: Steps) -> dict[int, list[EngineOutput]]:
    """Three new requests an iteration at most, as long as no more than twelve wait."""
    waiting = list(reversed(requests))
    outputs: dict[int, list[EngineOutput]] = {request.request_id: [] for request in requests}
    while waiting or not core.idle:
        clock.now += 10**6
        for _ in range(3):
            if waiting and core.stats().waiting < 12:
                core.add(waiting.pop())
        for output in core.step():
            outputs[output.request_id].append(output)
    return outputs


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
            requests = random_requests(args.requests, retained=retained)
            clock = Steps()
            counted = Counted(config, clock)
            outputs = trickle(counted.core, requests, clock)
            clock = Steps()
            known = {i: tokens(found) for i, found in outputs.items()}
            model = EngineCore(config, NullRunner(known), clock)
            predicted = trickle(model, requests, clock)
            differing = 0
            for request in requests:
                perf = predicted[request.request_id][-1].perf
                assert perf is not None
                due = perf.num_input_tokens - perf.num_cached_tokens + perf.num_output_tokens - 1
                decoded = counted.decoded[request.request_id]
                differing += decoded != due
                line = {"kind": kind, "request": request.request_id, "prompt_tokens": len(request.prompt)}
                write(file, line | {"cached": perf.num_cached_tokens, "predicted": due, "decoded": decoded})
            stats = counted.core.stats()
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
            counted.runner.close()
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
