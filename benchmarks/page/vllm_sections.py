"""The section on vLLM with and without Charter."""

from __future__ import annotations

import random
import statistics
from collections.abc import Iterator, Sequence

from page_parts import Rows, Section, percent, spread, table
from page_targets import TIMES, Target, at_least

SETTINGS = (
    "vLLM's own choice of threads",
    "two threads",
    "two threads, before admission knew of later calls",
)
RESAMPLES = 10_000
REGRET = 1.02


def beside_vllm(*files: Rows) -> str:
    """One line a part of each file; a pair is a plain run and one of Charter's in the same round."""
    lines = []
    for setting, rows in zip(SETTINGS, files, strict=True):
        for part in dict.fromkeys(row["part"] for row in rows):
            plain, ours = pairs(rows, part)
            ratios = throughput(plain, ours)
            lines.append(
                (
                    part.replace("_", " "),
                    setting,
                    len(ours),
                    spread(ratios),
                    f"{statistics.median(row['wall_s'] for row in plain):.0f}",
                    f"{statistics.median(row['wall_s'] for row in ours):.0f}",
                    percent(statistics.median(row["hit_rate"] for row in plain)),
                    percent(statistics.median(row["hit_rate"] for row in ours)),
                    percent(statistics.median(row["hit_rate"] / row["attainable"] for row in ours)),
                )
            )
    head = (
        "part", "vLLM has", "pairs", "times the throughput, median (least to most)", "plain, seconds",
        "Charter, seconds", "plain, hit rate", "Charter, hit rate", "of the attainable",
    )  # fmt: skip
    return table(head, lines)


def vllm_targets(own_threads: Rows, two_threads: Rows, before: Rows) -> Iterator[Target]:
    """Of today's code."""
    plain, ours = pairs(own_threads, "as_written")
    what = "Against the same vLLM, 16 documents of three stages"
    yield at_least(f"{what}: throughput, plain = 1", 1.9, {"": throughput(plain, ours)}, TIMES)
    with_two = {"": throughput(*pairs(two_threads, "as_written"))}
    yield at_least(f"{what}, two threads: throughput, plain = 1", 1.9, with_two, TIMES)
    only_schedule = {"": throughput(*pairs(own_threads, "layout_in_agent"))}
    yield at_least(f"{what}, layout in the agent already: throughput, plain = 1", 1.8, only_schedule, TIMES)
    yield at_least(f"{what}: hit rate", 0.60, {"": [row["hit_rate"] for row in ours]})
    yield at_least(
        f"{what}: of the attainable hit rate", 0.95, {"": [row["hit_rate"] / row["attainable"] for row in ours]}
    )


def throughput(plain: Rows, ours: Rows) -> list[float]:
    """Of Charter's runs, that of the plain one in the same pair = 1."""
    return [one["wall_s"] / other["wall_s"] for one, other in zip(plain, ours, strict=True)]


def no_regret(rows: Rows, before: Rows) -> str:
    """Where there is little to gain: the mean of the paired ratios of times, and where it lies with 95% confidence."""
    lines = []
    for code, each in (("today's", rows), ("before", before)):
        for part in dict.fromkeys(row["part"] for row in each):
            plain, ours = pairs(each, part)
            ratios = throughput(ours, plain)
            least, most = confidence(ratios)
            times = [f"{statistics.median(row['wall_s'] for row in runs):.1f}" for runs in (plain, ours)]
            rates = [percent(statistics.median(row["hit_rate"] for row in runs)) for runs in (plain, ours)]
            mean = f"{statistics.mean(ratios):.3f}"
            lines.append(
                (part.replace("_", " "), code, len(ratios), mean, f"{least:.3f} to {most:.3f}", *times, *rates)
            )
    head = (
        "part", "code", "pairs", "Charter's time, plain = 1", "95% confidence", "plain, seconds", "Charter, seconds",
        "plain, hit rate", "Charter, hit rate",
    )  # fmt: skip
    return table(head, lines)


def no_regret_targets(rows: Rows, before: Rows) -> Iterator[Target]:
    """Of today's code. Reached where all of the confidence lies within the limit."""
    for part in dict.fromkeys(row["part"] for row in rows):
        plain, ours = pairs(rows, part)
        ratios = throughput(ours, plain)
        least, most = confidence(ratios)
        measured = f"{statistics.mean(ratios):.3f} ({least:.3f} to {most:.3f} with 95% confidence), {len(ratios)} pairs"
        what = f"No regret, {part.replace('_', ' ')}, on vLLM: Charter's time, plain = 1"
        yield Target(what, f"at most {REGRET:g} with 95% confidence", measured, most <= REGRET)


def pairs(rows: Rows, part: str) -> tuple[Rows, Rows]:
    """The plain runs of a part and Charter's, of the rounds that have both."""
    runs = {(row["round"], row["run"]): row for row in rows if row["part"] == part}
    rounds = [number for number, run in runs if run == "plain" and (number, "charter") in runs]
    return [runs[number, "plain"] for number in rounds], [runs[number, "charter"] for number in rounds]


def confidence(values: Sequence[float]) -> tuple[float, float]:
    """Where the mean lies with 95% confidence: percentiles of the means of resamples (Efron 1979), always the same."""
    draw = random.Random(0)
    means = sorted(statistics.fmean(draw.choices(values, k=len(values))) for _ in range(RESAMPLES))
    return means[RESAMPLES * 25 // 1000], means[RESAMPLES * 975 // 1000]


SECTIONS = (
    Section(
        "The same vLLM without Charter and with it",
        "make bench-runtime",
        (
            "runtime/vllm.jsonl",
            "runtime/vllm_two_threads.jsonl",
            "runtime/vllm_two_threads_before.jsonl",
        ),
        "16 documents, three stages, layout on: at least 1.9 times the throughput of sixteen concurrent plain runs, a "
        "hit rate of at least 60% and of 95% of what is attainable; with the layout in the agent already, at least 1.8 "
        "times.",
        beside_vllm,
        "Reached with one thread, vLLM's own choice on two cores: throughput, and hit rates that are all that is "
        "attainable (commit 0ddd8c5; admission was changed after that for agents of another kind). Missed with "
        "two threads (1.83): what is left of the time is decoding, which no cache shortens, "
        "and two threads for vLLM on two cores are interrupted by its other processes and the clients, in both runs.",
        vllm_targets,
    ),
    Section(
        "The same where there is little to gain",
        "make bench-runtime",
        ("runtime/vllm_no_regret.jsonl", "runtime/vllm_no_regret_before.jsonl"),
        "prompts that have nothing in common, and a cache far above need: not slower than the plain client by more "
        "than 2%, with 95% confidence.",
        no_regret,
        "The means are within 2%; the confidence is not, yet: with the machine's own unrest of 5 to 7% a pair some"
        " eighty pairs would be needed, and other work ran on the second core (in the first eleven pairs of the "
        "first part on both). Before, a run computed its constant prefixes first and let one of the calls that "
        "begin alike go ahead. vLLM finds blocks while they are computed, so that neither saves anything there, "
        "and both are left out now.",
        no_regret_targets,
    ),
)
