"""Prometheus metrics of the engine, with TensorRT-LLM's names where it has one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import triton_python_backend_utils as pb_utils

from charter_compiler.serve.engine.interface import EngineStats

BLOCKS = "nv_trt_llm_kv_cache_block_metrics"
REQUESTS = "nv_trt_llm_request_metrics"
TOKENS = "charter_tokens_total"
EVICTED = "charter_blocks_evicted_total"
SEQUENCES = "charter_sequences"
PEAK = "charter_blocks_used_peak"

_BLOCK_VALUES: dict[str, Callable[[EngineStats], float]] = {
    "max": lambda stats: stats.max_blocks,
    "free": lambda stats: stats.free_blocks,
    "used": lambda stats: stats.used_blocks,
    "tokens_per": lambda stats: stats.tokens_per_block,
    "reused": lambda stats: stats.reused_blocks,
    "fraction": lambda stats: stats.used_blocks / stats.max_blocks,
}
_REQUEST_VALUES: dict[str, Callable[[EngineStats], float]] = {
    "active": lambda stats: stats.running + stats.waiting,
    "scheduled": lambda stats: stats.running,
    "waiting": lambda stats: stats.waiting,
}
_PEAK_VALUES: dict[str, Callable[[EngineStats], float]] = {"used": lambda stats: stats.peak_used_blocks}
_EVICTED_VALUES: dict[str, Callable[[EngineStats], float]] = {
    "blocks": lambda stats: stats.evicted_blocks - stats.evicted_for_sequences,
    "sequences": lambda stats: stats.evicted_for_sequences,
}
_SEQUENCE_VALUES: dict[str, Callable[[EngineStats], float]] = {
    "max": lambda stats: stats.max_sequences,
    "used": lambda stats: stats.sequences,
}
_TOKEN_VALUES: dict[str, Callable[[EngineStats], float]] = {
    "prompt": lambda stats: stats.prompt_tokens,
    "cached": lambda stats: stats.cached_tokens,
    "output": lambda stats: stats.output_tokens,
    "decoded": lambda stats: stats.decoded_tokens,
}


class EngineMetrics:
    """One instance a model; ``update`` after each change."""

    def __init__(self, model: str, version: str) -> None:
        labels = {"model": model, "version": version}
        gauge, counter = pb_utils.MetricFamily.GAUGE, pb_utils.MetricFamily.COUNTER
        blocks = pb_utils.MetricFamily(name=BLOCKS, description="TRT LLM KV cache block metrics", kind=gauge)
        requests = pb_utils.MetricFamily(name=REQUESTS, description="TRT LLM request metrics", kind=gauge)
        tokens = pb_utils.MetricFamily(name=TOKENS, description="Tokens since the start of the server", kind=counter)
        evicted = pb_utils.MetricFamily(
            name=EVICTED, description="Cached blocks forgotten, by what was short", kind=counter
        )
        sequences = pb_utils.MetricFamily(name=SEQUENCES, description="Sequences that cached branches need", kind=gauge)
        peak = pb_utils.MetricFamily(name=PEAK, description="The most blocks that were used at once", kind=gauge)
        # Triton wants a family to outlive its metrics.
        self._families: tuple[Any, ...] = (blocks, requests, tokens, evicted, sequences, peak)
        self._gauges: list[tuple[Any, Callable[[EngineStats], float]]] = [
            *_metrics(blocks, "kv_cache_block_type", _BLOCK_VALUES, labels),
            *_metrics(requests, "request_type", _REQUEST_VALUES, labels),
            *_metrics(sequences, "kind", _SEQUENCE_VALUES, labels),
            *_metrics(peak, "kind", _PEAK_VALUES, labels),
        ]
        self._counters = [
            *_metrics(tokens, "kind", _TOKEN_VALUES, labels),
            *_metrics(evicted, "cause", _EVICTED_VALUES, labels),
        ]
        self._counted = dict.fromkeys(range(len(self._counters)), 0.0)

    def close(self) -> None:
        """Give the metrics back to Triton. What the backend's process still holds of them when it ends makes it crash
        (https://github.com/triton-inference-server/server/issues/8662)."""
        self._gauges.clear()
        self._counters.clear()
        self._families = ()

    def update(self, stats: EngineStats) -> None:
        for metric, value in self._gauges:
            metric.set(float(value(stats)))
        for index, (metric, value) in enumerate(self._counters):
            total = float(value(stats))
            metric.increment(total - self._counted[index])
            self._counted[index] = total


def _metrics(
    family: Any, label: str, values: dict[str, Callable[[EngineStats], float]], labels: dict[str, str]
) -> list[tuple[Any, Callable[[EngineStats], float]]]:
    return [(family.Metric(labels={**labels, label: name}), value) for name, value in values.items()]
