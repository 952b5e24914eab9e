"""Concurrent requests with one warm prefix: this engine, and llama.cpp's own server at its best setting.

    python benchmarks/engine/concurrent_prefix.py [--rounds N] [--counts N ...] [-o FILE]

A prefix of 1,188 tokens is computed once (for the server also: once in every slot); then four, or sixteen, requests
with it and 12 tokens of their own come at once, each for 8 output tokens. Measured is the time until the last has
ended, and for this engine the tokens that go through llama_decode. Rounds are interleaved: the settings take turns,
each round has a prefix of its own. Engine and server run on the same threads with the same waiting policy, one at a
time.

The server's settings: unified KV cache or one a slot, the prefix warmed in one slot or in every slot, host prompt cache
(8 GiB), slot similarity 0.1 and 0.5. A server whose every slot was warmed has computed the prefix once a slot, so the
time is given without the warm-up and with it. The exit code is 1 where this engine reuses less than 95% of the prefix
for a request, or computes more than the rest; it does not judge times.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from counting import last_perf, tokens
from shared import ask, complete, conditions, counted, llama_server, text_tokens, timed, write

from charter_compiler.serve.engine.interface import EngineConfig, EngineOutput

OUTPUT = Path(__file__).with_name("concurrent_prefix.jsonl")
PREFIX, OWN, ANSWER = 1188, 12, 8
SETTINGS: dict[str, dict[str, Any]] = {
    "unified, one slot warmed": {"kv_unified": True, "cache_ram_mib": 8192, "slot_prompt_similarity": 0.1},
    "unified, every slot warmed": {"kv_unified": True, "cache_ram_mib": 8192, "slot_prompt_similarity": 0.1},
    "split, every slot warmed": {"kv_unified": False, "cache_ram_mib": 8192, "slot_prompt_similarity": 0.5},
}


def prompts(count: int, round_number: int) -> tuple[list[int], list[list[int]]]:
    prefix = [400 + round_number, *text_tokens(PREFIX - 1, seed=round_number)]
    return prefix, [[*prefix, 1000 + i, *text_tokens(OWN - 1, seed=1000 + i)] for i in range(count)]


def by_engine(count: int, round_number: int) -> dict[str, Any]:
    config = EngineConfig(capacity_blocks=128, max_context=2048)
    engine = counted(config)
    prefix, full = prompts(count, round_number)
    warm_up = timed(lambda: engine.serve([ask(0, [*prefix, 5], 1)]))
    outputs: dict[int, list[EngineOutput]] = {}
    requests = [ask(1 + i, prompt, ANSWER) for i, prompt in enumerate(full)]
    found = timed(lambda: outputs.update(engine.serve(requests)))
    cached = [last_perf(outputs[1 + i]).num_cached_tokens for i in range(count)]
    line = {
        "warm_up": warm_up,
        **found,
        "cached_of_prefix": [min(one, PREFIX) / PREFIX for one in cached],
        "decoded": [engine.decoded[1 + i] for i in range(count)],
        "decoded_due": [PREFIX + OWN - cached[i] + ANSWER - 1 for i in range(count)],
        "tokens": [tokens(outputs[1 + i]) for i in range(count)],
    }
    engine.runner.close()
    return line


def by_server(count: int, round_number: int, name: str) -> dict[str, Any]:
    prefix, full = prompts(count, round_number)
    options = {"n_parallel": count, "n_ctx": (PREFIX + OWN + 64) * count, **SETTINGS[name]}
    with llama_server(**options) as url, ThreadPoolExecutor(count) as pool:
        slots = range(count) if "every" in name else range(1)
        warm_up = timed(lambda: [complete(url, [*prefix, 5], 1, id_slot=slot) for slot in slots])
        answers: list[dict[str, Any]] = []
        found = timed(lambda: answers.extend(pool.map(lambda prompt: complete(url, prompt, ANSWER), full)))
    cached = [answer["timings"]["cache_n"] for answer in answers]
    return {"warm_up": warm_up, **found, "cached_of_prefix": [min(one, PREFIX) / PREFIX for one in cached]}


def times_sooner(server: dict[str, Any], engine: dict[str, Any], figure: str) -> dict[str, float]:
    """Without the time that the warm-up took, and with it."""
    total = {id(side): side[figure] + side["warm_up"][figure] for side in (server, engine)}
    return {
        "warmed": round(server[figure] / engine[figure], 2),
        "with_warm_up": round(total[id(server)] / total[id(engine)], 2),
    }


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2, metavar="N", help="(%(default)s)")
    parser.add_argument("--counts", type=int, nargs="+", default=[4, 16], help="requests at once")
    parser.add_argument("--settings", nargs="+", default=list(SETTINGS), choices=list(SETTINGS), help="of the server")
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT, metavar="FILE", help="(%(default)s)")
    args = parser.parse_args(argv)
    wrong = 0
    with args.output.open("w", encoding="utf-8") as file:
        write(file, conditions(prefix=PREFIX, own=OWN, answer=ANSWER))
        for count in args.counts:
            for number in range(args.rounds):
                engine = by_engine(count, number)
                write(file, {"count": count, "round": number, "by": "engine", **engine})
                servers = {}
                for name in args.settings:
                    servers[name] = by_server(count, number, name)
                    write(file, {"count": count, "round": number, "by": name, **servers[name]})
                summary = {
                    "count": count,
                    "round": number,
                    "least_reused": min(engine["cached_of_prefix"]),
                    "only_the_rest_decoded": engine["decoded"] == engine["decoded_due"],
                    "engine_s": round(engine["seconds"], 3),
                    "server_s": {name: round(server["seconds"], 3) for name, server in servers.items()},
                    "times_sooner": {name: times_sooner(server, engine, "seconds") for name, server in servers.items()},
                    "times_less_processor": {
                        name: times_sooner(server, engine, "processor_s") for name, server in servers.items()
                    },
                }
                write(file, {"summary": summary})
                print(summary, flush=True)
                wrong += summary["least_reused"] < 0.95 or not summary["only_the_rest_decoded"]
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
