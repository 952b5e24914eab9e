"""Agents on the server, as written and under Charter: the same documents, the same engine, in turn, its cache emptied
before each run.

``as_written`` is the agent with the stock ``openai`` client in as many threads as items may run at once
(``benchmarks/runtime/plain.py``); ``cache_off`` the same with the engine's prefix sharing off; ``charter`` is what
``charter run`` does, ``charter_layout`` with ``--layout``.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
from raw_rows import ROOT, Budget, Row, Rows

sys.path.append(str(ROOT / "benchmarks" / "runtime"))

from plain import plain_run

from charter_compiler.api.measured_run import measured_run
from charter_compiler.api.run_request import PredictWhen, RunRequest
from charter_compiler.executor.run.options import RunOptions
from charter_compiler.executor.targets import TargetOptions
from charter_compiler.tokens.models import DEFAULT_MODEL

DATA = ROOT / "examples" / "data"
AGENTS = ROOT / "examples" / "agents"
CHAIN = f"{AGENTS / 'document_processor.py'}:DocumentProcessor.process"
DELTA = f"{AGENTS / 'delta_processor.py'}:DeltaProcessor.process"
STAGES = {"extract": "Task: extract", "compare": "Task: compare", "classify": "Task: classify"}
LONG = 10_500
"""Characters of a long document, about 3,000 tokens: documents of the data folder one after another, cut there."""
ARMS = ("as_written", "charter_layout", "charter", "cache_off")
MAX_TOKENS = 24
CONCURRENCY = 16


@dataclass(frozen=True, slots=True)
class Case:
    """An agent, its rows, and the cache it meets: ``blocks`` of 32 tokens, ``None`` for all there are. The arms are
    those of ``ARMS`` that are named."""

    entry: str
    source: str
    items: int
    blocks: int | None = None
    eviction: str = "transformers"
    arms: tuple[str, ...] = ARMS


CASES = {
    "documents": Case(CHAIN, "documents", 32),
    "long_documents": Case(CHAIN, "long", 16),
    "documents_small_cache": Case(CHAIN, "documents", 16, blocks=256, arms=ARMS[:3]),
    "companies": Case(DELTA, "companies", 32),
    "documents_small_lru": Case(CHAIN, "documents", 16, blocks=256, eviction="lru", arms=ARMS[:3]),
    "long_documents_small_lru": Case(CHAIN, "long", 16, blocks=768, eviction="lru", arms=ARMS[:3]),
}
"""In the order of their worth: a round goes through all of them, and time may end before the last. 256 blocks hold
seven of the documents at once, as in the comparison with vLLM; 768 hold as many long ones."""


def case_rows(case: Case) -> list[Row]:
    """The inputs of a case, from the examples' data."""
    if case.source == "companies":
        return _read("companies.jsonl")[: case.items]
    texts = [str(row["document"]).strip() for row in _read("documents.jsonl")]
    if case.source == "documents":
        return [{"document": text} for text in islice(texts, case.items)]
    return [{"document": long_document(texts, 3 * number)} for number in range(case.items)]


def long_document(texts: list[str], first: int) -> str:
    """Documents from ``first`` on, around the end if need be, cut at ``LONG`` characters."""
    joined, number = "", first
    while len(joined) < LONG:
        joined += texts[number % len(texts)] + "\n\n"
        number += 1
    return joined[:LONG].strip()


def _read(name: str) -> list[Row]:
    return [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").splitlines()]


class Agents:
    """Runs on one server. ``folder`` is for the runs' files."""

    def __init__(self, url: str, model: str, rows: Rows, folder: Path) -> None:
        self._url = url
        self._target = f"openai://{url.removeprefix('http://')}/v1?model={model}"
        self._rows = rows
        self._folder = folder
        self._took: dict[tuple[str, str], float] = {}

    def rounds(self, names: Iterable[str], numbers: Iterable[int], budget: Budget) -> None:
        """Each arm of each case once a round; every other round the arms the other way round."""
        for number in numbers:
            for name in names:
                case = CASES[name]
                for arm in case.arms if number % 2 == 0 else reversed(case.arms):
                    if not budget.allows(self._took.get((name, arm), 10.0)):
                        print(f"no time for {name}, {arm}, round {number}", flush=True)
                        continue
                    start = time.perf_counter()
                    self._rows.guarded(
                        f"agents {name} {arm} {number}", lambda c=case, n=name, a=arm, r=number: self._one(c, n, a, r)
                    )
                    self._took[name, arm] = time.perf_counter() - start

    def warm_up(self) -> None:
        """Both clients, and batches as large as they come, for what a process does only once; not kept."""
        case = CASES["documents"]
        rows = case_rows(case)[:CONCURRENCY]
        self._reset(case, "as_written")
        plain_run(CHAIN, rows, self._target, concurrency=CONCURRENCY, max_tokens=MAX_TOKENS)
        self._charter(case, rows[:1], layout=True)

    def _one(self, case: Case, name: str, arm: str, number: int) -> None:
        inputs = case_rows(case)
        self._reset(case, arm)
        start = time.perf_counter()
        if arm in ("as_written", "cache_off"):
            run = plain_run(case.entry, inputs, self._target, concurrency=CONCURRENCY, max_tokens=MAX_TOKENS)
            told: Row = {
                "calls": run.calls, "failed": 0, "prompt_tokens": run.prompt_tokens,
                "cached_tokens": run.cached_tokens, "output_tokens": run.output_tokens, "wall_s": run.wall_s,
            }  # fmt: skip
        else:
            told = self._charter(case, inputs, layout=arm == "charter_layout")
        seconds = time.perf_counter() - start
        calls = httpx.get(f"{self._url}/calls", timeout=60, trust_env=False).json()
        row = {"part": "agents", "case": name, "arm": arm, "round": number, "items": len(inputs)} | told
        row |= {"seconds": round(seconds, 3), "hit_rate": told["cached_tokens"] / told["prompt_tokens"]}
        row |= {"blocks": case.blocks, "eviction": case.eviction, "concurrency": CONCURRENCY, "max_tokens": MAX_TOKENS}
        row |= engine_view(calls)
        self._rows.write(row)
        print(name, arm, number, f"{row['wall_s']:.2f} s, hit rate {row['hit_rate']:.1%}", flush=True)

    def _charter(self, case: Case, inputs: list[Row], *, layout: bool) -> Row:
        """``charter run`` with its defaults; without a memo store, which would answer the next round."""
        file = self._folder / "in.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in inputs), encoding="utf-8")
        request = RunRequest(
            entry=case.entry,
            inputs=file,
            output=self._folder / "out.jsonl",
            target=self._target,
            target_options=TargetOptions(tokenizer=DEFAULT_MODEL.name),
            options=RunOptions(concurrency=CONCURRENCY, max_tokens=MAX_TOKENS),
            predict=PredictWhen.PURE,
            layout=layout,
        )
        report = measured_run(request)
        if report.stopped is not None:
            raise report.stopped
        if report.metrics.failed:
            raise RuntimeError(f"{report.metrics.failed} items failed: {report.first_error}")
        metrics = report.metrics.to_json()
        kept = ("calls", "failed", "prompt_tokens", "cached_tokens", "output_tokens", "wall_s", "predicted_hit_rate",
                "attainable_hit_rate", "latency_s", "ttft_s")  # fmt: skip
        return {name: metrics[name] for name in kept} | {"notes": list(report.notes)}

    def _reset(self, case: Case, arm: str) -> None:
        body = {
            "blocks": case.blocks, "sharing": arm != "cache_off", "eviction": case.eviction,
            "labels": STAGES if case.entry == CHAIN else {},
        }  # fmt: skip
        httpx.post(f"{self._url}/reset", json=body, timeout=120, trust_env=False).raise_for_status()


def engine_view(calls: list[Mapping[str, Any]]) -> Row:
    """What the server saw of a run. ``first_cached``: cached tokens of the call that came first, 0 on an empty cache.
    ``stages``: by stage, medians of the time to the first token, and tokens. ``engine_calls``: every call as stage,
    arrival, time to first token, latency (seconds), tokens of prompt, cached, of output, and restarts."""
    begin = min(call["arrived"] for call in calls)
    stages: dict[str, Row] = {}
    for label in dict.fromkeys(call["label"] for call in calls):
        those = [call for call in calls if call["label"] == label]
        stages[label] = {
            "calls": len(those),
            "ttft_s": round(statistics.median(call["first"] - call["arrived"] for call in those), 6),
            "prompt_tokens": sum(call["prompt_tokens"] for call in those),
            "cached_tokens": sum(call["cached_tokens"] for call in those),
        }
    return {
        "first_cached": min(calls, key=lambda call: call["arrived"])["cached_tokens"],
        "restarts": sum(call["restarts"] for call in calls),
        "stages": stages,
        "engine_calls": [
            [
                call["label"], round(call["arrived"] - begin, 4), round(call["first"] - call["arrived"], 4),
                round(call["finished"] - call["arrived"], 4), call["prompt_tokens"], call["cached_tokens"],
                call["output_tokens"], call["restarts"],
            ]
            for call in calls
        ],
    }  # fmt: skip
