"""Charter's own figures in the text format of Prometheus (0.0.4)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from charter_compiler.diagnostics.errors import CharterError
from charter_compiler.executor.calls import CallRecord

BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 60.0, 150.0)
"""Upper borders of the histograms, in seconds."""


class _Histogram:
    def __init__(self) -> None:
        self._counts = [0] * (len(BUCKETS) + 1)
        self._sum = 0.0

    def add(self, seconds: float) -> None:
        self._counts[next((n for n, border in enumerate(BUCKETS) if seconds <= border), len(BUCKETS))] += 1
        self._sum += seconds

    def lines(self, name: str, help_text: str) -> Iterator[str]:
        yield from _head(name, "histogram", help_text)
        total = 0
        for border, count in zip((*map(str, BUCKETS), "+Inf"), self._counts, strict=True):
            total += count
            yield f'{name}_bucket{{le="{border}"}} {total}'
        yield f"{name}_sum {self._sum}"
        yield f"{name}_count {total}"


class CallMetrics:
    """Counts calls as they are answered or fail. Owned by one event loop."""

    def __init__(self) -> None:
        self._calls = Counter[str]({"engine": 0, "memo": 0})
        self._failures = Counter[str]()
        self._tokens = Counter[str]({"prompt": 0, "cached": 0, "output": 0})
        self._sites: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._unreported = 0
        self._latency, self._ttft, self._queued = _Histogram(), _Histogram(), _Histogram()
        self.open = 0

    def record(self, record: CallRecord) -> None:
        """An answered call."""
        if record.memoized:
            self._calls["memo"] += 1
            return
        result = record.result
        self._calls["engine"] += 1
        self._unreported += result.cached_tokens is None
        self._tokens["prompt"] += result.prompt_tokens or 0
        self._tokens["cached"] += result.cached_tokens or 0
        self._tokens["output"] += result.output_tokens or 0
        if record.site is not None:
            self._sites[record.site.label].update(
                calls=1, prompt=result.prompt_tokens or 0, cached=result.cached_tokens or 0
            )
        self._latency.add(record.latency)
        self._queued.add(record.sent - record.submitted)
        if record.ttft is not None:
            self._ttft.add(record.ttft)

    def failed(self, error: CharterError) -> None:
        """A call that was not answered."""
        self._failures[type(error).__name__] += 1

    def text(self) -> str:
        """All of them, one sample a line."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        yield from _head("charter_calls_total", "counter", "Answered calls, by what answered them.")
        yield from (f'charter_calls_total{{source="{name}"}} {count}' for name, count in self._calls.items())
        yield from _head("charter_call_failures_total", "counter", "Calls that failed, by the kind of error.")
        yield from (f'charter_call_failures_total{{error="{name}"}} {count}' for name, count in self._failures.items())
        yield from _head("charter_tokens_total", "counter", "Tokens of calls that the engine answered, as it counted.")
        yield from (f'charter_tokens_total{{kind="{name}"}} {count}' for name, count in self._tokens.items())
        if self._sites:
            yield from self._of_sites()
        yield from _head("charter_calls_without_cached_tokens_total", "counter", "Calls whose cached tokens the target "
                         "did not report: they are not in the cached ones.")  # fmt: skip
        yield f"charter_calls_without_cached_tokens_total {self._unreported}"
        yield from _head("charter_calls_open", "gauge", "Calls that wait or run.")
        yield f"charter_calls_open {self.open}"
        yield from self._latency.lines("charter_call_seconds", "Time of a call, Charter's queue included.")
        yield from self._ttft.lines("charter_time_to_first_token_seconds", "The same until the first token.")
        yield from self._queued.lines("charter_queue_seconds", "Time in Charter's own queue.")

    def _of_sites(self) -> Iterator[str]:
        yield from _head("charter_site_calls_total", "counter", "Calls that the engine answered, by call site.")
        for site, counts in self._sites.items():
            yield f'charter_site_calls_total{{site="{_label(site)}"}} {counts["calls"]}'
        yield from _head(
            "charter_site_tokens_total", "counter", "Their prompt tokens, and those of them from the cache."
        )
        for site, counts in self._sites.items():
            for kind in ("prompt", "cached"):
                yield f'charter_site_tokens_total{{site="{_label(site)}",kind="{kind}"}} {counts[kind]}'


def _label(text: str) -> str:
    """A label's value: backslash, quote and line end escaped."""
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _head(name: str, kind: str, help_text: str) -> Iterator[str]:
    yield f"# HELP {name} {help_text}"
    yield f"# TYPE {name} {kind}"
