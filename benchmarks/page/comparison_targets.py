"""What the project's issues ask of comparisons: of each table (`charter bench TABLE`), and of all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from page_targets import RATIO, TIMES, Cases, Target, at_least, at_most

from charter_compiler.bench.arms import AS_WRITTEN, NO_CACHE
from charter_compiler.bench.summary import (
    CaseSummary,
    Figure,
    Spread,
    hit_rate,
    latency,
    later_ttft,
    peak,
    strongest_plain,
    ttft,
    wall,
)

ROUNDS = 3
"""So many rounds, each in a process of its own, have to agree."""


def values(found: Spread | None) -> tuple[float, ...]:
    return () if found is None else found.values


def saved(case: CaseSummary, other: str, figure: Figure = wall) -> tuple[float, ...]:
    """How much lower a figure of Charter is than that of another arm, a share a round."""
    return tuple(1 - ratio for ratio in values(case.ratio(case.charter, other, figure)))


def rounds_off(case: CaseSummary) -> tuple[float, ...]:
    """How far the round farthest from the median lies from it, by the throughput ratio to the agent as written; nothing
    of a case with too few rounds."""
    ratio = case.ratio(AS_WRITTEN.name, case.charter)
    return () if ratio is None or len(ratio.values) < ROUNDS else (ratio.off,)


def partial_reuse(case: CaseSummary) -> bool:
    return any(row["setting"]["partial_reuse"] for runs in case.runs.values() for row in runs.values())


def chain(cases: Sequence[CaseSummary], on: str) -> Iterator[Target]:
    less, sooner = (
        {case.case: saved(case, AS_WRITTEN.name, figure) for case in cases} for figure in (wall, later_ttft)
    )
    yield at_least(f"Chain, 900-token documents{on}: less time a document than as written", 0.40, less)
    yield at_least(f"Chain, 900-token documents{on}: lower TTFT of stages 2 and 3 than as written", 0.70, sooner)


def chain_long(cases: Sequence[CaseSummary], on: str) -> Iterator[Target]:
    less = {case.case: saved(case, NO_CACHE.name) for case in cases}
    yield at_least(f"Chain, 3,000-token documents{on}: less time a document than without a cache", 0.60, less)


def delta(cases: Sequence[CaseSummary], on: str) -> Iterator[Target]:
    for partial, least, how in ((False, 0.80, "blocks of 32"), (True, 0.85, "partial reuse")):
        rates = {
            case.case: values(case.values(case.charter, hit_rate)) for case in cases if partial_reuse(case) == partial
        }
        for label, rate in rates.items() or [("350 tokens", ())]:
            yield at_least(f"Delta matching, {label}{on}: hit rate, {how}", least, {"": rate})
    sooner = {case.case: saved(case, AS_WRITTEN.name, ttft) for case in cases}
    yield at_least(f"Delta matching{on}: lower TTFT than as written", 0.70, sooner)
    short = [case for case in cases if case.case.startswith("900 tokens")]
    what = f"Delta matching, 900 tokens and short answers{on}"
    quicker = {case.case: saved(case, AS_WRITTEN.name, latency) for case in short}
    yield at_least(f"{what}: lower latency of a call than as written", 0.70, quicker)
    more = {case.case: values(case.ratio(AS_WRITTEN.name, case.charter)) for case in short}
    yield at_least(f"{what}: throughput, as written = 1", 2, more, TIMES)


def pressure(cases: Sequence[CaseSummary], on: str) -> Iterator[Target]:
    reached = {case.case: values(case.reached(case.charter)) for case in cases}
    yield at_least(
        f"Capacity of the cache{on}, 1.2 times an item's need and more: of the attainable hit rate", 0.95, reached
    )
    times = {case.case: values(case.ratio(case.charter, strongest_plain(case))) for case in cases}
    yield at_most(f"Capacity of the cache{on}: time, strongest plain setting = 1", 1.02, times, RATIO)


OF_TABLE: Mapping[str, Callable[[Sequence[CaseSummary], str], Iterable[Target]]] = {
    "chain": chain,
    "chain-long": chain_long,
    "delta": delta,
    "pressure": pressure,
}
"""Takes the cases of the table that were timed, none of them where it was not, and `, on ...` where that is no
matter of course."""


def of_all(cases: Mapping[str, CaseSummary]) -> Iterator[Target]:
    """What is asked of every workload, by its name."""

    def each(figure: Callable[[CaseSummary], Sequence[float]]) -> Cases:
        return {name: figure(case) for name, case in cases.items()}

    what = "Every timed workload"
    yield at_least(f"{what}: of the gain that the bound allows", 0.90, each(lambda case: values(case.gain_share)))
    yield at_least(f"{what}: of the attainable hit rate", 0.95, each(lambda case: values(case.reached(case.charter))))
    fewer = each(lambda case: saved(case, NO_CACHE.name, peak))
    yield at_least(f"{what}: fewer KV blocks at the peak than without sharing", 0.30, fewer)
    yield at_most(f"{what}: a round's throughput ratio off the median of {ROUNDS} or more", 0.10, each(rounds_off))
