"""The sections on the compiler: its own speed, and the order of tables."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from page_parts import Rows, Section, percent, spread, table
from page_targets import MICROSECONDS, SECONDS, SHARE, TIMES, Target, all_of, at_most


def compiler(rows: Rows) -> str:
    groups: dict[tuple[str, str], Rows] = {}
    for row in rows[1:]:
        groups.setdefault((row["benchmark"], row["case"]), []).append(row)
    lines = [(name, case, *_speed(name, case, group, groups)) for (name, case), group in groups.items()]
    text = table(("what", "case", "processor seconds, median (least to most)", "rate"), lines)
    failed = sum("error" in row for row in rows)
    repeats = 1 + max(row["round"] for row in rows[1:])
    said = f"{repeats} interleaved rounds; failed measurements: {failed}. {_growth(groups)}"
    return f"Seed {rows[0]['seed']}; tokenizer {rows[0]['tokenizer'][:12]}.\n\n{said}\n\n{text}"


def compiler_targets(rows: Rows) -> Iterator[Target]:
    groups: dict[tuple[str, str], Rows] = {}
    for row in rows[1:]:
        if "error" not in row:
            groups.setdefault((row["benchmark"], row["case"]), []).append(row)
    clock = [row["wall_s"] for row in groups["start-up", "charter --help"]]
    yield at_most("`charter --help`, by the clock", 0.3, {"": clock}, SECONDS)
    times = {
        case: (_median(group) / _median(groups["ast.parse", case]),)
        for (name, case), group in groups.items()
        if name == "front end"
    }
    yield at_most("Front end on generated projects and libraries: times `ast.parse`", 10, times, TIMES)
    calls = {
        case: [1e6 * row["processor_s"] / row["calls"] for row in group]
        for (name, case), group in groups.items()
        if name == "scheduler"
    }
    yield at_most("A scheduled call, processor time", 1000, calls, MICROSECONDS)


def _growth(groups: dict[tuple[str, str], Rows]) -> str:
    sizes = [
        (group[0]["lines"], _median(group))
        for (name, case), group in groups.items()
        if name == "front end" and "project" in case
    ]
    (small, first), (large, last) = sizes[0], sizes[-1]
    return (
        f"From {small:,} to {large:,} generated lines ({large / small:.1f} times) the front end takes "
        f"{last / first:.1f} times as long."
    )


def _median(group: Rows) -> float:
    return float(statistics.median(row["processor_s"] for row in group if "processor_s" in row))


def _speed(name: str, case: str, group: Rows, groups: dict[tuple[str, str], Rows]) -> tuple[str, str]:
    good = [row for row in group if "error" not in row]
    if not good:
        return "failed", group[0]["error"]
    facts = good[0]
    if name == "memory":
        what = f", {facts['files']:,} files, {facts['lines']:,} lines" if "files" in facts else ""
        return "", f"peak {spread([row['peak_mib'] for row in good], ' MiB', 0)}{what}"
    seconds = [row["processor_s"] for row in good]
    middle = statistics.median(seconds)
    rate = ""
    if name == "start-up":
        rate = f"{spread([row['wall_s'] for row in good])} s by the clock"
    elif name in ("ast.parse", "front end"):
        rate = f"{facts['lines'] / middle:,.0f} lines/s, {facts['files'] / middle:,.0f} files/s"
        if name == "front end":
            rate += f", {middle / _median(groups['ast.parse', case]):.1f} times ast.parse"
    elif name == "prediction":
        rate = f"{facts['prompt_tokens'] / middle:,.0f} prompt tokens/s, {facts['calls'] / middle:,.0f} calls/s"
    elif name == "simulation":
        rate = f"{facts['blocks'] / middle:,.0f} blocks/s, {facts['requests'] / middle:,.0f} requests/s"
    elif name == "scheduler":
        rate = f"{1e6 * middle / facts['calls']:.0f} microseconds a call"
    return spread(seconds), rate


def tables(rows: Rows) -> str:
    lines = [
        (row["table"], f"{row['rows']:,}", percent(row["as_written"]), percent(row["ours"]), percent(row["ggr"]),
         f"{row['ours_s']:.2f}", f"{row['ggr_s']:.2f}")
        for row in rows if "ggr" in row
    ]  # fmt: skip
    return table(("table", "rows", "as written", "ours", "GGR", "our seconds", "GGR's seconds"), lines)


def table_targets(rows: Rows) -> Iterator[Target]:
    ordered = [row for row in rows if "ggr" in row]
    what = "Order of tables of 2,000 to 100,000 rows, beside GGR"
    good = [row["ours"] >= row["ggr"] for row in ordered]
    yield all_of(f"{what}: hit rate not lower", "every table", good, " tables")
    faster = [row["ggr_s"] / row["ours_s"] for row in ordered]
    least = f" tables; at least {min(faster):.2f} times" if faster else ""
    yield all_of(f"{what}: faster", "every table", [times > 1 for times in faster], least)
    share = {f"{row['rows']:,} rows": (row["share_of_reading"],) for row in rows if "share_of_reading" in row}
    yield at_most("Order of tables with nothing to gain: share of the time to read it", 0.05, share, SHARE)


SECTIONS = (
    Section(
        "The compiler itself",
        "make bench-compiler",
        ("compiler/results.jsonl",),
        "`charter --help` under 0.3 s; the front end linear in the size of a project and at most 10 times `ast.parse`; "
        "scheduling under 1 ms a call.",
        compiler,
        "The machine had seven times as many processes to run as cores (load average above): by the clock `charter "
        "--help` then waits for a core more than it works, and processor seconds are what to compare. `charter run "
        "--help` imports the whole run time, `charter --help` none of it. The front end reads a statement that can "
        "matter several times, so that code full of model calls, as the generated projects are, costs more beside "
        "`ast.parse` than libraries do; a call is followed through more modules in a larger project.",
        compiler_targets,
    ),
    Section(
        "Order of tables, beside GGR",
        "python benchmarks/tables/tables.py -o benchmarks/tables/tables.jsonl",
        ("tables/tables.jsonl",),
        "at least the hit rate of the published GGR algorithm.",
        tables,
        "GGR was written again from its paper, without its early stopping; rates are by characters of neighbouring "
        "rows.",
        table_targets,
    ),
)
