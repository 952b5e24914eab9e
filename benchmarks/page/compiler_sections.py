"""The sections on the compiler: its own speed, the front end, and the order of tables."""

from __future__ import annotations

import statistics

from page_parts import Row, Rows, Section, conditions, percent, spread, table


def compiler(rows: Rows) -> str:
    groups: dict[tuple[str, str], Rows] = {}
    for row in rows[1:]:
        groups.setdefault((row["benchmark"], row["case"]), []).append(row)
    lines = [(name, case, *_speed(name, case, group, groups)) for (name, case), group in groups.items()]
    text = table(("what", "case", "processor seconds, median (least to most)", "rate"), lines)
    failed = sum("error" in row for row in rows)
    repeats = 1 + max(row["round"] for row in rows[1:])
    said = f"{repeats} interleaved rounds; failed measurements: {failed}. {_growth(groups)}"
    return f"{conditions(rows[0])}; seed {rows[0]['seed']}; tokenizer {rows[0]['tokenizer'][:12]}.\n\n{said}\n\n{text}"


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
    return statistics.median(row["processor_s"] for row in group if "processor_s" in row)


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


def scores(developed: Rows, heldout: Rows, frameworks: Rows) -> str:
    named = (("developed on", developed), ("held out", heldout), ("frameworks (SDKs, a workflow engine)", frameworks))
    keys = ("recall", "precision", "constants", "edges_f1", "in_loop")
    lines = [(name, f"{rows[-1]['calls']}", *(f"{rows[-1][key]:.3f}" for key in keys)) for name, rows in named]
    return table(("labels", "calls", "recall", "precision", "constants", "edges F1", "in_loop"), lines)


def front_end_speed(rows: Rows) -> str:
    lines = [
        (row["repository"], f"{row['files']:,}", f"{row['lines']:,}", f"{row['ratio']:.1f}", f"{row['peak_mib']:,}")
        for row in rows
    ]
    return table(("repository", "files", "lines", "times ast.parse", "peak MiB"), lines)


def verdicts(rows: Rows) -> str:
    true = sum(bool(row["verdict"]) for row in rows)
    codes: dict[str, list[Row]] = {}
    for row in rows:
        codes.setdefault(row["code"], []).append(row)
    lines = [(code, len(found), sum(bool(row["verdict"]) for row in found)) for code, found in sorted(codes.items())]
    return f"{true} of {len(rows)} findings were judged true.\n\n" + table(("code", "findings", "judged true"), lines)


def round_trip(rows: Rows) -> str:
    lines = [
        (row["repository"], row["files"], f"{row['literals']:,}", len(row["changed"]), len(row["not_parsed"]))
        for row in rows
    ]
    return table(("repository", "files", "literals rewritten as themselves", "files changed", "not parsed"), lines)


def tables(rows: Rows) -> str:
    lines = [
        (row["table"], f"{row['rows']:,}", percent(row["as_written"]), percent(row["ours"]), percent(row["ggr"]),
         f"{row['ours_s']:.2f}", f"{row['ggr_s']:.2f}")
        for row in rows if "ggr" in row
    ]  # fmt: skip
    return table(("table", "rows", "as written", "ours", "GGR", "our seconds", "GGR's seconds"), lines)


def replicas(rows: Rows) -> str:
    planned = next(row for row in rows if row.get("benchmark") == "plan")
    text = (
        f"{planned['items']:,} items of five calls ({planned['inputs_mb']:,} MB), 64 replicas: "
        f"{planned['processor_s'] / 60:.1f} minutes of processor time ({planned['wall_s'] / 60:.1f} by the clock), "
        f"peak {planned['peak_mib']:,} MiB; {planned['simulated_items']:,} items simulated."
    )
    lines = [
        (
            row["replicas"],
            percent(row["hit_rate"]["planned"]),
            percent(row["hit_rate"]["whole"]),
            f"{row['seconds']['planned']:,.0f}",
            f"{row['seconds']['whole']:,.0f}",
            f"{row['seconds']['planned'] / row['seconds']['whole'] - 1:+.1%}",
            f"±{row['standard_error']:.1%}",
        )
        for row in rows
        if row.get("benchmark") == "check"
    ]
    head = ("replicas", "hit rate, sampled", "whole", "seconds, sampled", "whole", "difference", "stated error")
    return f"{conditions(rows[0])}.\n\n{text}\n\n{table(head, lines)}"


SECTIONS = (
    Section(
        "The plan of replicas",
        "make bench-replicas",
        ("replicas/results.jsonl",),
        "a million items of five calls in minutes within 24 GiB; sampled stretches within their stated error of whole "
        "replicas",
        replicas,
        "Every row is read and placed, a few thousand items are simulated. Both sides of the check are the model: it "
        "shows what sampling loses, not how good the model is. The seconds of 2 replicas are further off than their "
        "stated error: that knows only the stretches of the replica with the most tokens, while the run ends with the "
        "one that reuses least of its own.",
    ),
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
    ),
    Section(
        "Front end against labels",
        "make bench-frontend FRONTEND_REPOS=DIR",
        tuple(f"frontend/results/{name}.jsonl" for name in ("developed_on", "heldout", "heldout_frameworks")),
        "recall and precision 0.95, constants 0.90, edges F1 0.90, in_loop 0.98.",
        scores,
        "Programs that use an SDK reach the targets, also those that were not looked at. Repositories that are an SDK "
        "or an engine themselves do not: objects keep prompts that reach the model in a later call, and registries "
        "name functions at run time.",
    ),
    Section(
        "Front end: time and memory",
        "python benchmarks/frontend/speed.py CHECKOUT... --repeat 3",
        ("frontend/results/speed.jsonl",),
        "at most 10 times `ast.parse`, under 1 GB for 5,000 files.",
        front_end_speed,
        "Missed where nearly every function leads to a model, most on small repositories: what carries a prompt is "
        "found in one reading and read in another, and calls are followed into.",
    ),
    Section(
        "Findings, read one by one",
        "python benchmarks/frontend/diagnostics.py",
        ("frontend/diagnostics/verdicts.jsonl",),
        "0.9 of the findings on ten public repositories are true.",
        verdicts,
        "The repositories were written down before the run; the project's own readers judged, with a reason for each.",
    ),
    Section(
        "Rewriting sources",
        "python benchmarks/frontend/roundtrip.py CHECKOUT...",
        ("frontend/results/roundtrip.jsonl",),
        "unchanged code comes back byte for byte on five public repositories.",
        round_trip,
        "A file that LibCST does not parse is left alone.",
    ),
    Section(
        "Order of tables, beside GGR",
        "python benchmarks/tables/tables.py -o benchmarks/tables/tables.jsonl",
        ("tables/tables.jsonl",),
        "at least the hit rate of the published GGR algorithm.",
        tables,
        "GGR was written again from its paper, without its early stopping; rates are by characters of neighbouring "
        "rows.",
    ),
)
