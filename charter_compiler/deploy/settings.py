"""What ``configs/lambda_labs.yaml`` holds. The same file serves a GPU instance and the embedded server.

Times are in seconds, rates from 0 to 1. ``None`` as a threshold means that nothing is judged.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from charter_compiler.deploy.schema import Range, load

Count = Annotated[int, Range(1)]
Port = Annotated[int, Range(1, 65535)]
Rate = Annotated[float | None, Range(0, 1)]
Seconds = Annotated[float, Range(0.001)]
Limit = Annotated[float | None, Range(0)]

AUTO = "auto"
"""As a model: ``ensemble`` where the server has one (the engine profile), else ``tensorrt_llm`` (llmapi)."""


@dataclass(frozen=True, slots=True)
class Connection:
    """Where the server is reached, as a rule through the tunnel. ``url`` is gRPC, ``host:port``; ``tokenizer`` is a
    ``tokenizer.json``, a folder that holds one, or a hub name: with it there are predictions, and rates are compared
    with what was attainable."""

    url: str = "localhost:8001"
    http_url: str | None = "http://localhost:8000"
    metrics_url: str | None = "http://localhost:8002/metrics"
    model: str = AUTO
    timeout_s: Seconds = 120.0
    tokenizer: str | None = None


@dataclass(frozen=True, slots=True)
class Cache:
    """``tokens_per_block``: where the server tells it neither in its configuration nor in its metrics (llmapi)."""

    tokens_per_block: Annotated[int | None, Range(1)] = None


@dataclass(frozen=True, slots=True)
class AgentCase:
    """A run of an example agent. ``items`` rows are taken; ``text_characters`` shortens each field of a row."""

    enabled: bool = True
    items: Count = 8
    max_tokens: Count = 64
    concurrency: Count = 4
    text_characters: Annotated[int | None, Range(1)] = None


@dataclass(frozen=True, slots=True)
class PrepopulationCase:
    """A prefix of about ``prefix_words`` words, warmed, then used by ``calls`` calls; another one that is not warmed
    stands beside it."""

    enabled: bool = True
    prefix_words: Count = 600
    calls: Count = 4
    max_tokens: Count = 16


@dataclass(frozen=True, slots=True)
class Cases:
    """The acceptance tests; health always runs, since the others need it."""

    sequential_chain: AgentCase = field(default_factory=AgentCase)
    delta_matching: AgentCase = field(default_factory=AgentCase)
    prepopulation: PrepopulationCase = field(default_factory=PrepopulationCase)


@dataclass(frozen=True, slots=True)
class CaseThresholds:
    """What a case must reach. The rates hold on every server; the times are judged on a GPU alone, since the embedded
    server computes on a CPU."""

    min_hit_rate: Rate = None
    min_share_of_attainable: Rate = None
    max_ttft_p95_s: Limit = None
    max_latency_p95_s: Limit = None
    min_ttft_speedup: Limit = None


@dataclass(frozen=True, slots=True)
class Thresholds:
    """By case."""

    sequential_chain: CaseThresholds = field(default_factory=CaseThresholds)
    delta_matching: CaseThresholds = field(default_factory=CaseThresholds)
    prepopulation: CaseThresholds = field(default_factory=CaseThresholds)


@dataclass(frozen=True, slots=True)
class BatchBenchmark:
    """Calls with a shared prefix, ``sizes`` of them in flight; ``rounds`` times that many calls a size."""

    sizes: tuple[Count, ...] = (1, 2, 4, 8, 16, 32)
    rounds: Count = 4
    prefix_words: Count = 400
    max_tokens: Count = 64


@dataclass(frozen=True, slots=True)
class PrefixBenchmark:
    """First and second call with a prefix of each length in words (a token is less than a word)."""

    words: tuple[Count, ...] = (50, 100, 200, 400, 800, 1600)
    max_tokens: Count = 8


@dataclass(frozen=True, slots=True)
class Benchmarks:
    """``cache`` is a run of the document processor in three modes; its ``enabled`` is not looked at."""

    iterations: Count = 3
    cache: AgentCase = field(default_factory=AgentCase)
    batch: BatchBenchmark = field(default_factory=BatchBenchmark)
    prefix: PrefixBenchmark = field(default_factory=PrefixBenchmark)


@dataclass(frozen=True, slots=True)
class Monitoring:
    """Prometheus samples whose names begin with one of ``metrics`` are recorded around each test and benchmark."""

    metrics: tuple[str, ...] = ("nv_inference_request_success", "nv_trt_llm_kv_cache_block_metrics", "nv_gpu_")


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole file."""

    connection: Connection = field(default_factory=Connection)
    cache: Cache = field(default_factory=Cache)
    tests: Cases = field(default_factory=Cases)
    thresholds: Thresholds = field(default_factory=Thresholds)
    benchmarks: Benchmarks = field(default_factory=Benchmarks)
    monitoring: Monitoring = field(default_factory=Monitoring)


def load_settings(path: Path, changes: Iterable[str] = ()) -> Settings:
    """Read the file; ``changes`` (``a.b=VALUE``) replace what stands there. Raises ConfigError, as ``schema.load``."""
    return load(Settings, path, changes)
