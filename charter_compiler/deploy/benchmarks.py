"""Benchmarks of a deployment: what its cache is worth, what batching gives, how a prefix's length counts.

They measure through the connection as it is: a tunnel's round trip is part of each latency.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from charter_compiler.api.environment import describe_environment
from charter_compiler.deploy.connect import Server, monitored
from charter_compiler.deploy.results import Figure
from charter_compiler.deploy.reuse import block_rate, recorded_block_rate, reused
from charter_compiler.deploy.settings import BatchBenchmark, Benchmarks, PrefixBenchmark, Settings
from charter_compiler.deploy.workload import DOCUMENTS, How, prose, run_example
from charter_compiler.diagnostics.errors import AgentError, UsageError
from charter_compiler.executor.metrics import Percentiles
from charter_compiler.executor.scheduler.mode import Mode

NO_REUSE, ENGINE_CACHE, CHARTER = "no reuse", "engine cache", "Charter"
MODES: Mapping[str, How] = {
    NO_REUSE: How(Mode.BASELINE, unshared=True),
    ENGINE_CACHE: How(Mode.BASELINE),
    CHARTER: How(Mode.OPTIMIZED, layout=True),
}
"""Of the cache benchmark, in the order in which its first iteration runs them; each later one begins one further."""
ABOUT = {
    "cache": f"Document processor, three dependent calls a document. '{NO_REUSE}': the same prompts, each behind a "
    f"text of its own, so that the engine finds nothing; '{ENGINE_CACHE}': as written, the engine's cache on; "
    f"'{CHARTER}': optimized with layout. Each run has documents of its own; constant text is warm from runs before, "
    "so that a measured rate can exceed the attainable one, which starts from an empty cache. A run of one document in "
    "each mode comes first and is not counted; each iteration begins with another mode than the one before.",
    "batch": "Calls with one warm prefix and tails of their own, so many in flight at once.",
    "prefix": "The first and the second call with a prefix of each length; the cache has not seen it before the first.",
}
BENCHMARKS = tuple(ABOUT)
Row = Mapping[str, Figure]
Observer = Callable[[str, Row], None]


@dataclass(frozen=True, slots=True)
class BenchmarkResult:
    """Raw rows: one a measurement, in the order in which they were made, with ``benchmark`` and ``iteration``.
    ``started`` is UTC in ISO form; ``monitored`` is how much each monitored sample of the server changed."""

    target: str
    server: str
    started: str
    iterations: int
    rows: tuple[Row, ...]
    monitored: Mapping[str, float]
    environment: tuple[tuple[str, str], ...]

    def of(self, benchmark: str) -> tuple[Row, ...]:
        """The rows of one benchmark."""
        return tuple(row for row in self.rows if row["benchmark"] == benchmark)


def run_benchmark(
    settings: Settings,
    server: Server,
    names: tuple[str, ...],
    iterations: int,
    folder: Path,
    observer: Observer = lambda name, row: None,
) -> BenchmarkResult:
    """Run them one after the other; files of the agent runs go to ``folder``.

    Raises:
        UsageError: there is no such benchmark.
        AgentError: an item of an agent run failed; figures of the rest would compare unlike work.
        TargetError: the server failed.
    """
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        raise UsageError(f"there is no benchmark {unknown[0]!r}", remedy=f"one of {', '.join(BENCHMARKS)}, or all")
    started = datetime.now(UTC).isoformat(timespec="seconds")
    before = monitored(server, settings.monitoring.metrics)
    rows: list[Row] = []
    for name in names:
        if name == "cache":
            warm_up(settings.benchmarks, server, folder / "warm-up")
        for iteration in range(1, iterations + 1):
            for row in _measure(name, settings.benchmarks, server, folder / f"{name}-{iteration}", iteration):
                rows.append({"benchmark": name, "iteration": iteration, **row})
                observer(name, rows[-1])
    after = monitored(server, settings.monitoring.metrics)
    return BenchmarkResult(
        target=server.target,
        server=f"{server.kind}, {server.facts.model}, Triton {server.version}",
        started=started,
        iterations=iterations,
        rows=tuple(rows),
        monitored={key: value - before.get(key, 0.0) for key, value in after.items()},
        environment=describe_environment(),
    )


def _measure(name: str, settings: Benchmarks, server: Server, folder: Path, iteration: int) -> Iterator[Row]:
    if name == "cache":
        return cache_rows(settings, server, folder, modes_of(iteration))
    if name == "batch":
        return batch_rows(settings.batch, server)
    return prefix_rows(settings.prefix, server)


def modes_of(iteration: int) -> tuple[str, ...]:
    """The modes in the order of an iteration, from 1: were it always the same, the last one would find the server and
    the constant text warmer than the others."""
    names, first = tuple(MODES), (iteration - 1) % len(MODES)
    return names[first:] + names[:first]


def warm_up(settings: Benchmarks, server: Server, folder: Path) -> None:
    """One document in each mode, not counted: the first request to an engine is slower than any later one."""
    one = replace(settings, cache=replace(settings.cache, items=1))
    for _ in cache_rows(one, server, folder, tuple(MODES)):
        pass


def cache_rows(settings: Benchmarks, server: Server, folder: Path, modes: tuple[str, ...]) -> Iterator[Row]:
    """One row a mode."""
    for mode in modes:
        how = MODES[mode]
        report = run_example(server, DOCUMENTS, settings.cache, how, folder / mode.replace(" ", "-"))
        if report.first_error is not None:
            index, error = report.first_error
            raise AgentError(f"{error.type}: {error.message}", place=f"{report.rows}, item {index}")
        metrics = report.metrics
        assert report.recording is not None, "run_example records"
        yield {
            "mode": mode,
            "items": metrics.items,
            "calls": metrics.calls,
            "prompt_tokens": metrics.prompt_tokens,
            "cached_tokens": metrics.cached_tokens,
            "hit_rate": metrics.hit_rate,
            "block_hit_rate": recorded_block_rate(report.recording),
            "attainable_hit_rate": metrics.attainable_hit_rate,
            "predicted_hit_rate": metrics.predicted_hit_rate,
            "output_tokens": metrics.output_tokens,
            "wall_s": metrics.wall_s,
            "s_per_item": metrics.wall_s / metrics.items,
            "ttft_p50_s": metrics.ttft_s.p50,
            "ttft_p95_s": metrics.ttft_s.p95,
            "latency_p50_s": metrics.latency_s.p50,
            "latency_p95_s": metrics.latency_s.p95,
        }


def batch_rows(settings: BatchBenchmark, server: Server) -> Iterator[Row]:
    """One row a size."""
    prefix = prose(settings.prefix_words, own=True)
    with server.client() as client:
        client.prepopulate_cache([prefix])
        for size in settings.sizes:
            calls = size * settings.rounds
            prompts = [f"{prefix}\nQuestion {prose(8, own=True)}:" for _ in range(calls)]
            begun = time.perf_counter()
            results = client.infer_batch(prompts, concurrency=size, max_tokens=settings.max_tokens)
            wall = time.perf_counter() - begun
            prompt = _total([result.prompt_tokens for result in results])
            cached = _total([result.cached_tokens for result in results])
            output = _total([result.output_tokens for result in results])
            latency = Percentiles.of([result.latency for result in results])
            yield {
                "in_flight": size,
                "calls": calls,
                "wall_s": wall,
                "calls_per_s": calls / wall,
                "output_tokens_per_s": None if output is None else output / wall,
                "hit_rate": cached / prompt if prompt and cached is not None else None,
                "block_hit_rate": block_rate(result.details for result in results),
                "ttft_p50_s": Percentiles.of([one.ttft for one in results if one.ttft is not None]).p50,
                "latency_p50_s": latency.p50,
                "latency_p95_s": latency.p95,
            }


def prefix_rows(settings: PrefixBenchmark, server: Server) -> Iterator[Row]:
    """One row a length."""
    with server.client() as client:
        for words in settings.words:
            prefix = prose(words, own=True)
            cold, warm = (
                client.infer_with_cache(f"{prefix}\nQuestion {number}:", max_tokens=settings.max_tokens)
                for number in (1, 2)
            )
            yield {
                "words": words,
                "prompt_tokens": warm.prompt_tokens,
                "cold_reused": reused(cold),
                "warm_reused": reused(warm),
                "hit_rate": warm.hit_rate,
                "block_hit_rate": block_rate([warm.details]),
                "cold_ttft_s": cold.ttft,
                "warm_ttft_s": warm.ttft,
                "ttft_speedup": None if cold.ttft is None or not warm.ttft else cold.ttft / warm.ttft,
            }


def _total(values: list[int | None]) -> int | None:
    """``None`` where one is not reported: a sum without it would be wrong."""
    return None if None in values else sum(value for value in values if value is not None)
