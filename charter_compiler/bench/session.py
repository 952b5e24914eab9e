"""A session: every case of a table in all its ways, repeated in turn, so that what disturbs one disturbs the others."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from charter_compiler.bench.arms import AS_WRITTEN, EXACT, Arm
from charter_compiler.bench.cases import Table
from charter_compiler.bench.conditions import conditions
from charter_compiler.bench.engines import Engines
from charter_compiler.bench.measure import Prepared, measure, prepare, setting
from charter_compiler.bench.rows import RUN, SEARCH, SESSION, Row, check_same, check_same_machine, of_case
from charter_compiler.bench.summary import fastest
from charter_compiler.plan.execution_plan import ExecutionPlan

SEED = 0
"""Nothing is drawn at random: inputs are the first rows, and calls are greedy or have seeds of the agent's own."""


def run_table(table: Table, rounds: int, engines: Engines, folder: Path, earlier: Sequence[Row] = ()) -> Iterator[Row]:
    """The rows of a session, each as soon as its run ends.

    Args:
        folder: for the files of the runs; prompts and outputs are in them.
        earlier: rows of sessions before: rounds are counted on, and a concurrency that was found there is used.

    Raises:
        UsageError, InputsError, EntryError: a case cannot be prepared, or was measured otherwise before.
    """
    session = {"session": uuid.uuid4().hex[:12]}
    facts = {"table": table.name, "about": table.about, "arms": [arm.name for arm in table.arms]}
    here = conditions(seed=SEED, engine=engines.name)
    check_same_machine(earlier, here)
    yield {"kind": SESSION, **session, **facts, **here}
    cases = [prepare(case, folder / str(number)) for number, case in enumerate(table.cases)]
    tuned = {}
    for prepared in cases:
        as_now = {
            "engine": engines.name,
            "capacity_blocks": prepared.capacity_blocks,
            "setting": setting(prepared.case),
        }
        check_same(earlier, table.name, prepared.case.label, as_now)
        found = of_case(earlier, table.name, prepared.case.label, SEARCH)
        if any(arm.tuned for arm in table.arms):
            for row in () if found else _search(prepared, engines):
                found.append(row | {"table": table.name, "case": prepared.case.label})
                yield session | found[-1]
        tuned[prepared.case.label] = fastest(found) or prepared.case.in_flight
    done = {
        case.label: max((row["round"] for row in of_case(earlier, table.name, case.label)), default=0)
        for case in table.cases
    }
    for number in range(1, rounds + 1):
        for prepared in cases:
            label = prepared.case.label
            round_number = done[label] + number
            of = {"table": table.name, "case": label, "round": round_number}
            for row in _round(prepared, in_turn(table.arms, round_number), tuned[label], engines):
                yield session | of | row


def in_turn(arms: Sequence[Arm], number: int) -> tuple[Arm, ...]:
    """The arms in the order of a round, from 1: each begins one further. An arm that needs the prompts of another one,
    or its plan, comes right after it."""
    leaders = [arm for arm in arms if arm.needs is None]
    at = (number - 1) % len(leaders)
    ordered: list[Arm] = []
    for leader in leaders[at:] + leaders[:at]:
        ordered += [leader, *(arm for arm in arms if arm.needs == leader.name)]
    return tuple(ordered)


def _round(prepared: Prepared, arms: Sequence[Arm], tuned: int, engines: Engines) -> Iterator[Row]:
    plans: dict[str, ExecutionPlan] = {}
    failed: set[str] = set()
    for arm in arms:
        in_flight = tuned if arm.tuned else prepared.case.in_flight
        if arm.tuned and in_flight == prepared.case.in_flight:
            continue  # the same setting as written: summary.py takes that one's runs
        if arm.needs in failed:
            yield {"kind": RUN, "arm": arm.name, "in_flight": in_flight, "error": f"the run of {arm.needs} failed"}
            continue
        plan = None if arm.warms else replace(plans[EXACT.name], warms=False)
        row, report = measure(prepared, arm, in_flight, engines, plan)
        if report is None:
            failed.add(arm.name)
        elif report.plan is not None:
            plans[arm.name] = report.plan
        yield row


def _search(prepared: Prepared, engines: Engines) -> Iterator[Row]:
    """The agent as written with 1, 2, 4, ... items in flight, and with all."""
    sizes, size = [], 1
    while size < prepared.case.items:
        sizes.append(size)
        size *= 2
    for in_flight in (*sizes, prepared.case.items):
        row, _ = measure(prepared, AS_WRITTEN, in_flight, engines)
        yield row | {"kind": SEARCH}
