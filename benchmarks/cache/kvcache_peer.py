"""LRU and Belady beside the package ``kvcache-simulator``, on the second half of a trace after the first has warmed it.

Runs in the peer's environment (``make bench-cache``, ``make test-peer``).
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from kvcache_sim.plan import build_execution_plan  # noqa: E402
from kvcache_sim.policies import simulate_policy  # noqa: E402
from kvcache_sim.trace import parse_trace_lines  # noqa: E402

from charter_compiler.cache.policy_cache import Policy  # noqa: E402
from charter_compiler.cache.simulate import Engine, Setup, simulate  # noqa: E402
from charter_compiler.cache.trace import parse_trace  # noqa: E402

TRACES = ROOT / "tests" / "fixtures" / "traces"
BLOCK = 512
CAPACITIES = (100, 300, 1000, 2000, 5859, 20000)
"""In blocks; 5,859 are 3 million tokens."""
THEIR_NAMES = {Policy.LRU: "lru", Policy.BELADY: "optimal"}


def compare(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        lines = file.readlines()
    trace = parse_trace(lines, BLOCK, path.name)
    plan = build_execution_plan(parse_trace_lines(lines, block_size=BLOCK), warmup_fraction=0.5)
    for capacity in CAPACITIES:
        for policy, name in THEIR_NAMES.items():
            theirs = simulate_policy(plan, name, capacity).hitRate
            ours = {
                str(engine): simulate(trace, Setup(engine, capacity, policy, trace.requests // 2)).hit_rate
                for engine in (Engine.UNBOUNDED, Engine.VLLM, Engine.TRTLLM)
            }
            yield {
                "trace": path.name,
                "capacity_blocks": capacity,
                "policy": str(policy),
                "kvcache_simulator": theirs,
                "charter": ours,
                "largest_difference_points": max(abs(rate - theirs) for rate in ours.values()) * 100,
            }


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args(argv)
    rows: list[dict[str, Any]] = [{"kvcache-simulator": version("kvcache-simulator"), "block_size": BLOCK}]
    for path in sorted(TRACES.glob("*.jsonl.gz")):
        rows.extend(compare(path))
    args.output.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    print(f"largest difference: {max(row['largest_difference_points'] for row in rows[1:]):.3f} points")
    return 0


if __name__ == "__main__":
    sys.exit(main())
