"""``charter plan``: how many replicas a run takes, and what they cost."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from charter_compiler.api.replica_planning import WINDOW, ReplicaPlan, ReplicaRequest, plan_replicas
from charter_compiler.cli.arguments import add_predicted_target_arguments, amount, hours, positive
from charter_compiler.cli.run import read_plan
from charter_compiler.diagnostics.errors import UsageError
from charter_compiler.executor.orchestrator import DEFAULT_CONCURRENCY, RunOptions
from charter_compiler.executor.targets import KNOWN_TARGETS, LOCAL, TargetOptions
from charter_compiler.predict.replicas import ReplicaCount

LEAST_WINDOW = 8
"""Items of a stretch of which some lie between its lead-in and its end."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The run that is planned, and what it may take."""
    parser.add_argument("entry", metavar="ENTRY", help="path/to/file.py:function or path/to/file.py:Class.method")
    parser.add_argument("--inputs", required=True, type=Path, metavar="F.jsonl", help="one JSON object a line")
    parser.add_argument("--replicas", required=True, type=positive, metavar="N", help="the most that are thought of")
    parser.add_argument("--deadline", type=hours, metavar="T", help="find the cheapest that is done by then: 3h, 90m")
    parser.add_argument("--price", type=amount, metavar="P", help="of one replica for an hour")
    parser.add_argument("--plan", type=Path, metavar="DIR", help="the plan that the run will follow")
    parser.add_argument("--target", default=LOCAL, metavar="T", help=f"one replica: {KNOWN_TARGETS} (%(default)s)")
    parser.add_argument(
        "--costs",
        type=Path,
        metavar="FILE",
        help="a calibration of such a machine, as charter calibrate --json prints",
    )
    parser.add_argument(
        "--concurrency",
        type=positive,
        default=DEFAULT_CONCURRENCY,
        metavar="N",
        help="items in flight on each replica (default: %(default)s)",
    )
    parser.add_argument("--max-tokens", type=positive, metavar="N", help="cap every call's max_tokens")
    parser.add_argument("--limit", type=positive, metavar="N", help="only the first N rows of the inputs")
    parser.add_argument(
        "--window",
        type=positive,
        default=WINDOW,
        metavar="N",
        help="items of a simulated stretch (%(default)s)",
    )
    add_predicted_target_arguments(parser)
    parser.add_argument("--format", choices=["text", "json"], default="text")


def run(args: argparse.Namespace) -> int:
    """Plan and show. Raises what ``plan_replicas`` does, and UsageError where no number of replicas meets the
    deadline."""
    if args.window < LEAST_WINDOW:
        raise UsageError(f"a stretch of {args.window} items shows no pace", remedy=f"give {LEAST_WINDOW} or more")
    deadline = None if args.deadline is None else args.deadline * 3600
    request = ReplicaRequest(
        entry=args.entry,
        inputs=args.inputs,
        replicas=args.replicas,
        target=args.target,
        target_options=TargetOptions(model=args.model, tokenizer=args.tokenizer),
        options=RunOptions(concurrency=args.concurrency, max_tokens=args.max_tokens),
        plan=None if args.plan is None else read_plan(args.plan, args.entry),
        costs=args.costs,
        deadline_s=deadline,
        price_per_hour=args.price,
        window=args.window,
        block_size=args.block_size,
        capacity_blocks=args.capacity_blocks,
        limit=args.limit,
        allow_effects=args.allow_effects,
    )
    plan = plan_replicas(request, lambda step: print(f"charter: {step}", file=sys.stderr))
    for note in plan.notes:
        print(f"charter: note: {note}", file=sys.stderr)
    if args.format == "json":
        print(json.dumps(to_json(plan, args.price), indent=2))
    else:
        Console().print(summary(plan, args.price))
    if deadline is not None and plan.chosen is None:
        best = min(count.seconds or 0.0 for count in plan.counts)
        raise UsageError(
            f"no number of replicas up to {args.replicas} meets the deadline; the fastest takes about {duration(best)}",
            remedy="allow more replicas, or more time",
        )
    return 0


def to_json(plan: ReplicaPlan, price: float | None) -> dict[str, Any]:
    """Every count, and the chosen number of replicas."""
    return {
        "items": plan.items,
        "grouped_by": list(plan.fields),
        "simulated_items": plan.simulated_items,
        "chosen": None if plan.chosen is None else plan.chosen.replicas,
        "counts": [{**asdict(count), "price": count.price(price)} for count in plan.counts],
        "notes": list(plan.notes),
    }


def summary(plan: ReplicaPlan, price: float | None) -> Table:
    """The counts that were simulated, and the chosen one."""
    grouped = f", grouped by {', '.join(plan.fields)}" if plan.fields else ""
    table = Table(
        title=f"{plan.items:,} items{grouped}; {plan.simulated_items:,} simulated",
        title_justify="left",
        show_edge=False,
    )
    for name in ("replicas", "items/s", "time", "hit rate", "imbalance", "price", "error"):
        table.add_column(name, justify="right")
    for count in plan.counts:
        if count.simulated or count == plan.chosen:
            table.add_row(*_cells(count, price), style="bold" if count == plan.chosen else None)
    if plan.chosen is not None:
        table.caption = f"{plan.chosen.replicas} replicas are the cheapest that meet the deadline"
    return table


def _cells(count: ReplicaCount, price: float | None) -> list[str]:
    cost = count.price(price)
    return [
        str(count.replicas),
        "-" if count.items_per_s is None else f"{count.items_per_s:,.2f}",
        "-" if count.seconds is None else duration(count.seconds),
        f"{count.hit_rate:.1%}",
        f"{count.imbalance:.1%}",
        "-" if cost is None else f"{cost:,.2f}",
        f"±{count.error:.1%}",
    ]


def duration(seconds: float) -> str:
    """As ``1h05m`` or ``42s``."""
    minutes = round(seconds / 60)
    if seconds < 120:
        return f"{seconds:.1f}s"
    return f"{minutes // 60}h{minutes % 60:02}m" if minutes >= 60 else f"{minutes}m"
