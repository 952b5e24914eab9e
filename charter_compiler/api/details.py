"""What a prediction says beyond its rates: why tokens are computed, how long it takes, how large a cache it needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from charter_compiler.analysis.gpu_memory import PRICE_CLAIM, MemoryPlan
from charter_compiler.analysis.prefix_analyzer import PrefixOpportunity
from charter_compiler.predict.capacity import CapacityPoint, WorkloadSize
from charter_compiler.predict.cost_model import Calibration
from charter_compiler.predict.explain import CallExplanation, SiteExplanation, by_site
from charter_compiler.predict.prompt_view import PromptView

VERSION = 1


@dataclass(frozen=True, slots=True)
class PrefixRate:
    """A shared prefix in the planned run: ``calls`` to its call sites would each reuse ``tokens`` tokens of full
    blocks of it at best; ``cached_tokens`` of these they do."""

    cache_id: int
    tokens: int
    calls: int
    cached_tokens: int

    @property
    def hit_rate(self) -> float | None:
        return self.cached_tokens / (self.calls * self.tokens) if self.calls and self.tokens else None


@dataclass(frozen=True, slots=True)
class Seconds:
    """Predicted wall times, and the calibration that they rest on."""

    as_written: float
    planned: float
    calibration: Calibration


@dataclass(frozen=True, slots=True)
class Sizing:
    """The cache that the planned run needs; ``kv_bytes_per_token`` and ``memory`` where the model is known."""

    workload: WorkloadSize
    kv_bytes_per_token: int | None = None
    kv_dtype: str | None = None
    memory: MemoryPlan | None = None


@dataclass(frozen=True, slots=True)
class Details:
    """Of the planned run, as predicted. ``views`` lay one prompt of each call site open; ``curve`` has hit rates by
    capacity, as written too, and is empty where it would take too long."""

    calls: tuple[CallExplanation, ...]
    prefixes: tuple[PrefixRate, ...]
    seconds: Seconds | None = None
    sizing: Sizing | None = None
    views: tuple[PromptView, ...] = ()
    curve: tuple[CapacityPoint, ...] = ()

    @property
    def sites(self) -> tuple[SiteExplanation, ...]:
        return by_site(self.calls)

    def to_json(self) -> dict[str, Any]:
        """The object in ``DIR/details.json``."""
        return {
            "version": VERSION,
            "sites": [_site_json(site) for site in self.sites],
            "prefixes": [asdict(prefix) | {"hit_rate": prefix.hit_rate} for prefix in self.prefixes],
            "calls": [asdict(call) for call in self.calls],
            "capacities": [asdict(point) for point in self.curve],
            "seconds": _seconds_json(self.seconds),
            "sizing": _sizing_json(self.sizing),
        }


def prefix_rates(
    opportunities: Sequence[PrefixOpportunity], calls: Sequence[CallExplanation]
) -> tuple[PrefixRate, ...]:
    """How much of each shared prefix its call sites reuse."""
    rates = []
    for opportunity in opportunities:
        tokens = opportunity.aligned_length
        found = [call for call in calls if call.site in opportunity.nodes]
        cached = sum(min(call.cached, tokens) for call in found)
        rates.append(PrefixRate(opportunity.cache_id, tokens, len(found), cached))
    return tuple(rates)


def _site_json(site: SiteExplanation) -> dict[str, Any]:
    return {
        **asdict(site),
        "hit_rate": site.cached / site.prompt if site.prompt else None,
        "causes": [{"what": what, "calls": calls, "new_tokens": tokens} for what, calls, tokens in site.causes],
    }


def _seconds_json(seconds: Seconds | None) -> dict[str, Any] | None:
    if seconds is None:
        return None
    return {
        "as_written": seconds.as_written,
        "planned": seconds.planned,
        "calibrated": seconds.calibration.date,
        "calibration_error": seconds.calibration.check.error,
    }


def _sizing_json(sizing: Sizing | None) -> dict[str, Any] | None:
    if sizing is None:
        return None
    workload, memory = sizing.workload, sizing.memory
    return {
        **asdict(workload),
        "kv_bytes_per_token": sizing.kv_bytes_per_token,
        "kv_dtype": sizing.kv_dtype,
        "memory": None
        if memory is None
        else {
            **asdict(memory),
            "kv_bytes": memory.kv_bytes,
            "usd_per_hour": memory.usd_per_hour,
            "price_claim": PRICE_CLAIM,
        },
    }
