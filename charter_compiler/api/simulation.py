"""A recorded trace, from its file to the figures and curves of a simulated cache."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from charter_compiler.cache.policy_cache import Policy
from charter_compiler.cache.simulate import Engine, Setup, SimulationResult, simulate, sweep
from charter_compiler.cache.trace import Trace, parse_trace
from charter_compiler.diagnostics.errors import InputsError

SWEEP_POINTS = 32


@dataclass(frozen=True, slots=True)
class SimulationRequest:
    """What ``charter simulate`` is asked. ``warmup_fraction``, from 0 to 1, of the requests fill the cache and are not
    counted."""

    engine: Engine
    capacity_blocks: int | None = None
    policy: Policy | None = None
    warmup_fraction: float = 0.0
    concurrency: int = 1
    host_blocks: int = 0

    def setup(self, trace: Trace) -> Setup:
        warmup = math.floor(trace.requests * self.warmup_fraction)
        return Setup(self.engine, self.capacity_blocks, self.policy, warmup, self.concurrency, self.host_blocks)


@dataclass(frozen=True, slots=True)
class CapacityCurve:
    """Results by capacity in blocks; ``policy`` None is the engine's own eviction."""

    policy: Policy | None
    points: tuple[tuple[int, SimulationResult], ...]

    def label(self, engine: Engine) -> str:
        return f"{engine}'s own" if self.policy is None else str(self.policy)


@dataclass(frozen=True, slots=True)
class CapacitySweep:
    """Curves over the same capacities, and what no capacity can exceed: the hit rate of an unbounded cache."""

    engine: Engine
    block_size: int
    attainable_hit_rate: float
    curves: tuple[CapacityCurve, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "engine": str(self.engine),
            "block_size": self.block_size,
            "attainable_hit_rate": self.attainable_hit_rate,
            "curves": [
                {
                    "policy": None if curve.policy is None else str(curve.policy),
                    "points": [{"capacity_blocks": capacity, **result.to_json()} for capacity, result in curve.points],
                }
                for curve in self.curves
            ],
        }


def read_trace(path: Path, block_size: int) -> Trace:
    """The trace in a JSON Lines file, whose ids name blocks of ``block_size`` tokens.

    Raises:
        InputsError: it cannot be read, is empty, or a line is not a request.
    """
    try:
        with path.open("rb") as file:
            return parse_trace(file, block_size, str(path))
    except OSError as error:
        raise InputsError(
            f"cannot read the trace: {error.strerror}", place=str(path), remedy="give a JSON Lines file with --trace"
        ) from error


def simulate_trace(trace: Trace, request: SimulationRequest) -> SimulationResult:
    """One engine, or one policy, at one capacity."""
    return simulate(trace, request.setup(trace))


def sweep_trace(
    trace: Trace,
    request: SimulationRequest,
    policies: Sequence[Policy | None],
    capacities: Sequence[int] | None = None,
) -> CapacitySweep:
    """Several policies over the same capacities; without any, ``SWEEP_POINTS`` of them up to all distinct blocks."""
    chosen = spread(trace.distinct_blocks, SWEEP_POINTS) if capacities is None else tuple(capacities)
    setup = request.setup(trace)
    curves = []
    for policy in policies:
        results = sweep(trace, replace(setup, policy=policy), chosen)
        curves.append(CapacityCurve(policy, tuple(zip(chosen, results, strict=True))))
    unbounded = simulate(trace, replace(setup, capacity_blocks=None, policy=Policy.LRU, concurrency=1))
    return CapacitySweep(request.engine, trace.block_size, unbounded.hit_rate, tuple(curves))


def spread(largest: int, count: int) -> tuple[int, ...]:
    """At most ``count`` capacities from a few blocks up to ``largest``, each about the same factor above the last."""
    least = min(largest, max(1, largest // 4096))
    steps = max(1, count - 1)
    factor = (largest / least) ** (1 / steps) if least else 1.0
    return tuple(sorted({round(least * factor**step) for step in range(steps + 1)} - {0})) or (1,)
