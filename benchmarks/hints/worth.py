"""The hit rate with and without hints, on a cache model that honours them, beside LRU and the best possible.

``worth.py -o benchmarks/hints/worth.jsonl`` (``make bench-hints``). Four shapes of
agents (``agents.py``) run over real documents with synthetic outputs; ``--concurrency`` items are in flight and make
their calls in turn. Hints come from the agents' source alone, before any input is seen. What is compared, on the same
prompts in the same order, full blocks only, answers not stored (so that Belady's choice is a bound for all):

- ``no_hints``: TensorRT-LLM's cache model as it is; ``hints``: the same, told what to retain and release;
- ``lru``: least recently used alone; ``belady``: evicts what is wanted last, with the whole future known;
- ``unbounded``: a cache that never evicts.

The first line says with what it was made.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from charter_compiler.api.environment import describe_environment
from charter_compiler.cache.policy_cache import Policy
from charter_compiler.cache.simulate import Engine, Setup, simulate
from charter_compiler.cache.trace import trace_of_prompts
from charter_compiler.config.hints.worth import HintedRequest, count_hits, worth_of
from charter_compiler.executor.entry import load_entry
from charter_compiler.executor.inputs import read_inputs
from charter_compiler.plan.derive_hints import derive_hints
from charter_compiler.plan.hints import HintAction
from charter_compiler.predict.control_flow import trace_agent
from charter_compiler.predict.evidence import hinted_requests, in_flight
from charter_compiler.predict.planning import analyse, calls_of_entry
from charter_compiler.predict.synthetic import SyntheticOutputs
from charter_compiler.tokens.tokenizer import load_tokenizer

HERE = Path(__file__).parent
SHAPES = ("chain", "conversation", "fan_out", "debate")
SIZE = 32
SHARES = (0.25, 0.5, 0.75)
"""Capacities, as shares of the blocks that the items in flight fill together."""


def requests_of(shape: str, inputs: Path, limit: int, concurrency: int) -> list[HintedRequest]:
    tokenizer = load_tokenizer()
    entry = f"{HERE / 'agents.py'}:{shape}"
    calls = calls_of_entry(entry)
    analysis = analyse(calls, tokenizer, SIZE)
    hints = derive_hints(analysis.graph, analysis.opportunities, tokenizer.chat_template)
    rows = [row for _, row in zip(range(limit), read_inputs(inputs), strict=False)]
    traces = trace_agent(load_entry(entry), rows, SyntheticOutputs(tokenizer), calls=calls)
    found = hinted_requests(in_flight(traces, concurrency), hints, tokenizer)
    return [replace(one, answer=one.answer[:1]) for one in found]


def in_flight_blocks(requests: list[HintedRequest], items: int, concurrency: int) -> int:
    """Distinct blocks of all prompts, by item, times the items that are in flight."""
    trace = trace_of_prompts([one.prompt for one in requests], SIZE)
    return trace.distinct_blocks * concurrency // items


def measure(shape: str, inputs: Path, limit: int, concurrency: int) -> Iterator[dict[str, Any]]:
    requests = requests_of(shape, inputs, limit, concurrency)
    trace = trace_of_prompts([one.prompt for one in requests], SIZE)
    longest = -(-max(len(one.prompt) + 1 for one in requests) // SIZE)
    whole = in_flight_blocks(requests, limit, concurrency)
    for share in SHARES:
        blocks = max(longest, round(share * whole))
        row: dict[str, Any] = {
            "shape": shape,
            "capacity_blocks": blocks,
            "share_of_in_flight": share,
            "requests": len(requests),
            "prompt_tokens": sum(len(one.prompt) for one in requests),
            "with_hints": sum(one.hints is not None and bool(one.hints.ranges) for one in requests),
        }
        row["no_hints"] = count_hits(requests, SIZE, blocks, (), partial_reuse=False).hit_rate
        row["hints"] = count_hits(requests, SIZE, blocks, partial_reuse=False).hit_rate
        for policy in (Policy.LRU, Policy.BELADY):
            row[str(policy)] = simulate(trace, Setup(Engine.TRTLLM, blocks, policy)).hit_rate
        row["unbounded"] = simulate(trace, Setup(Engine.UNBOUNDED, None)).hit_rate
        worth = worth_of(requests, SIZE, blocks, tuple(HintAction))
        row["worth_tokens"] = {str(action): tokens for action, tokens in worth.items()}
        yield row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=Path, default=HERE.parents[1] / "examples" / "data" / "documents.jsonl")
    parser.add_argument("--limit", type=int, default=60)
    parser.add_argument("--concurrency", type=int, default=8)
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    conditions = {
        "commit": commit,
        "inputs": args.inputs.name,
        "items": args.limit,
        "concurrency": args.concurrency,
        "tokens_per_block": SIZE,
        "environment": dict(describe_environment()),
    }
    with args.output.open("w", encoding="utf-8") as file:
        file.write(json.dumps(conditions) + "\n")
        for shape in SHAPES:
            for row in measure(shape, args.inputs, args.limit, args.concurrency):
                file.write(json.dumps(row) + "\n")
                figures = ", ".join(f"{n} {row[n]:.1%}" for n in ("no_hints", "hints", "lru", "belady", "unbounded"))
                print(f"{row['shape']:13} {row['capacity_blocks']:4} blocks: {figures}", flush=True)


if __name__ == "__main__":
    main()
