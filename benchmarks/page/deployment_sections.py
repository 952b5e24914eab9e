"""The sections on the deployment's script, and on long runs."""

from __future__ import annotations

from collections.abc import Iterator

from page_parts import Rows, Section, percent, table
from page_targets import Target, all_of


def deployment(rows: Rows) -> str:
    lines = [
        (
            row["benchmark"],
            row["mode"],
            percent(row["hit_rate"]),
            f"{row['s_per_item']:.1f}",
            f"{row['ttft_p50_s']:.1f}",
        )
        for row in rows
        if row.get("hit_rate") is not None and row.get("s_per_item") is not None
    ]
    return table(("benchmark", "mode", "hit rate", "seconds an item", "median seconds to first token"), lines)


def soak(*files: Rows) -> str:
    lines = [
        (row["test"], "passed" if row["passed"] else "failed",
         ", ".join(f"{key.replace('_', ' ')} {value:g}" for key, value in row.items() if key not in ("test", "passed")))
        for rows in files
        for row in rows[1:]
    ]  # fmt: skip
    return table(("test", "result", "figures"), lines)


def soak_targets(*files: Rows) -> Iterator[Target]:
    passed = [row["passed"] for rows in files for row in rows[1:]]
    yield all_of("Long runs: nothing left over, nothing lost in 50 kills", "every test", passed)


SECTIONS = (
    Section(
        "The deployment's benchmarks, on the embedded server",
        "make bench-deployment",
        ("deployment/embedded/rows.jsonl",),
        "the script for a GPU instance runs from start to end where there is none.",
        deployment,
        "One iteration of two items on a loaded machine: it shows that the script works, not what a GPU would do.",
    ),
    Section(
        "Soak",
        "make soak",
        ("soak/results.jsonl", "soak/kills.jsonl"),
        "nothing is left of many requests, starts and stops; a run that is killed fifty times loses and repeats "
        "nothing.",
        soak,
        "Reached.",
        soak_targets,
    ),
)
