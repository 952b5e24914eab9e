"""What follows of raw rows: medians, spreads, ratios between runs of one round, and the attainable bound."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from charter_compiler.bench.arms import ALL_ARMS, AS_WRITTEN, EXACT, LAYOUT, NO_CACHE, PREFILL, TUNED
from charter_compiler.bench.rows import RUN, SEARCH, Row

Figure = Callable[[Row], float | None]


@dataclass(frozen=True, slots=True)
class Spread:
    """One value a round, in the order of the rounds."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return median(self.values)

    @property
    def off(self) -> float:
        """How far the value that is farthest from the median lies from it, as a share of it."""
        middle = self.median
        return max(abs(value - middle) for value in self.values) / abs(middle) if middle else 0.0


def wall(row: Row) -> float | None:
    """Seconds for all items; ``None`` of an engine that computes nothing, as all other times."""
    return float(row["metrics"]["wall_s"]) if row["timed"] else None


def ttft(row: Row) -> float | None:
    """Median seconds to the first token, as the agent waited."""
    value: float | None = row["metrics"]["ttft_s"]["p50"]
    return value if row["timed"] else None


def late_ttft(row: Row) -> float | None:
    """The 95th percentile of the same: of a call that came when many waited."""
    value: float | None = row["metrics"]["ttft_s"]["p95"]
    return value if row["timed"] else None


def latency(row: Row) -> float | None:
    """Median seconds of a call, as the agent waited."""
    value: float | None = row["metrics"]["latency_s"]["p50"]
    return value if row["timed"] else None


def hit_rate(row: Row) -> float | None:
    """Cached over prompt tokens; with partial reuse those that the server counted (``served.py``)."""
    value: float | None = _rates(row)["hit_rate"]
    return value


def attainable(row: Row) -> float | None:
    """The hit rate of a cache that never evicts, in whole blocks; with partial reuse to the token."""
    value: float | None = _rates(row)["attainable_hit_rate"]
    return value


def _rates(row: Row) -> dict[str, float | None]:
    rates: dict[str, float | None] = row.get("to_the_token") or row["metrics"]
    return rates


def peak(row: Row) -> float | None:
    """The most KV blocks that were held at once. Older rows have ``peak_blocks`` instead, of looks four times a second
    at a gauge in which short requests never show: those are not taken."""
    value: float | None = row.get("peak_used_blocks")
    return value


def later_ttft(row: Row) -> float | None:
    """The mean of the call sites' median seconds to the first token, without the first site's."""
    values = [stage["ttft_p50_s"] for stage in row["stages"][1:]]
    return sum(values) / len(values) if row["timed"] and values and None not in values else None


@dataclass(frozen=True, slots=True)
class CaseSummary:
    """The runs of a case. ``runs``: by arm, those that did not fail, by round; ``failed`` are the others."""

    table: str
    case: str
    runs: dict[str, dict[int, Row]]
    failed: tuple[Row, ...]
    searched: tuple[Row, ...]

    @property
    def arms(self) -> tuple[str, ...]:
        """Those of which a run succeeded, in the order to show them."""
        return tuple(arm.name for arm in ALL_ARMS if self.runs.get(arm.name))

    def of(self, arm: str) -> dict[int, Row]:
        """The runs of an arm. Where the search found that nothing beats the agent as written, its runs are those of the
        tuned one."""
        written = self.runs.get(AS_WRITTEN.name, {})
        if arm == TUNED.name and self.searched and written:
            in_flight = next(iter(written.values()))["in_flight"]
            if fastest(self.searched) == in_flight:
                return written
        return self.runs.get(arm, {})

    def values(self, arm: str, figure: Figure) -> Spread | None:
        """A figure of an arm; ``None`` unless every run has it."""
        found = [figure(row) for row in self.of(arm).values()]
        numbers = tuple(value for value in found if value is not None)
        return Spread(numbers) if numbers and len(numbers) == len(found) else None

    def ratio(self, arm: str, other: str, figure: Figure = wall) -> Spread | None:
        """A figure of one arm over that of another, round by round."""
        return self.by_round(lambda rows: _over(figure(rows[arm]), figure(rows[other])), arm, other)

    def by_round(self, value: Callable[[dict[str, Row]], float | None], *arms: str) -> Spread | None:
        """A value of the rounds in which all of these arms succeeded; ``None`` where there is none."""
        found = []
        for number in sorted(self.of(arms[0])):
            if all(number in self.of(arm) for arm in arms):
                one = value({arm: self.of(arm)[number] for arm in arms})
                if one is not None:
                    found.append(one)
        return Spread(tuple(found)) if found else None

    @property
    def charter(self) -> str:
        """The arm that stands for Charter: with layout, where the case has it, else its exact passes."""
        return LAYOUT.name if LAYOUT.name in self.arms else EXACT.name

    @property
    def bound(self) -> Spread | None:
        """Seconds of the attainable bound, see ``bound_s``."""
        return self.by_round(self._bound, NO_CACHE.name, PREFILL.name, self.charter)

    @property
    def bound_ratio(self) -> Spread | None:
        """The bound over the time of the agent as written."""
        arms = (AS_WRITTEN.name, NO_CACHE.name, PREFILL.name, self.charter)
        return self.by_round(lambda rows: _over(self._bound(rows), wall(rows[AS_WRITTEN.name])), *arms)

    @property
    def gain_share(self) -> Spread | None:
        """How much of the time that the bound saves Charter saves, both against the agent as written."""
        return self.by_round(self._gain_share, AS_WRITTEN.name, NO_CACHE.name, PREFILL.name, self.charter)

    def _bound(self, rows: dict[str, Row]) -> float | None:
        return bound_s(rows[NO_CACHE.name], rows[PREFILL.name], rows[self.charter])

    def _gain_share(self, rows: dict[str, Row]) -> float | None:
        bound, written, charter = self._bound(rows), wall(rows[AS_WRITTEN.name]), wall(rows[self.charter])
        if bound is None or written is None or charter is None or bound >= written:  # then there is nothing to gain
            return None
        return (written - charter) / (written - bound)

    def reached(self, arm: str) -> Spread | None:
        """Hit rate over attainable hit rate."""
        return self.values(arm, lambda row: _over(hit_rate(row), attainable(row)))


def bound_s(no_cache: Row, prefill: Row, charter: Row) -> float | None:
    """Seconds that the items would take with all repeated prefill gone and decoding as it is without a cache.

    The run without a cache, less the share of its prefill that an unbounded cache saves of the prompts that Charter
    sends: ``T - P * h``. ``P`` is measured: the same prompts, one token each. A prompt token is taken to cost the same
    wherever it stands; the repeated ones stand first and cost a little less, so that the bound is a little too low to
    be reached, the more the longer the prompts are.
    """
    rate, total, prefilled = attainable(charter), wall(no_cache), wall(prefill)
    return None if rate is None or total is None or prefilled is None else total - prefilled * rate


def _over(value: float | None, other: float | None) -> float | None:
    return value / other if value is not None and other else None


def fastest(searched: Sequence[Row]) -> int | None:
    """The concurrency of the quickest run of a search; ``None`` without a search, or if all failed."""
    done = [row for row in searched if "error" not in row]
    best = min(done, key=lambda row: float(row["metrics"]["wall_s"]), default=None)
    return None if best is None else int(best["in_flight"])


def strongest_plain(case: CaseSummary) -> str:
    """The quicker of the agent as written and the tuned one, by the median; the tuned one, of which there are no runs,
    where no other setting was tried, or its runs failed."""
    if not case.of(TUNED.name):
        return TUNED.name
    times = {arm: case.values(arm, wall) for arm in (AS_WRITTEN.name, TUNED.name)}
    known = {arm: time.median for arm, time in times.items() if time is not None}
    return min(known, key=lambda arm: known[arm], default=AS_WRITTEN.name)


def summarize(rows: Iterable[Row]) -> tuple[CaseSummary, ...]:
    """One summary a case, in the order of their first rows."""
    grouped: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row["kind"] in (RUN, SEARCH):
            grouped.setdefault((row["table"], row["case"]), []).append(row)
    return tuple(_summary(table, case, found) for (table, case), found in grouped.items())


def _summary(table: str, case: str, rows: Sequence[Row]) -> CaseSummary:
    runs: dict[str, dict[int, Row]] = {}
    for row in rows:
        if row["kind"] == RUN and "error" not in row:
            runs.setdefault(row["arm"], {})[row["round"]] = row
    return CaseSummary(
        table,
        case,
        runs,
        tuple(row for row in rows if "error" in row),
        tuple(row for row in rows if row["kind"] == SEARCH and "error" not in row),
    )


@dataclass(frozen=True, slots=True)
class Finding:
    """A line of what was found. ``percent``: shown as a share, else as a factor."""

    text: str
    value: Spread
    percent: bool = True


def findings(case: CaseSummary) -> tuple[Finding, ...]:
    """The ratios of a case, what matters most first; what its arms do not tell is left out."""
    charter = case.charter
    plain = strongest_plain(case)
    less: list[tuple[str, str, Figure]] = [
        ("less time an item than as written", AS_WRITTEN.name, wall),
        ("less time an item than the strongest plain setting", plain, wall),
        ("less time an item than without a cache", NO_CACHE.name, wall),
        ("lower median time to first token than as written", AS_WRITTEN.name, ttft),
        ("lower median time to first token than the strongest plain setting", plain, ttft),
        ("lower time to first token of the later calls than as written", AS_WRITTEN.name, later_ttft),
        ("lower 95th percentile of the time to first token than as written", AS_WRITTEN.name, late_ttft),
        ("lower median latency of a call than as written", AS_WRITTEN.name, latency),
        ("fewer KV blocks held at the peak than without a cache", NO_CACHE.name, peak),
        ("fewer KV blocks held at the peak than as written", AS_WRITTEN.name, peak),
        ("fewer KV blocks held at the peak than the strongest plain setting", plain, peak),
    ]
    found = []
    for text, other, figure in less:
        ratio = case.ratio(charter, other, figure)
        if ratio is not None:
            found.append(Finding(text, Spread(tuple(1 - value for value in ratio.values))))
    throughput = case.ratio(AS_WRITTEN.name, charter)
    if throughput is not None and len(throughput.values) > 1:
        off = Spread((throughput.off,))
        found.append(
            Finding(f"at most is one of {len(throughput.values)} rounds' throughput ratios off their median", off)
        )
    if throughput is not None:
        found.append(Finding("times the throughput of the agent as written", throughput, percent=False))
    gained, rounds = case.gain_share, len(case.of(charter))
    if gained is not None:
        of = (
            ""
            if len(gained.values) == rounds
            else f", in the {len(gained.values)} of {rounds} rounds that have a bound"
        )
        found.append(Finding(f"of the gain that the bound allows{of}", gained))
    reached = case.reached(charter)
    if reached is not None:
        found.append(Finding("of the attainable hit rate", reached))
    return tuple(found)
