"""``charter plan``: how many replicas a run takes, and what they cost."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from charter_compiler.api.replica_planning import ReplicaPlan, ReplicaRequest, plan_replicas
from charter_compiler.cli.run import read_plan
from charter_compiler.diagnostics.errors import UsageError
from charter_compiler.executor.run.options import RunOptions
from charter_compiler.executor.targets import TargetOptions
from charter_compiler.predict.replicas import ReplicaCount

LEAST_WINDOW = 8
"""Items of a stretch of which some lie between its lead-in and its end."""


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
