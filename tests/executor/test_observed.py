"""Charter's own metrics: what they count, and that the shipped dashboard asks for nothing else."""

from __future__ import annotations

import json
import re
from pathlib import Path

from charter_compiler.diagnostics.errors import TargetTimeoutError
from charter_compiler.executor.calls import CallRecord
from charter_compiler.executor.observed import CallMetrics
from charter_compiler.executor.prometheus import parse_metrics
from charter_compiler.executor.types import GenerationRequest, GenerationResult

DASHBOARD = Path(__file__).parents[2] / "docs" / "grafana" / "charter.json"


def record(*, cached: int | None = 32, memoized: bool = False) -> CallRecord:
    result = GenerationResult("x", 0.3, 0.1, 64, cached, 5)
    return CallRecord(0, 0, None, GenerationRequest(prompt="a"), result, 1.0, 1.02, 1.1, 1.3, None, memoized)


def counted() -> dict[str, float]:
    metrics = CallMetrics()
    metrics.record(record())
    metrics.record(record(cached=None))
    metrics.record(record(memoized=True))
    metrics.failed(TargetTimeoutError("late"))
    return parse_metrics(metrics.text(), place="metrics")


def test_calls_tokens_and_times_are_counted() -> None:
    found = counted()
    assert found['charter_calls_total{source="engine"}'] == 2
    assert found['charter_calls_total{source="memo"}'] == 1
    assert found['charter_call_failures_total{error="TargetTimeoutError"}'] == 1
    assert [found[f'charter_tokens_total{{kind="{kind}"}}'] for kind in ("prompt", "cached", "output")] == [128, 32, 10]
    assert found["charter_calls_without_cached_tokens_total"] == 1
    assert found['charter_call_seconds_bucket{le="0.25"}'] == 0
    assert found['charter_call_seconds_bucket{le="0.5"}'] == found["charter_call_seconds_count"] == 2
    assert found['charter_queue_seconds_bucket{le="0.025"}'] == 2


def test_the_dashboard_asks_for_metrics_that_there_are() -> None:
    names = {key.partition("{")[0] for key in counted()}
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    asked = {
        name for panel in panels for target in panel["targets"] for name in re.findall(r"charter_\w+", target["expr"])
    }
    assert asked <= names
    assert len(panels) == 8
