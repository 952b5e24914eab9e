"""Options of ``charter simulate``."""

from __future__ import annotations

import argparse
from pathlib import Path

from charter_compiler.cache.policy_cache import Policy
from charter_compiler.cache.simulate import Engine
from charter_compiler.cli.options.values import fraction, natural, positive


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


def _capacities(text: str) -> tuple[int, ...]:
    return tuple(sorted({positive(part) for part in text.split(",")}))
