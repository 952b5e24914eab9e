"""``charter bench``: baselines and Charter side by side, in turn, on embedded servers that start cold."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from charter_compiler.bench.arms import BASELINES, chosen_arms
from charter_compiler.bench.cases import Table, all_tables, table_of_entry
from charter_compiler.bench.engines import Embedded, Simulated
from charter_compiler.bench.rows import Row, append_row, read_rows
from charter_compiler.bench.session import run_table
from charter_compiler.bench.show import arms_table, failure_lines, finding_lines, legend, run_line
from charter_compiler.bench.summary import summarize
from charter_compiler.diagnostics.errors import UsageError
from charter_compiler.executor.defaults import LOCAL
from charter_compiler.executor.entry import load_entry
from charter_compiler.predict.effects import possible_effects

SHORT = "short"


def run(args: argparse.Namespace) -> int:
    """Run a table and show what was found; returns 1 if a run failed.

    Raises:
        UsageError: there is no such table, arm or case, or the agent may act on the outside.
        And what ``run_table`` does.
    """
    console = Console()
    if args.list:
        for table in all_tables().values():
            print(f"{table.name}: {table.about}; {len(table.cases)} cases")
        print(f"\nWays to run (--arms):\n{legend()}")
        return 0
    table = _table(args)
    rows = [] if args.output is None else read_rows(args.output)
    engines = Embedded() if args.target == LOCAL else Simulated()
    made: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for row in run_table(table, table.rounds if args.rounds is None else args.rounds, engines, Path(folder), rows):
            made.append(row)
            if args.output is not None:
                append_row(args.output, row)
            print(run_line(row), file=sys.stderr)
    for case in summarize([*rows, *made]):
        if case.table == table.name:
            console.print(*finding_lines(case), sep="\n", highlight=False)
            console.print(arms_table(case))
            for line in failure_lines(case):
                console.print(line, style="red", highlight=False)
    return int(any("error" in row for row in made))


def _table(args: argparse.Namespace) -> Table:
    """The table that the command line asks for."""
    if args.what is not None and ":" in args.what:
        found = _own(args)
    else:
        if args.short and args.what is not None:
            raise UsageError("--short is a table of its own", remedy=f"leave out {args.what}, or --short")
        tables, name = all_tables(), SHORT if args.short else args.what
        if name not in tables:
            what = "no table is named" if name is None else f"there is no table '{name}'"
            raise UsageError(what, remedy=f"give one of {', '.join(tables)}, or an entry with --inputs")
        found = tables[name]
    simulated = args.target != LOCAL
    cases = [
        case
        for case in found.cases
        if (args.cases is None or any(text in case.label for text in args.cases))
        and not (simulated and case.partial_reuse)
    ]
    if not cases:
        raise UsageError("no case has such a label", remedy=f"cases are {', '.join(c.label for c in found.cases)}")
    arms = found.arms if args.arms is None else chosen_arms(args.arms)
    if simulated and args.arms is None:
        arms = tuple(arm for arm in arms if arm.reuse and not arm.tuned)  # the switch and the clock are not simulated
    return Table(found.name, found.about, tuple(cases), arms, found.rounds)


def _own(args: argparse.Namespace) -> Table:
    if args.inputs is None:
        raise UsageError("an agent needs inputs", remedy="give --inputs F.jsonl")
    entry = load_entry(args.what, needs_client=False)
    effects = () if args.allow_effects else possible_effects(entry.path.resolve(), entry.root)
    if effects:
        raise UsageError(
            f"bench runs the agent {len(BASELINES)} times a row and round, and {effects[0]}",
            remedy="give --allow-effects",
        )
    return table_of_entry(
        args.what,
        args.inputs,
        items=args.items,
        max_tokens=args.max_tokens,
        concurrency=args.concurrency,
        blocks=args.capacity_blocks,
        block_size=args.block_size,
        pressure=args.pressure,
    )
