"""``charter simulate``: a recorded trace through the model of an engine's cache."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from charter_compiler.api.simulation import SimulationRequest, read_trace, simulate_trace, sweep_trace
from charter_compiler.cache.policy_cache import Policy
from charter_compiler.cache.simulate import WITH_HOST_MEMORY, Engine
from charter_compiler.cache.trace import Trace
from charter_compiler.cli.arguments import fraction, natural, positive
from charter_compiler.diagnostics.errors import UsageError
from charter_compiler.report.hit_curve import Curve, write_hit_curves


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the design's command line, and those of sweeps."""
    parser.add_argument("--trace", required=True, type=Path, metavar="F.jsonl", help="one request a line")
    parser.add_argument(
        "--engine",
        required=True,
        choices=[str(engine) for engine in Engine],
        help="whose rules hold; 'unbounded' never evicts, unless a policy is given",
    )
    parser.add_argument(
        "--block-size", required=True, type=positive, metavar="N", help="tokens in a block of the trace's hash_ids"
    )
    parser.add_argument("--capacity-blocks", type=positive, metavar="N", help="blocks that the cache holds")
    parser.add_argument(
        "--policy",
        action="append",
        choices=[str(policy) for policy in Policy],
        help="evict by this instead of by the engine's own rules; belady knows the future; in a sweep, several",
    )
    parser.add_argument(
        "--warmup-fraction",
        type=fraction,
        default=0.0,
        metavar="X",
        help="of the requests, the first X (0 to 1) fill the cache and are not counted (default: %(default)g)",
    )
    parser.add_argument(
        "--concurrency", type=positive, default=1, metavar="N", help="requests that run at once (default: %(default)s)"
    )
    parser.add_argument(
        "--host-blocks",
        type=natural,
        default=0,
        metavar="N",
        help="blocks of host memory: trtllm's secondary pool, llamacpp's prompt cache in RAM (default: %(default)s)",
    )
    parser.add_argument(
        "--sweep",
        action="store_true",
        help="many capacities instead of one, up to all distinct blocks",
    )
    parser.add_argument(
        "--capacities", type=_capacities, metavar="N,N,...", help="the capacities of the sweep, in blocks"
    )
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="sweep, and draw hit rate against capacity: .svg or .html"
    )


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


def _capacities(text: str) -> tuple[int, ...]:
    return tuple(sorted({positive(part) for part in text.split(",")}))
