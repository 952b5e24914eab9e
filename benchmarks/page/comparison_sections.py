"""The sections on baselines and Charter side by side (`charter bench`) where the clock ran: one on all workloads, then
one for each file of raw rows that is there (``comparison_texts.py`` has their words)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import PurePath
from statistics import median

from comparison_parts import arm_table, commands, failures, finding_table, name
from comparison_targets import OF_TABLE, of_all, rounds_off, saved, values
from comparison_texts import TEXTS, Text
from page_parts import Rows, Section, percent, raw_files, spread, table
from page_targets import Target

from charter_compiler.bench.arms import AS_WRITTEN, NO_CACHE
from charter_compiler.bench.cases import Table, all_tables
from charter_compiler.bench.rows import SESSION
from charter_compiler.bench.summary import CaseSummary, peak, strongest_plain, summarize, ttft, wall

FOLDER = "comparison"
SIMULATED = ("simulated", "debate", "debate_128", "debate_256", "debate_before")
"""Files without times, which have a section of their own."""
NOT_SHOWN = "short"
"""The table that only shows that everything runs."""


def timed_files(names: Sequence[str]) -> list[str]:
    """Those of comparisons in which the clock ran, in the order of their texts; others after them."""
    found = [each for each in names if PurePath(each).parent.name == FOLDER and PurePath(each).stem not in SIMULATED]
    order = list(TEXTS)
    return sorted(found, key=lambda each: order.index(_stem(each)) if _stem(each) in order else len(order))


def _stem(file: str) -> str:
    return PurePath(file).stem


def timed_cases(*files: Rows) -> dict[str, CaseSummary]:
    """By the name that tells a case from all others; the engine is named where it is not the embedded one."""
    found: dict[str, CaseSummary] = {}
    for rows in files:
        engines = {row["engine"] for row in rows if row["kind"] == SESSION}
        on = "" if engines == {"embedded"} else f" on {', '.join(sorted(engines))}"
        found |= {f"{name(case)}{on}": case for case in summarize(rows) if _timed(case)}
    return found


def _timed(case: CaseSummary) -> bool:
    return any(wall(row) is not None for runs in case.runs.values() for row in runs.values())


def workloads(*files: Rows) -> str:
    """One line a workload: what the issues ask of each of them."""
    head = (
        "workload", "rounds", "times the throughput as written", "less time than the strongest plain setting",
        "of the gain that the bound allows", "of the attainable hit rate", "lower TTFT than as written",
        "fewer KV blocks than without sharing", "farthest round from the median",
    )  # fmt: skip
    return table(head, [(each, *_cells(case)) for each, case in timed_cases(*files).items()])


def _cells(case: CaseSummary) -> Iterator[object]:
    throughput = values(case.ratio(AS_WRITTEN.name, case.charter))
    yield len(case.of(case.charter))
    yield spread(throughput) if throughput else ""
    shares = (
        saved(case, strongest_plain(case)),
        values(case.gain_share),
        values(case.reached(case.charter)),
        saved(case, AS_WRITTEN.name, ttft),
        saved(case, NO_CACHE.name, peak),
        rounds_off(case),
    )
    for share in shares:
        yield percent(median(share)) if share else ""


def overview_targets(missing: Sequence[str], *files: Rows) -> Iterator[Target]:
    """What is asked of all workloads, and of the tables that have no file yet."""
    yield from of_all(timed_cases(*files))
    for each in missing:
        yield from OF_TABLE[each]((), "")


def comparison(rows: Rows) -> str:
    """One file: its commands, what was found, and the arms."""
    cases = summarize(rows)
    found = (finding_table(cases), failures(cases))
    parts = (commands(rows), *found, "Arm by arm, medians over the rounds:", arm_table(cases))
    return "\n\n".join(part for part in parts if part)


def table_targets(rows: Rows) -> Iterator[Target]:
    """Those of each table that the file has."""
    for (engine, each), cases in _by_table(rows).items():
        if each in OF_TABLE:
            yield from OF_TABLE[each](cases, "" if engine == "embedded" else f", on {engine}")


def _by_table(rows: Rows) -> Mapping[tuple[str, str], list[CaseSummary]]:
    tables = dict.fromkeys((row["engine"], row["table"]) for row in rows if row["kind"] == SESSION)
    return {
        (engine, each): [case for case in summarize(rows) if case.table == each and _timed(case)]
        for engine, each in tables
    }


def not_timed(data: Mapping[str, Rows]) -> str:
    """Cases of our tables without a timed run, and arms that timed cases lack, on the embedded server."""
    files = [rows for file, rows in data.items() if file in FILES]
    timed = {(case.table, case.case): case for on, case in timed_cases(*files).items() if " on " not in on}
    lines = [line for wanted in all_tables().values() if wanted.name != NOT_SHOWN for line in _lacking(wanted, timed)]
    if not lines:
        return "Every case of every table of `charter bench` has timed runs of all its arms."
    return "Of the tables of `charter bench`, on the embedded server:\n\n" + "\n".join(lines)


def _lacking(wanted: Table, timed: Mapping[tuple[str, str], CaseSummary]) -> Iterator[str]:
    """A line for the cases of a table that were not timed, and one for each set of arms that others lack."""
    without: dict[str, list[str]] = {}
    for case in wanted.cases:
        found = timed.get((wanted.name, case.label))
        lacking = "" if found is None else ", ".join(f"`{arm.name}`" for arm in wanted.arms if not found.of(arm.name))
        if found is None or lacking:
            without.setdefault(lacking, []).append(case.label)
    for lacking, labels in without.items():
        cases = "all its cases" if len(labels) == len(wanted.cases) else "; ".join(labels)
        arms = f" lack the arms {lacking}" if lacking else " were not timed"
        yield f"- `{wanted.name}` ({wanted.about}): {cases}{arms}"


def section(file: str) -> Section:
    """Of one file; a file without a text has its name for a title."""
    stem = _stem(file)
    text = TEXTS.get(stem, Text(f"Comparison: {stem}"))
    return Section(text.title, "make bench", (file,), text.expected, comparison, text.why, table_targets)


def sections(files: Sequence[str]) -> Iterator[Section]:
    stems = {_stem(file) for file in files}
    yield Section(
        "All timed workloads",
        "make bench",
        tuple(files),
        "for each workload 90% of the gain that the bound allows, 95% of the attainable hit rate, 30% fewer KV blocks "
        "at the peak than without sharing, and three rounds, each in its own process, within 10%",
        workloads,
        "Charter is the arm with layout where the table has it, else the one with exact passes. An empty cell: an arm "
        "that the figure needs was not run. The sections below have each workload's arms and reasons.",
        partial(overview_targets, [each for each in OF_TABLE if each not in stems]),
    )
    yield from map(section, files)


FILES = timed_files(raw_files())
SECTIONS = tuple(sections(FILES))
