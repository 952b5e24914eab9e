"""How long a run takes on so many replicas, and what each reuses: stretches of a replica's stream are simulated.

A replica's cache sees only the items that are placed there. So for each count of replicas all items are placed. Of the
replica with the most to do, the beginning and some stretches at equal distances go through scheduler and engine in
virtual time; the rest of its stream, and the other replicas, are taken to go at the pace of these. Whole runs of
neighbours are drawn, since what an item reuses was left by its neighbours: a systematic sample of clusters, whose
standard error is stated. A stretch's first items fill the cache, and its last ones run beside ever fewer others: these
do not count for the pace.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from charter_compiler.diagnostics.errors import AgentError
from charter_compiler.predict.control_flow import ItemTrace
from charter_compiler.predict.prediction import Simulation, problem_of_traces
from charter_compiler.predict.row_index import Integers
from charter_compiler.predict.sharding import Floats, Pieces, share_out

STRETCHES = 6
"""Simulated beside the beginning, at equal distances."""
LEAD_IN = 0.25
"""The share of a stretch that fills the cache, and does not count for its pace."""


@dataclass(frozen=True, slots=True)
class Pace:
    """For each unit of weight: virtual seconds, prompt tokens and cached tokens."""

    seconds: float
    prompt_tokens: float
    cached_tokens: float


@dataclass(frozen=True, slots=True)
class Stretch:
    """Simulated items of one replica in the order in which they ended: what had been done by then, each a running sum.
    ``refused``: calls that the engine would refuse, which are in no figure."""

    weights: Floats
    seconds: Floats
    prompt_tokens: Floats
    cached_tokens: Floats
    refused: int

    @property
    def weight(self) -> float:
        return float(self.weights[-1])

    def at(self, weight: float) -> Pace:
        """What had been done when so much of the weight was."""
        series = (self.seconds, self.prompt_tokens, self.cached_tokens)
        return Pace(*(float(np.interp(weight, self.weights, values)) for values in series))

    def counted(self, concurrency: int) -> tuple[float, Pace]:
        """Weight, and what was done, between the lead-in and the last ``concurrency`` items."""
        last = max(len(self.weights) - concurrency, len(self.weights) // 2) - 1
        first = min(round(LEAD_IN * len(self.weights)), last - 1)
        return float(self.weights[last] - self.weights[first]), Pace(
            float(self.seconds[last] - self.seconds[first]),
            float(self.prompt_tokens[last] - self.prompt_tokens[first]),
            float(self.cached_tokens[last] - self.cached_tokens[first]),
        )


@dataclass(frozen=True, slots=True)
class ReplicaModel:
    """One replica's stream: its beginning as simulated, and the pace of the rest; ``None`` where there is no rest.
    ``error``: the standard error of the pace in seconds, as a share of it. ``refused``: calls that the engine would
    refuse, of those simulated."""

    beginning: Stretch
    pace: Pace | None
    error: float
    refused: int

    def at(self, weight: float) -> Pace:
        """What a replica with so much to do has done in the end."""
        start, pace = self.beginning.at(weight), self.pace
        rest = weight - self.beginning.weight
        if pace is None or rest <= 0:
            return start
        return Pace(
            start.seconds + rest * pace.seconds,
            start.prompt_tokens + rest * pace.prompt_tokens,
            start.cached_tokens + rest * pace.cached_tokens,
        )


@dataclass(frozen=True, slots=True)
class ReplicaCount:
    """A run on so many replicas. ``imbalance``: the weight of the one with the most to do over the mean, less 1.
    ``seconds``, of the longest one, and ``items_per_s`` are ``None`` where the target was not calibrated.
    ``simulated``: of this count itself, else its pace is that of the next smaller one that was. ``refused``:
    simulated calls that the engine would refuse; they are in no figure."""

    replicas: int
    hit_rate: float
    imbalance: float
    seconds: float | None
    items_per_s: float | None
    error: float
    simulated: bool
    refused: int

    def price(self, per_hour: float | None) -> float | None:
        """Of all replicas until the longest one is done."""
        if per_hour is None or self.seconds is None:
            return None
        return self.replicas * per_hour * self.seconds / 3600


def counts_to_simulate(most: int) -> list[int]:
    """1, 2, 4, ... and the most itself."""
    return sorted({most, *(2**power for power in range(most.bit_length()) if 2**power <= most)})


def plan_counts(
    pieces: Pieces,
    weights: Floats,
    most: int,
    window: int,
    simulation: Simulation,
    trace: Callable[[Integers], Sequence[ItemTrace]],
    on_step: Callable[[int], None] = lambda replicas: None,
) -> list[ReplicaCount]:
    """Runs on 1 to ``most`` replicas.

    Args:
        pieces: the rows of the inputs as they are placed.
        weights: of each row.
        window: rows of a stretch.
        trace: the agent's control flow over these rows.
        on_step: told of each count that is simulated.
    """
    found: list[ReplicaCount] = []
    simulated, model = set(counts_to_simulate(most)), None
    timed = simulation.costs is not None
    for replicas in range(1, most + 1):
        shares = share_out(pieces, replicas)
        loads = np.array([pieces.weights[share].sum() for share in shares])
        if model is None or replicas in simulated:
            on_step(replicas)
            stream = pieces.stream(shares[int(loads.argmax())])
            model = model_replica(stream, weights, window, simulation, trace)
        done = [model.at(float(load)) for load in loads]
        seconds = max(each.seconds for each in done) if timed else None
        found.append(
            ReplicaCount(
                replicas,
                hit_rate=sum(each.cached_tokens for each in done) / sum(each.prompt_tokens for each in done),
                imbalance=float(loads.max() / loads.mean() - 1),
                seconds=seconds,
                items_per_s=None if seconds is None else len(weights) / seconds,
                error=model.error,
                simulated=replicas in simulated,
                refused=model.refused if replicas in simulated else 0,
            )
        )
    return found


def model_replica(
    stream: Integers,
    weights: Floats,
    window: int,
    simulation: Simulation,
    trace: Callable[[Integers], Sequence[ItemTrace]],
) -> ReplicaModel:
    """Simulate the beginning of a replica's stream and ``STRETCHES`` more of ``window`` items; all of it if it is no
    longer than these.

    Raises:
        AgentError: the agent fails on outputs that stand in for a model's.
    """
    if len(stream) <= (1 + STRETCHES) * window:
        whole = simulate_stretch(trace(stream), weights, simulation)
        return ReplicaModel(whole, None, 0.0, whole.refused)
    beginning = simulate_stretch(trace(stream[:window]), weights, simulation)
    room = len(stream) - (1 + STRETCHES) * window
    starts = [window + number * window + round(room * (number + 0.5) / STRETCHES) for number in range(STRETCHES)]
    stretches = [simulate_stretch(trace(stream[at : at + window]), weights, simulation) for at in starts]
    pace, error = _mean([stretch.counted(simulation.options.concurrency) for stretch in stretches])
    return ReplicaModel(beginning, pace, error, beginning.refused + sum(stretch.refused for stretch in stretches))


def _mean(stretches: Sequence[tuple[float, Pace]]) -> tuple[Pace, float]:
    """The pace over all of them, and its relative standard error in seconds: of a ratio of two sums (Cochran, Sampling
    Techniques, 1977, 6.4), as if the stretches had been drawn at random."""
    weights = np.array([weight for weight, _ in stretches])
    seconds = np.array([done.seconds for _, done in stretches])
    total = float(weights.sum())
    pace = Pace(
        float(seconds.sum()) / total,
        sum(done.prompt_tokens for _, done in stretches) / total,
        sum(done.cached_tokens for _, done in stretches) / total,
    )
    residuals = seconds - pace.seconds * weights
    error = np.sqrt(np.sum(residuals**2) / (len(stretches) * (len(stretches) - 1))) / np.mean(seconds)
    return pace, float(error)


def simulate_stretch(traces: Sequence[ItemTrace], weights: Floats, simulation: Simulation) -> Stretch:
    """Items through scheduler and engine, the cache empty at the start. ``weights`` by the items' indices.

    Raises:
        AgentError: as ``model_replica``.
    """
    problem = problem_of_traces(traces)
    if problem is not None:
        raise AgentError(problem)
    replay = simulation.replay()
    calls = replay.run(traces)
    items = {trace.item: _Item() for trace in traces}
    for call in calls:
        assert call.trace is not None, "there are no warm-ups"
        item = items[call.trace.call.item]
        item.ended = max(item.ended, call.computed_ns)
        item.prompt_tokens += call.prompt_tokens
        item.cached_tokens += call.cached_tokens
    order = sorted(items, key=lambda number: items[number].ended)
    ended = np.array([items[number].ended for number in order]) / 1e9
    return Stretch(
        np.cumsum(weights[order]),
        ended + (replay.seconds - ended[-1]),  # from the end of the last prompt to that of the last output
        np.cumsum([float(items[number].prompt_tokens) for number in order]),
        np.cumsum([float(items[number].cached_tokens) for number in order]),
        sum(call.rejected is not None for call in calls),
    )


@dataclass(slots=True)
class _Item:
    ended: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
