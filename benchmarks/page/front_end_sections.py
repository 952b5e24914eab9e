"""The sections on the front end: what it finds, and how long it takes."""

from __future__ import annotations

from collections.abc import Iterator

from page_parts import Row, Rows, Section, table
from page_targets import TIMES, Target, at_least, at_most, none_of

LABELS = ("developed on", "held out", "frameworks (SDKs, a workflow engine)")
"""The sets of labelled repositories; the last row of each file is of all of them."""
WANTED = {"recall": 0.95, "precision": 0.95, "constants": 0.90, "edges_f1": 0.90, "in_loop": 0.98}


def scores(*files: Rows) -> str:
    named = zip(LABELS, files, strict=True)
    lines = [(name, f"{rows[-1]['calls']}", *(f"{rows[-1][key]:.3f}" for key in WANTED)) for name, rows in named]
    return table(("labels", "calls", "recall", "precision", "constants", "edges F1", "in_loop"), lines)


def score_targets(*files: Rows) -> Iterator[Target]:
    wanted = " / ".join(f"{least:.2f}" for least in WANTED.values())
    for name, rows in zip(LABELS, files, strict=True):
        measured = " / ".join(f"{rows[-1][key]:.3f}" for key in WANTED)
        reached = all(rows[-1][key] >= least for key, least in WANTED.items())
        what = f"Front end, labels {name}: recall / precision / constants / edges F1 / in_loop"
        yield Target(what, f"at least {wanted}", measured, reached)


def front_end_speed(rows: Rows) -> str:
    lines = [
        (row["repository"], f"{row['files']:,}", f"{row['lines']:,}", f"{row['ratio']:.1f}", f"{row['peak_mib']:,}")
        for row in rows
    ]
    return table(("repository", "files", "lines", "times ast.parse", "peak MiB"), lines)


def front_end_speed_targets(rows: Rows) -> Iterator[Target]:
    ratios = {row["repository"]: (row["ratio"],) for row in rows}
    yield at_most("Front end on whole repositories: times `ast.parse`", 10, ratios, TIMES)
    largest = max(rows, key=lambda row: row["files"])
    read = f"{largest['peak_mib']:,} MiB of {largest['files']:,} files, the most that were read"
    yield Target("Front end: memory for 5,000 files", "under 1 GB", read)


def verdicts(rows: Rows) -> str:
    true = sum(bool(row["verdict"]) for row in rows)
    codes: dict[str, list[Row]] = {}
    for row in rows:
        codes.setdefault(row["code"], []).append(row)
    lines = [(code, len(found), sum(bool(row["verdict"]) for row in found)) for code, found in sorted(codes.items())]
    return f"{true} of {len(rows)} findings were judged true.\n\n" + table(("code", "findings", "judged true"), lines)


def verdict_targets(rows: Rows) -> Iterator[Target]:
    true = sum(bool(row["verdict"]) for row in rows) / len(rows)
    yield at_least(f"Findings on ten public repositories judged true ({len(rows)} findings)", 0.9, {"": (true,)})


def round_trip(rows: Rows) -> str:
    lines = [
        (row["repository"], row["files"], f"{row['literals']:,}", len(row["changed"]), len(row["not_parsed"]))
        for row in rows
    ]
    return table(("repository", "files", "literals rewritten as themselves", "files changed", "not parsed"), lines)


def round_trip_targets(rows: Rows) -> Iterator[Target]:
    changed, files = sum(len(row["changed"]) for row in rows), sum(row["files"] for row in rows)
    yield none_of(
        "Rewriting sources: files of five repositories that change though nothing was rewritten", "0", changed, files
    )


SECTIONS = (
    Section(
        "Front end against labels",
        "make bench-frontend FRONTEND_REPOS=DIR",
        tuple(f"frontend/results/{name}.jsonl" for name in ("developed_on", "heldout", "heldout_frameworks")),
        "recall and precision 0.95, constants 0.90, edges F1 0.90, in_loop 0.98.",
        scores,
        "Programs that use an SDK reach the targets, also those that were not looked at. Repositories that are an SDK "
        "or an engine themselves do not: objects keep prompts that reach the model in a later call, and registries "
        "name functions at run time.",
        score_targets,
    ),
    Section(
        "Front end: time and memory",
        "python benchmarks/frontend/speed.py CHECKOUT... --repeat 3",
        ("frontend/results/speed.jsonl",),
        "at most 10 times `ast.parse`, under 1 GB for 5,000 files.",
        front_end_speed,
        "Missed where nearly every function leads to a model, most on small repositories: what carries a prompt is "
        "found in one reading and read in another, and calls are followed into.",
        front_end_speed_targets,
    ),
    Section(
        "Findings, read one by one",
        "python benchmarks/frontend/diagnostics.py",
        ("frontend/diagnostics/verdicts.jsonl",),
        "0.9 of the findings on ten public repositories are true.",
        verdicts,
        "The repositories were written down before the run; the project's own readers judged, with a reason for each.",
        verdict_targets,
    ),
    Section(
        "Rewriting sources",
        "python benchmarks/frontend/roundtrip.py CHECKOUT...",
        ("frontend/results/roundtrip.jsonl",),
        "unchanged code comes back byte for byte on five public repositories.",
        round_trip,
        "A file that LibCST does not parse is left alone.",
        round_trip_targets,
    ),
)
