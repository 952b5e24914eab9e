"""The sections on the order of calls, and on what exact passes must not change."""

from __future__ import annotations

from page_parts import Rows, Section, percent, table


def schedule(rows: Rows) -> str:
    head = ("agent", "run", "order of calls", "blocks", "calls", "predicted", "measured", "attainable")
    return table(
        head,
        [
            (
                row["entry"],
                row["run"],
                row["schedule"] or "",
                row["blocks"],
                row["calls"],
                percent(row["predicted"]),
                percent(row["measured"]),
                percent(row["attainable"]),
            )
            for row in rows
        ],
    )


def exact(rows: Rows) -> str:
    head = ("agent", "calls", "compared", "prompts that differ", "outputs that differ", "hit rate as written", "exact")
    return table(
        head,
        [
            (
                row["agent"],
                row["calls"],
                row["compared"],
                row["different_prompts"],
                row["different_outputs"],
                percent(row["hit_rate_as_written"]),
                percent(row["hit_rate_optimized"]),
            )
            for row in rows
        ],
    )


SECTIONS = (
    Section(
        "The order of calls where the cache is small",
        "make bench-schedule",
        ("schedule/results.jsonl",),
        "the order that the compiler chooses by simulation reuses what item by item thrashes; measured as predicted",
        schedule,
        "Each of three stages has a handbook that alone nearly fills the cache. As written, items in flight together "
        "happen to go through the stages in step, so that this run is stage by stage too. No run warms: a handbook "
        "would be evicted before it is needed. The second workload of the script (questions on documents) was not "
        "measured for want of time.",
    ),
    Section(
        "Exact passes on a reproducible engine",
        "make bench-exact",
        ("determinism/exact_passes.jsonl",),
        "no prompt differs, and with `--reproducible` no output",
        exact,
        "A reproducible engine reuses 128 tokens at a time; the document processor's calls share fewer.",
    ),
)
