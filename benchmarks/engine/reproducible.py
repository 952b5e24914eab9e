"""Greedy tokens warm, cold, and of llama.cpp's own server alone and cold.

    python benchmarks/engine/reproducible.py [--prompts N] [--max-tokens N] [-o FILE]

Each prompt is a question behind one of a few passages. Cold: alone, on an empty cache. Warm: the same engine serves all
prompts one after the other, so that most find their passage. Once in reproducible mode, once in normal mode, where the
rate of differing outputs is what is measured. The server computes each prompt alone, with reuse off, in batches of 128
tokens (the grid of the reproducible mode), and with its own sizes (2,048 and 512).
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence
from pathlib import Path

from counting import last_perf, tokens
from shared import ask, complete, conditions, counted, llama_server, text_tokens, write

from charter_compiler.serve.engine.interface import GRID, EngineConfig

OUTPUT = Path(__file__).with_name("reproducible.jsonl")
PASSAGES, SEED = 5, 3
MODES = {
    "reproducible": EngineConfig(reproducible=True, capacity_blocks=128, max_context=1024),
    "normal": EngineConfig(capacity_blocks=128, max_context=1024),
}
SERVERS = {"server, batches of 128": {"n_batch": GRID, "n_ubatch": GRID}, "server, its own sizes": {}}


def make_prompts(count: int) -> list[list[int]]:
    """From 140 to 200 tokens."""
    rng = random.Random(SEED)
    passages = [text_tokens(rng.randrange(130, 170), seed=i) for i in range(PASSAGES)]
    return [[*passages[i % PASSAGES], *text_tokens(rng.randrange(10, 30), seed=100 + i)] for i in range(count)]


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=200, metavar="N", help="(%(default)s)")
    parser.add_argument("--max-tokens", type=int, default=16, metavar="N", help="(%(default)s)")
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT, metavar="FILE", help="(%(default)s)")
    args = parser.parse_args(argv)
    prompts = make_prompts(args.prompts)
    with args.output.open("w", encoding="utf-8") as file:
        write(file, conditions(MODES["reproducible"], max_tokens=args.max_tokens))
        answers: dict[str, list[list[int]]] = {}
        for mode, config in MODES.items():
            for warm in (True, False):
                engine = counted(config)
                found = answers[f"{mode}, {'warm' if warm else 'cold'}"] = []
                cached = 0
                for i, prompt in enumerate(prompts):
                    if not warm:
                        engine.core.clear()
                    outputs = engine.serve([ask(i, prompt, args.max_tokens)])[i]
                    found.append(tokens(outputs))
                    cached += last_perf(outputs).num_cached_tokens
                engine.runner.close()
                print(f"{mode}, {'warm' if warm else 'cold'}: {cached} tokens cached", flush=True)
        for name, options in SERVERS.items():
            with llama_server(n_parallel=1, n_ctx=1024, cache_ram_mib=0, **options) as url:
                answers[name] = [
                    complete(url, prompt, args.max_tokens, cache_prompt=False)["tokens"] for prompt in prompts
                ]
        for i, prompt in enumerate(prompts):
            write(file, {"prompt": i, "tokens": len(prompt), "answers": {name: answers[name][i] for name in answers}})
        cold = answers["reproducible, cold"]
        differing = {name: sum(a != b for a, b in zip(found, cold, strict=True)) for name, found in answers.items()}
        pairs = zip(answers["normal, warm"], answers["normal, cold"], strict=True)
        summary = {"prompts": len(prompts), "differing_from_reproducible_cold": differing}
        summary |= {"normal_warm_differs_from_normal_cold": sum(a != b for a, b in pairs)}
        write(file, {"summary": summary})
        print(summary)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
