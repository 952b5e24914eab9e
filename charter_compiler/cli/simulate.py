"""``charter simulate``: a recorded trace through the model of an engine's cache."""

from __future__ import annotations

import argparse
import json
import sys

from charter_compiler.api.simulation import SimulationRequest, read_trace, simulate_trace, sweep_trace
from charter_compiler.cache.policy_cache import Policy
from charter_compiler.cache.simulate import WITH_HOST_MEMORY, Engine
from charter_compiler.cache.trace import Trace
from charter_compiler.diagnostics.errors import UsageError
from charter_compiler.report.hit_curve import Curve, write_hit_curves


def run(args: argparse.Namespace) -> int:
    """Simulate and print JSON. Returns 0.

    Raises:
        UsageError: options that do not go together.
        InputsError: the trace cannot be read.
        OutputError: the plot cannot be written.
    """
    engine = Engine(args.engine)
    policies = [Policy(name) for name in args.policy or ()]
    sweeping = args.sweep or args.capacities is not None or args.plot is not None
    if not sweeping:
        if len(policies) > 1:
            raise UsageError("several policies at one capacity", remedy="give one --policy, or --sweep")
        if args.capacity_blocks is None and engine is not Engine.UNBOUNDED:
            raise UsageError("no capacity", remedy="give --capacity-blocks N, or --sweep")
    elif args.capacity_blocks is not None:
        raise UsageError("--capacity-blocks with a sweep", remedy="give --capacities N,N,... or leave it out")
    if args.host_blocks and engine not in WITH_HOST_MEMORY:
        raise UsageError(f"no host memory in '{engine}'", remedy="leave --host-blocks out")
    if args.plot is not None and args.plot.suffix not in (".svg", ".html"):
        raise UsageError("the plot is neither .svg nor .html", place=str(args.plot), remedy="end its name in one")
    trace = read_trace(args.trace, args.block_size)
    _note_odd_lengths(trace)
    policy = policies[0] if policies else None
    request = SimulationRequest(
        engine, args.capacity_blocks, policy, args.warmup_fraction, args.concurrency, args.host_blocks
    )
    if not sweeping:
        result = simulate_trace(trace, request)
        if result.rejected:
            _note(f"{result.rejected} requests do not fit the cache even alone; the engine would refuse them")
        if engine is Engine.UNBOUNDED and policy is None and args.capacity_blocks is not None:
            _note("'unbounded' without a policy has no capacity: --capacity-blocks was not used")
        print(json.dumps(result.to_json()))
        return 0
    found = sweep_trace(trace, request, policies or _all_of(engine), args.capacities)
    if args.plot is not None:
        write_hit_curves(
            args.plot,
            f"{args.trace.name}: hit rate against capacity",
            [
                Curve(curve.label(engine), tuple((capacity, result.hit_rate) for capacity, result in curve.points))
                for curve in found.curves
            ],
            attainable=found.attainable_hit_rate,
            block_size=args.block_size,
        )
    print(json.dumps(found.to_json()))
    return 0


def _all_of(engine: Engine) -> list[Policy | None]:
    """What a sweep compares unless told: the engine as it is, plain LRU, and the optimum."""
    own: list[Policy | None] = [] if engine is Engine.UNBOUNDED else [None]
    return [*own, Policy.LRU, Policy.BELADY]


def _note_odd_lengths(trace: Trace) -> None:
    if trace.overlong:
        _note(
            f"{trace.overlong} requests name more blocks than their input_length fills at {trace.block_size} tokens a "
            "block: is --block-size that of the trace?"
        )


def _note(text: str) -> None:
    print(f"charter: note: {text}", file=sys.stderr)
