"""The sections on comparisons without a clock: hit rates of the engine's own scheduler and cache model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from comparison_parts import commands, failures, name
from comparison_targets import values
from page_parts import Rows, Section, percent, table
from page_targets import Target, at_least

from charter_compiler.bench.arms import ALL_ARMS
from charter_compiler.bench.summary import CaseSummary, Spread, attainable, hit_rate, summarize

DEBATES = ("64 blocks", "64 blocks, before", "128 blocks", "256 blocks")


def hit_rates(named: Iterable[tuple[str, CaseSummary]]) -> str:
    """One line a case: the hit rate of each arm, and what of the attainable one Charter reaches."""
    lines = []
    for label, case in named:
        rates = (case.values(arm.name, hit_rate) for arm in ALL_ARMS)
        share = case.reached(case.charter)
        lines.append((label, *map(_percent, (*rates, case.values(case.charter, attainable), share))))
    head = ("case", *(f"hit rate, {arm.name}" for arm in ALL_ARMS), "attainable to Charter", "of that reached")
    return table(head, lines)


def _percent(found: Spread | None) -> str:
    return "" if found is None else percent(found.median)


def simulated(rows: Rows) -> str:
    cases = summarize(rows)
    rates = hit_rates((name(case), case) for case in cases)
    parts = (rates, failures(cases), commands(rows))
    return "\n\n".join(part for part in parts if part)


def simulated_targets(rows: Rows) -> Iterator[Target]:
    cases = summarize(rows)
    reached = {name(case): values(case.reached(case.charter)) for case in cases}
    yield at_least("Simulated, every shape and capacity: of the attainable hit rate", 0.95, reached)


def debates(*files: Rows) -> str:
    return hit_rates((label, case) for label, rows in zip(DEBATES, files, strict=True) for case in summarize(rows))


def debate_targets(*files: Rows) -> Iterator[Target]:
    """Of the files of today's code."""
    today = [(label, rows) for label, rows in zip(DEBATES, files, strict=True) if "before" not in label]
    reached = {label: values(case.reached(case.charter)) for label, rows in today for case in summarize(rows)}
    yield at_least("Debate on a small cache, simulated: of the attainable hit rate", 0.95, reached)


SECTIONS = (
    Section(
        "Agent shapes and capacities, simulated",
        "charter bench TABLE --target sim",
        ("comparison/simulated.jsonl",),
        "Charter with layout reaches 95% of the attainable hit rate for every shape, at every capacity",
        simulated,
        "Of the prompts that each arm sends all that is attainable is reached. Layout finds an order that reuses more "
        "for table rows, multi-agent coding and tree of thoughts; it leaves the prompts of the other shapes as they "
        "are. What Charter saves without touching a prompt is greatest where the cache is small and a call's "
        "beginning has to last until an item comes back to it: debates, questions on documents, coding.",
        simulated_targets,
    ),
    Section(
        "A debate on a small cache, simulated",
        "charter bench examples/agents/debate.py:Debate.decide --inputs examples/data/report_questions.jsonl "
        "--items 16 --capacity-blocks 64 --target sim --arms as-written exact layout --rounds 1",
        tuple(f"comparison/{each}.jsonl" for each in ("debate", "debate_before", "debate_128", "debate_256")),
        "Charter reaches 95% of the attainable hit rate where the cache has little more than twice its largest call",
        debates,
        "Two analysts take turns, each with a beginning of his own: while one speaks, the other's prompt has to last. "
        "Admission knows that of the first items from the prediction's trace, and learns it from those that have "
        "ended; before, it knew neither.",
        debate_targets,
    ),
)
