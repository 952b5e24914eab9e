"""The figures of one run, and the rows in which runs are compared: the same rows in HTML and in the terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from charter_compiler.executor.metrics import Percentiles

NOT_REPORTED = "not reported"
"""Shown for ``None``: the target does not say, or nothing was measured. Never zero, never a guess."""
NOT_COMPUTED = "not computed: simulated"
"""Shown where only an engine could tell, and there was none."""

UNKNOWN = Percentiles(None, None)


@dataclass(frozen=True, slots=True)
class RunFigures:
    """What is known of one run, or of one prediction: a column of the comparison.

    The fields are keys of ``OUT.jsonl.metrics.json``: rates from 0 to 1, times in seconds, ``None`` where not known.
    ``predicted_wall_s`` is none of them: it comes from a calibration.
    ``label`` says what is compared: "as written (baseline)", "optimized (exact passes)". A prediction without a run has
    only its two rates, ``prompt_tokens`` and ``cached_tokens``.
    Where the run was ``simulated``, tokens and ``hit_rate`` are those of a model of the engine, and what only an
    engine tells is not known: times and ``output_tokens``.
    """

    label: str
    mode: str | None = None
    layout: bool | None = None
    items: int | None = None
    failed: int | None = None
    calls: int | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    hit_rate: float | None = None
    predicted_hit_rate: float | None = None
    attainable_hit_rate: float | None = None
    memoized_calls: int | None = None
    warmup_tokens: int | None = None
    output_tokens: int | None = None
    wall_s: float | None = None
    items_per_s: float | None = None
    latency_s: Percentiles = UNKNOWN
    ttft_s: Percentiles = UNKNOWN
    predicted_wall_s: float | None = None
    simulated: bool = False

    @classmethod
    def from_mapping(cls, label: str, metrics: Mapping[str, Any]) -> RunFigures:
        """From the parsed ``OUT.jsonl.metrics.json``; a key that is missing there is not known."""
        values: dict[str, Any] = {name: metrics.get(name) for name in _PLAIN}
        for name in _TIMES:
            values[name] = UNKNOWN if metrics.get(name) is None else Percentiles(**metrics[name])
        if metrics.get("simulated"):
            values |= {"wall_s": None, "items_per_s": None, "output_tokens": None} | dict.fromkeys(_TIMES, UNKNOWN)
        return cls(label, **values, simulated=bool(metrics.get("simulated")))

    @property
    def ran(self) -> bool:
        """Whether a run stands behind it, simulated or not, rather than a prediction alone."""
        return self.simulated or self.wall_s is not None

    @property
    def basis(self) -> Literal["measured", "simulated", "predicted"]:
        """What the figures rest on, in a word."""
        if self.simulated:
            return "simulated"
        return "measured" if self.ran else "predicted"

    @property
    def computed_tokens(self) -> int | None:
        """Prompt tokens that were not taken from the cache; ``None`` where either is unknown."""
        if self.prompt_tokens is None or self.cached_tokens is None:
            return None
        return self.prompt_tokens - self.cached_tokens

    @property
    def share_of_attainable(self) -> float | None:
        """Measured over attainable hit rate; ``None`` where either is unknown or nothing is attainable."""
        if self.hit_rate is None or not self.attainable_hit_rate:
            return None
        return self.hit_rate / self.attainable_hit_rate

    @property
    def seconds_per_item(self) -> float | None:
        """Wall time over items, from the two figures themselves."""
        if self.wall_s is None or not self.items:
            return None
        return self.wall_s / self.items


_TIMES = ("latency_s", "ttft_s")
_PLAIN = tuple(field.name for field in fields(RunFigures) if field.name not in {"label", "simulated", *_TIMES})


def percent(value: float | None) -> str:
    """A rate from 0 to 1 as ``63.2%``."""
    return NOT_REPORTED if value is None else f"{100 * value:.1f}%"


def seconds(value: float | None) -> str:
    """``2.40 s``, or ``87 ms`` below a second."""
    if value is None:
        return NOT_REPORTED
    return f"{value:.2f} s" if value >= 1 else f"{1000 * value:.0f} ms"


def signed_share(value: float) -> str:
    """A change as ``-12%``; below one per cent with a digit more: ``+0.1%``."""
    return f"{value:+.1%}" if abs(value) < 0.01 else f"{value:+.0%}"


def count(value: float | None) -> str:
    """A whole number with separators: ``12,031``."""
    return NOT_REPORTED if value is None else f"{value:,.0f}"


def per_second(value: float | None) -> str:
    return NOT_REPORTED if value is None else f"{value:.3g}"


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One line of the comparison. ``better`` says which way is an improvement; ``None`` where neither is.
    ``of_engine``: a simulation does not tell it."""

    label: str
    value: Callable[[RunFigures], float | None]
    show: Callable[[float | None], str]
    better: Literal["higher", "lower"] | None = None
    headline: bool = False
    of_engine: bool = False

    def text(self, run: RunFigures) -> str:
        """The value as shown, or why there is none."""
        return NOT_COMPUTED if self.of_engine and run.simulated else self.show(self.value(run))

    def change(self, runs: Sequence[RunFigures]) -> tuple[str, Literal["better", "worse", ""]]:
        """From the first run to the last: points for a rate, per cent for the rest; empty where either is unknown or
        they are equal."""
        if len(runs) < 2:
            return "", ""
        first, last = self.value(runs[0]), self.value(runs[-1])
        if first is None or last is None or first == last:
            return "", ""
        if self.show is percent:
            difference, text = last - first, f"{100 * (last - first):+.1f} points"
        elif first:
            difference, text = last - first, signed_share((last - first) / first)
        else:
            return "", ""
        if self.better is None:
            return text, ""
        return text, "better" if (difference > 0) == (self.better == "higher") else "worse"


PREDICTED_ROWS = (
    MetricRow("token hit rate, predicted", lambda run: run.predicted_hit_rate, percent, "higher", headline=True),
    MetricRow("token hit rate, attainable", lambda run: run.attainable_hit_rate, percent, "higher", headline=True),
    MetricRow("prompt tokens", lambda run: run.prompt_tokens, count),
    MetricRow("prompt tokens computed", lambda run: run.computed_tokens, count, "lower", headline=True),
)
MEASURED_ROWS = (
    MetricRow("token hit rate, predicted", lambda run: run.predicted_hit_rate, percent, "higher"),
    MetricRow("token hit rate, measured", lambda run: run.hit_rate, percent, "higher", headline=True),
    MetricRow("token hit rate, attainable", lambda run: run.attainable_hit_rate, percent, "higher"),
    MetricRow("measured / attainable", lambda run: run.share_of_attainable, percent, "higher"),
    MetricRow("latency of a call, median", lambda run: run.latency_s.p50, seconds, "lower", of_engine=True),
    MetricRow("latency of a call, 95th percentile", lambda run: run.latency_s.p95, seconds, "lower", of_engine=True),
    MetricRow(
        "time to first token, median", lambda run: run.ttft_s.p50, seconds, "lower", headline=True, of_engine=True
    ),
    MetricRow("time to first token, 95th percentile", lambda run: run.ttft_s.p95, seconds, "lower", of_engine=True),
    MetricRow("wall time", lambda run: run.wall_s, seconds, "lower", of_engine=True),
    MetricRow("wall time an item", lambda run: run.seconds_per_item, seconds, "lower", headline=True, of_engine=True),
    MetricRow("items a second", lambda run: run.items_per_s, per_second, "higher", of_engine=True),
    MetricRow("prompt tokens", lambda run: run.prompt_tokens, count),
    MetricRow("of these cached", lambda run: run.cached_tokens, count, "higher"),
    MetricRow("of these warm-up", lambda run: run.warmup_tokens, count),
    MetricRow("prompt tokens computed", lambda run: run.computed_tokens, count, "lower"),
    MetricRow("output tokens", lambda run: run.output_tokens, count, of_engine=True),
    MetricRow("calls", lambda run: run.calls, count),
    MetricRow("calls answered from the store", lambda run: run.memoized_calls, count),
    MetricRow("items", lambda run: run.items, count),
    MetricRow("items failed", lambda run: run.failed, count, "lower"),
)


def basis(runs: Sequence[RunFigures]) -> str:
    """What the figures rest on: ``measured``, ``simulated``, both with ``or`` between, or ``predicted`` where nothing
    ran."""
    return " or ".join(dict.fromkeys(run.basis for run in runs if run.ran)) or "predicted"


def rows_for(runs: Sequence[RunFigures]) -> tuple[MetricRow, ...]:
    """All rows where something ran, named after what they rest on; those of a prediction where nothing did."""
    word = basis(runs)
    if word == "predicted":
        return PREDICTED_ROWS
    return tuple(replace(row, label=row.label.replace("measured", word)) for row in MEASURED_ROWS)
