"""Does the engine do with other model files what it does with the default one?

    python benchmarks/engine/families.py MODEL.gguf ... [--requests N] [--prompts N] [-o FILE]

For each file: what it says of itself; whether the tokens at llama_decode are those that the cache model predicts, under
pressure and with retention (as ``counted.py``); whether greedy tokens in reproducible mode are the same warm, cold, and
of llama.cpp's own server alone and cold (as ``reproducible.py``); and how an English sentence goes on, for people. The
exit code is 1 where something differs.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from counted import CONFIG, SEED
from counting import Steps, due, last_perf, modelled, random_requests, tokens, trickle
from reproducible import GRID_SERVER, MODES
from shared import ask, complete, conditions, counted, llama_server, write

OUTPUT = Path(__file__).with_name("families.jsonl")
TEXT = "The committee met on Tuesday to discuss the annual report on rainfall in the northern valleys. "
SENTENCE = "The capital of France is"
ANSWER = 8


def count(model: Path, requests: int) -> dict[str, Any]:
    config = replace(CONFIG, enable_partial_reuse=True)
    made = random_requests(requests, SEED, retained=True)
    clock = Steps()
    engine = counted(config, clock, model)
    outputs = trickle(engine.core, made, clock, engine.check)
    predicted = modelled(config, made, outputs)
    stats = engine.core.stats()
    engine.runner.close()
    return {
        "requests": requests,
        "differing": sum(engine.decoded[i] != due(perf) for i, perf in predicted.items()),
        "cached_tokens": stats.cached_tokens,
        "evicted_blocks": stats.evicted_blocks,
    }


def reproduce(model: Path, many: int) -> dict[str, Any]:
    engine = counted(MODES["reproducible"], model=model)
    facts = {**asdict(engine.runner.facts), "chat_template": engine.runner.facts.chat_template is not None}
    passage = engine.runner.tokenize(TEXT * 20)[:150]
    prompts = [[*passage, *engine.runner.tokenize(f"Question {i}: what was said of {i} valleys?")] for i in range(many)]
    answers: dict[str, list[list[int]]] = {"warm": [], "cold": []}
    cached = 0
    for kind, found in answers.items():
        for i, prompt in enumerate(prompts):
            if kind == "cold":
                engine.core.clear()
            outputs = engine.serve([ask(i, prompt, ANSWER)])[i]
            found.append(tokens(outputs))
            cached += last_perf(outputs).num_cached_tokens
    said = tokens(engine.serve([ask(0, engine.runner.tokenize(SENTENCE), ANSWER)])[0])
    text = b"".join(map(engine.runner.token_bytes, said)).decode("utf-8", "replace")
    engine.runner.close()
    with llama_server(model, n_parallel=1, n_ctx=1024, cache_ram_mib=0, **GRID_SERVER) as url:
        answers["server"] = [complete(url, prompt, ANSWER, cache_prompt=False)["tokens"] for prompt in prompts]
    return {
        "facts": facts,
        "prompts": many,
        "cached_tokens": cached,
        "warm_differs_from_cold": sum(a != b for a, b in zip(answers["warm"], answers["cold"], strict=True)),
        "server_differs_from_cold": sum(a != b for a, b in zip(answers["server"], answers["cold"], strict=True)),
        "goes_on": SENTENCE + text,
    }


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="+", metavar="MODEL.gguf")
    parser.add_argument("--requests", type=int, default=100, metavar="N", help="(%(default)s)")
    parser.add_argument("--prompts", type=int, default=10, metavar="N", help="(%(default)s)")
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT, metavar="FILE", help="(%(default)s)")
    args = parser.parse_args(argv)
    wrong = 0
    with args.output.open("w", encoding="utf-8") as file:
        line = conditions(CONFIG, seed=SEED)
        del line["model"]
        write(file, line)
        for model in args.models:
            with model.open("rb") as opened:
                digest = hashlib.file_digest(opened, "sha256").hexdigest()
            found = {"file": model.name, "sha256": digest, "counted": count(model, args.requests)}
            found["reproducible"] = reproduce(model, args.prompts)
            write(file, found)
            print(found)
            again = found["reproducible"]
            wrong += found["counted"]["differing"]
            wrong += again["warm_differs_from_cold"] + again["server_differs_from_cold"]
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
