"""sglang-router in front of four replicas, beside Charter's own placement: what each lets the caches reuse.

    python benchmarks/peers/routing.py -o benchmarks/peers/routing.jsonl --python .venv-tools/bin/python

The workload is that of `benchmarks/endpoints`: 16 documents with four questions each, three calls an item, eight items
in flight, four replicas whose caches together hold about what the documents need. A replica is the engine's model
behind HTTP (`worker.py`), a stand-in that computes nothing and takes the time of its cost model. Each run has new
replicas and a new router. Hit rates and counts, no times.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

from client import Outcome, send_all
from router_process import running_router, version_and_defaults
from worker import Counts, serving_worker

from charter_compiler.api.measured_run import measured_run
from charter_compiler.api.run_request import RunRequest
from charter_compiler.bench.conditions import conditions
from charter_compiler.executor.metrics import imbalance
from charter_compiler.executor.run.options import RunOptions
from charter_compiler.executor.scheduler.mode import Mode
from charter_compiler.plan.placement import Placement

ENDPOINTS = Path(__file__).resolve().parents[1] / "endpoints"
sys.path.append(str(ENDPOINTS))
from workload import BLOCK_SIZE, BLOCKS, IN_FLIGHT, write_inputs  # noqa: E402  of the folder beside this one

ENTRY = ENDPOINTS / "document_desk.py"
REPLICAS = 4
SPEED = 4.0
"""Model seconds a real second: calls take time, as the engine's cost model says, so that a router sees load."""
REPLICA = f"sim://trtllm?blocks={BLOCKS // REPLICAS}&block_size={BLOCK_SIZE}&context=512&speed={SPEED:g}"


@dataclass(frozen=True, slots=True)
class Charter:
    """A run of Charter on the four engines."""

    name: str
    placement: Placement
    mode: Mode = Mode.OPTIMIZED


@dataclass(frozen=True, slots=True)
class Routed:
    """A plain client that sends items in the order given, through the router with these arguments, ``None`` for those
    that ``charter compile`` writes. ``sorted``: items of one document follow each other. ``keyed``: each request names
    its document in ``X-SMG-Routing-Key``."""

    name: str
    arguments: tuple[str, ...] | None
    sorted: bool = False
    keyed: bool = False


CHARTER = (
    Charter("by prefix", Placement.PREFIX),
    Charter("by prefix, items in the order given", Placement.PREFIX, Mode.BASELINE),
    Charter("items by load", Placement.LOAD),
    Charter("calls in turn", Placement.ROUND_ROBIN),
)
CACHE_AWARE = ("--policy", "cache_aware")
TUNED = (*CACHE_AWARE, "--cache-threshold", "0.5", "--balance-abs-threshold", "4")
MANUAL = ("--policy", "manual", "--assignment-mode", "min_group")
ROUTED = (
    Routed("cache_aware, its defaults", CACHE_AWARE),
    Routed("cache_aware, its defaults, items sorted by document", CACHE_AWARE, sorted=True),
    Routed("cache_aware, as charter compile writes it", None),
    Routed("cache_aware, tuned for this workload", TUNED),
    Routed("manual, key: the document", MANUAL, keyed=True),
    Routed("manual, key: the document, items sorted by document", MANUAL, sorted=True, keyed=True),
    Routed("power_of_two", ("--policy", "power_of_two")),
    Routed("round_robin", ("--policy", "round_robin")),
    Routed("random", ("--policy", "random")),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="F.jsonl")
    parser.add_argument("--python", type=Path, required=True, help="of the environment with sglang-router")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="arms whose name holds this text")
    args = parser.parse_args()
    with args.output.open("w", encoding="utf-8") as file, tempfile.TemporaryDirectory() as folder:
        facts = conditions(seed=0, engine=REPLICA) | {"sglang_router": version_and_defaults(args.python)}
        for row in chain([facts], rows(args.python, args.rounds, args.only, Path(folder))):
            print(json.dumps(row), file=file, flush=True)
            print(*(row.get(key) for key in ("router", "arm", "measured", "imbalance")), file=sys.stderr, flush=True)


def rows(python: Path, rounds: int, only: str, folder: Path) -> Iterator[dict[str, Any]]:
    """A row an arm and round; the rounds one after the other, each with all arms."""
    inputs = write_inputs("four servers", folder)
    for number in range(rounds):
        for arm in CHARTER:
            if only in arm.name:
                yield {"round": number} | charter_row(arm, inputs, folder)
        for each in ROUTED:
            if only in each.name:
                yield {"round": number} | asyncio.run(routed_row(each, inputs, python, folder))


@cache
def compiled_arguments(inputs: Path, folder: Path) -> tuple[str, ...]:
    """Policy and thresholds in ``sglang_router.args`` of ``charter compile``; its addresses are placeholders."""
    command = [
        sys.executable, "-m", "charter_compiler.cli.main", "compile", f"{ENTRY}:answer", "--inputs", inputs,
        "--replicas", str(REPLICAS), "--concurrency", str(IN_FLIGHT // REPLICAS), "--target", REPLICA, "-o", folder,
    ]  # fmt: skip
    subprocess.run(list(map(str, command)), check=True, capture_output=True, timeout=300)
    (written,) = folder.glob("config/*/routers/sglang_router.args")
    words = shlex.split(written.read_text(encoding="utf-8"), comments=True)
    wanted = ("--policy", "--cache-threshold", "--balance-abs-threshold", "--balance-rel-threshold")
    return tuple(word for name in wanted for word in (name, words[words.index(name) + 1]))


def charter_row(arm: Charter, inputs: Path, folder: Path) -> dict[str, Any]:
    """One run of Charter; its engines are called without HTTP."""
    options = RunOptions(mode=arm.mode, concurrency=IN_FLIGHT // REPLICAS, placement=arm.placement)
    targets = ",".join([REPLICA] * REPLICAS)
    request = RunRequest(f"{ENTRY}:answer", inputs, folder / "out.jsonl", targets, options=options)
    report = measured_run(request)
    if report.stopped is not None:
        raise report.stopped
    metrics = report.metrics
    shares = [{"calls": each.calls, "tokens": each.tokens, "measured": each.hit_rate} for each in metrics.endpoints]
    return {
        "router": "charter", "arm": arm.name, "mode": arm.mode, "placement": arm.placement, **sizes(),
        "items": metrics.items, "failed": metrics.failed, "answered": metrics.calls, "refused": {},
        "calls_at_replicas": sum(share["calls"] for share in shares), "prompt_tokens": metrics.prompt_tokens,
        "cached_tokens": metrics.cached_tokens, "measured": metrics.hit_rate,
        "attainable": metrics.attainable_hit_rate, "imbalance": metrics.imbalance, "replicas": shares,
    }  # fmt: skip


async def routed_row(arm: Routed, inputs: Path, python: Path, folder: Path) -> dict[str, Any]:
    """One run through the router. An arm that it does not start with is a row with the reason."""
    arguments = compiled_arguments(inputs, folder) if arm.arguments is None else arm.arguments
    about = {"router": "sglang-router", "arm": arm.name, "arguments": arguments, "keyed": arm.keyed, **sizes()}
    async with AsyncExitStack() as stack:
        workers = [await stack.enter_async_context(serving_worker(REPLICA)) for _ in range(REPLICAS)]
        try:
            urls = [worker.url for worker in workers]
            router = await stack.enter_async_context(running_router(python, arguments, urls))
        except RuntimeError as error:
            return about | {"error": str(error)}
        items, key = items_of(arm, inputs), document_key if arm.keyed else None
        outcome = await asyncio.to_thread(send_all, router, ENTRY, items, IN_FLIGHT, BLOCK_SIZE, key)
        return about | figures(outcome, [await worker.counts() for worker in workers])


def items_of(arm: Routed, inputs: Path) -> list[dict[str, str]]:
    rows = [json.loads(line) for line in inputs.read_text(encoding="utf-8").splitlines()]
    return sorted(rows, key=lambda row: row["document"]) if arm.sorted else rows


def document_key(row: Mapping[str, str]) -> str:
    """What the requests of an item tell the router."""
    return hashlib.blake2b(row["document"].encode(), digest_size=8).hexdigest()


def figures(outcome: Outcome, counts: list[Counts]) -> dict[str, Any]:
    """Tokens as the engines count them; the client's own counts say what was answered."""
    prompt, cached = sum(each.prompt_tokens for each in counts), sum(each.cached_tokens for each in counts)
    loads = [each.prompt_tokens + each.output_tokens for each in counts]
    return {
        "items": outcome.items, "failed": outcome.failed, "answered": outcome.answered, "refused": outcome.refused,
        "calls_at_replicas": sum(each.calls for each in counts), "prompt_tokens": prompt, "cached_tokens": cached,
        "measured": cached / prompt, "attainable": outcome.attainable_tokens / outcome.prompt_tokens,
        "imbalance": imbalance(loads),
        "replicas": [asdict(each) | {"measured": each.cached_tokens / max(1, each.prompt_tokens)} for each in counts],
    }  # fmt: skip


def sizes() -> dict[str, Any]:
    return {"servers": REPLICAS, "blocks_each": BLOCKS // REPLICAS, "block_size": BLOCK_SIZE, "in_flight": IN_FLIGHT}


if __name__ == "__main__":
    main()
