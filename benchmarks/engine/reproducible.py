"""Greedy tokens warm, cold, and of llama.cpp's own server alone and cold.

    python benchmarks/engine/reproducible.py [--prompts N] [--max-tokens N] [--resume] [-o FILE]

Each prompt is a question behind one of a few passages. Cold: alone, on an empty cache. Warm: the same engine serves all
prompts one after the other, so that most find their passage. Once in reproducible mode, once in normal mode, where the
rate of differing outputs is what is measured. The server computes each prompt alone, with reuse off, in batches of 128
tokens (the grid of the reproducible mode), and with its own sizes (2,048 and 512).

Each prompt has a line as soon as it is done; ``--resume`` goes on behind the last one, with caches that are empty at
first. The exit code is 1 where a warm output of the reproducible mode, or one of the server on the grid, differs from
the cold one.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from counting import Counted, last_perf, tokens
from shared import ask, complete, conditions, counted, llama_server, text_tokens, write

from charter_compiler.serve.engine.interface import GRID, EngineConfig

OUTPUT = Path(__file__).with_name("reproducible.jsonl")
PASSAGES, SEED = 5, 3
MODES = {
    "reproducible": EngineConfig(reproducible=True, capacity_blocks=128, max_context=1024),
    "normal": EngineConfig(capacity_blocks=128, max_context=1024),
}
GRID_SERVER = {"n_batch": GRID, "n_ubatch": GRID}
SERVERS: dict[str, dict[str, Any]] = {"server, batches of 128": GRID_SERVER, "server, its own sizes": {}}


def make_prompts(count: int) -> list[list[int]]:
    """From 137 to 155 tokens, of which at least 129 are a passage's."""
    rng = random.Random(SEED)
    passages = [text_tokens(rng.randrange(GRID + 1, GRID + 8), seed=i) for i in range(PASSAGES)]
    return [[*passages[i % PASSAGES], *text_tokens(rng.randrange(8, 20), seed=100 + i)] for i in range(count)]


def by_engine(engine: Counted, max_tokens: int, warm: bool, prompt: list[int]) -> tuple[list[int], int]:
    """The answer and the cached tokens."""
    if not warm:
        engine.core.clear()
    outputs = engine.serve([ask(0, prompt, max_tokens)])[0]
    return tokens(outputs), last_perf(outputs).num_cached_tokens


def by_server(url: str, max_tokens: int, prompt: list[int]) -> tuple[list[int], int]:
    return complete(url, prompt, max_tokens, cache_prompt=False)["tokens"], 0


def sides(stack: contextlib.ExitStack, max_tokens: int) -> dict[str, Callable[[list[int]], tuple[list[int], int]]]:
    """Who answers a prompt, by name."""
    found: dict[str, Callable[[list[int]], tuple[list[int], int]]] = {}
    for mode, config in MODES.items():
        for kind in ("warm", "cold"):
            engine = counted(config)
            stack.callback(engine.runner.close)
            found[f"{mode}, {kind}"] = partial(by_engine, engine, max_tokens, kind == "warm")
    for name, options in SERVERS.items():
        url = stack.enter_context(llama_server(n_parallel=1, n_ctx=1024, cache_ram_mib=0, **options))
        found[name] = partial(by_server, url, max_tokens)
    return found


def summary(lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    def differing(a: str, b: str) -> int:
        return sum(line["answers"][a] != line["answers"][b] for line in lines)

    cached = {name: sum(line["cached"][name] for line in lines) for name in ("reproducible, warm", "normal, warm")}
    return {
        "prompts": len(lines),
        "prompt_tokens": sum(line["tokens"] for line in lines),
        "cached_tokens": cached,
        "differing_from_reproducible_cold": {
            name: differing(name, "reproducible, cold") for name in ("reproducible, warm", *SERVERS)
        },
        "normal_warm_differs_from_normal_cold": differing("normal, warm", "normal, cold"),
    }


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=200, metavar="N", help="(%(default)s)")
    parser.add_argument("--max-tokens", type=int, default=12, metavar="N", help="(%(default)s)")
    parser.add_argument("--resume", action="store_true", help="go on behind the last prompt of the file")
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT, metavar="FILE", help="(%(default)s)")
    args = parser.parse_args(argv)
    prompts = make_prompts(args.prompts)
    lines: list[dict[str, Any]] = []
    if args.resume and args.output.exists():
        found = [json.loads(line) for line in args.output.read_text(encoding="utf-8").splitlines()]
        lines = [line for line in found if "prompt" in line]
    with args.output.open("a" if lines else "w", encoding="utf-8") as file, contextlib.ExitStack() as stack:
        write(file, conditions(MODES["reproducible"], max_tokens=args.max_tokens))
        by_name = sides(stack, args.max_tokens)
        for i in range(len(lines), len(prompts)):
            said = {name: answer(prompts[i]) for name, answer in by_name.items()}
            line = {"prompt": i, "tokens": len(prompts[i]), "answers": {name: one[0] for name, one in said.items()}}
            lines.append(line | {"cached": {name: one[1] for name, one in said.items()}})
            write(file, lines[-1])
        write(file, {"summary": (result := summary(lines))})
        print(result)
    differing = result["differing_from_reproducible_cold"]
    return 1 if differing["reproducible, warm"] or differing["server, batches of 128"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
