"""The figures of a run, as ``OUT.jsonl.metrics.json`` has them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from charter_compiler.executor.calls import CallRecord
from charter_compiler.executor.quantiles import Quantiles


@dataclass(frozen=True, slots=True)
class CallFigures:
    """What is counted of one call. Tokens are ``None`` where the target does not report them; times in seconds.
    ``memoized``: no engine was asked; ``endpoint``: which of several was."""

    prompt_tokens: int | None
    cached_tokens: int | None
    output_tokens: int | None
    latency: float
    ttft: float | None
    attainable_tokens: int | None
    memoized: bool = False
    endpoint: str | None = None

    @classmethod
    def of(cls, record: CallRecord) -> CallFigures:
        result = record.result
        return cls(
            result.prompt_tokens,
            result.cached_tokens,
            result.output_tokens,
            record.latency,
            record.ttft,
            record.attainable_tokens,
            record.memoized,
            record.endpoint,
        )


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Seconds; ``None`` when nothing was measured."""

    p50: float | None
    p95: float | None

    @classmethod
    def of(cls, values: Quantiles | Iterable[float]) -> Percentiles:
        if not isinstance(values, Quantiles):
            counted = Quantiles()
            for value in values:
                counted.add(value)
            values = counted
        return cls(values.at(0.5), values.at(0.95))


@dataclass(slots=True)
class TokenTotals:
    """Sums over calls; ``None`` once a call did not report the figure, since a sum without it would be wrong."""

    prompt: int | None = 0
    cached: int | None = 0
    output: int | None = 0
    attainable: int | None = 0

    def add(self, call: CallFigures) -> None:
        self.prompt = _plus(self.prompt, call.prompt_tokens)
        self.cached = _plus(self.cached, call.cached_tokens)
        self.output = _plus(self.output, call.output_tokens)
        self.attainable = _plus(self.attainable, call.attainable_tokens)


def _plus(total: int | None, value: int | None) -> int | None:
    return None if total is None or value is None else total + value


def _rate(cached: int | None, prompt: int | None) -> float | None:
    return cached / prompt if prompt and cached is not None else None


@dataclass(slots=True)
class EndpointTally:
    """Running totals of one of several endpoints: ``totals`` over its calls and warm-ups, ``calls`` of the agent,
    ``items`` whose last call it answered."""

    items: int = 0
    calls: int = 0
    totals: TokenTotals = field(default_factory=TokenTotals)


@dataclass(slots=True)
class Tally:
    """Running totals of a run, in bounded memory. ``totals`` are over the agent's calls and the warm-ups,
    ``warm_up_totals`` over the warm-ups alone; ``calls`` counts the agent's calls that were sent, ``latency`` and
    ``ttft`` are theirs; ``memoized`` counts those answered without. ``endpoints`` is empty where there is only one."""

    calls: int = 0
    latency: Quantiles = field(default_factory=Quantiles)
    ttft: Quantiles = field(default_factory=Quantiles)
    warm_ups: list[CallFigures] = field(default_factory=list)
    totals: TokenTotals = field(default_factory=TokenTotals)
    warm_up_totals: TokenTotals = field(default_factory=TokenTotals)
    items: int = 0
    failed: int = 0
    memoized: int = 0
    endpoints: dict[str, EndpointTally] = field(default_factory=dict)

    def add_item(self, calls: Sequence[CallFigures]) -> None:
        """A finished item, whose calls were added before."""
        self.items += 1
        last = next((call.endpoint for call in reversed(calls) if call.endpoint is not None), None)
        if last is not None:
            self.endpoints[last].items += 1

    def add_endpoint(self, name: str) -> EndpointTally:
        """One of several: it counts in the balance of loads even if it is given nothing to do."""
        return self.endpoints.setdefault(name, EndpointTally())

    def _at_endpoint(self, figures: CallFigures, calls: int) -> None:
        if figures.endpoint is not None:
            there = self.add_endpoint(figures.endpoint)
            there.calls += calls
            there.totals.add(figures)

    def add_call(self, figures: CallFigures) -> None:
        if figures.memoized:
            self.memoized += 1
            return
        self.calls += 1
        self._at_endpoint(figures, 1)
        self.latency.add(figures.latency)
        if figures.ttft is not None:
            self.ttft.add(figures.ttft)
        self.totals.add(figures)

    def add_warm_up(self, figures: CallFigures) -> None:
        self.warm_ups.append(figures)
        self._at_endpoint(figures, 0)
        self.totals.add(figures)
        self.warm_up_totals.add(figures)

    @property
    def hit_rate(self) -> float | None:
        """Cached over prompt tokens of every request that was answered, warm-ups included; never a mean of rates."""
        return _rate(self.totals.cached, self.totals.prompt)

    @property
    def attainable_hit_rate(self) -> float | None:
        """The hit rate of the same requests, in the order in which they were sent, on an unbounded cache."""
        return _rate(self.totals.attainable, self.totals.prompt)


@dataclass(frozen=True, slots=True)
class EndpointMetrics:
    """The figures of one of several endpoints; tokens with its warm-ups. ``predicted_hit_rate`` is of its own cache."""

    name: str
    items: int
    calls: int
    prompt_tokens: int | None
    cached_tokens: int | None
    hit_rate: float | None
    predicted_hit_rate: float | None
    output_tokens: int | None

    @property
    def tokens(self) -> int | None:
        """Prompt and output tokens: what load is balanced by."""
        return _plus(self.prompt_tokens, self.output_tokens)


def imbalance(loads: Sequence[float | None]) -> float | None:
    """How far the largest load lies above the mean, as a share of it; ``None`` where one is unknown or there is
    none."""
    known = [load for load in loads if load is not None]
    if len(known) < len(loads) or not sum(known):
        return None
    return max(known) * len(known) / sum(known) - 1


@dataclass(frozen=True, slots=True)
class RunMetrics:
    """The figures of a run; field by field the object in ``OUT.jsonl.metrics.json``.

    ``items`` are those that finished, ``failed`` ones included. ``calls`` are the agent's answered calls that reached
    the engine, and all other figures of calls are of them; ``memoized_calls`` are apart. The warm-ups are apart too,
    but their tokens count in ``prompt_tokens``, ``cached_tokens``, ``output_tokens`` and ``hit_rate``.
    ``latency_s`` and ``ttft_s`` are of the agent's calls, as the agent waited: Charter's own queue is included.
    A resumed run has no ``attainable_hit_rate``. ``endpoints`` and ``imbalance``, of their tokens, are of a run on
    several endpoints; of others they are not in the file. Neither is ``simulated``, unless no model computed anything:
    then times are how long the simulation took, and output is filler.
    """

    mode: str
    target: str
    layout: bool
    items: int
    failed: int
    calls: int
    prompt_tokens: int | None
    cached_tokens: int | None
    hit_rate: float | None
    predicted_hit_rate: float | None
    attainable_hit_rate: float | None
    memoized_calls: int
    warmup_tokens: int | None
    output_tokens: int | None
    wall_s: float
    items_per_s: float | None
    latency_s: Percentiles
    ttft_s: Percentiles
    endpoints: tuple[EndpointMetrics, ...] = ()
    imbalance: float | None = None
    simulated: bool = False

    def to_json(self) -> dict[str, object]:
        found = asdict(self)
        if not self.endpoints:
            del found["endpoints"], found["imbalance"]
        if not self.simulated:
            del found["simulated"]
        return found


def build_metrics(
    tally: Tally,
    *,
    mode: str,
    target: str,
    wall_s: float,
    predicted_hit_rate: float | None,
    layout: bool = False,
    predicted_endpoints: Mapping[str, float | None] | None = None,
    simulated: bool = False,
) -> RunMetrics:
    """The metrics of a run that took ``wall_s`` seconds. ``predicted_endpoints``: the hit rate of
    each endpoint."""
    predicted = predicted_endpoints or {}
    endpoints = tuple(
        EndpointMetrics(
            name,
            at.items,
            at.calls,
            at.totals.prompt,
            at.totals.cached,
            _rate(at.totals.cached, at.totals.prompt),
            predicted.get(name),
            at.totals.output,
        )
        for name, at in sorted(tally.endpoints.items())
    )
    return RunMetrics(
        mode=mode,
        target=target,
        layout=layout,
        items=tally.items,
        failed=tally.failed,
        calls=tally.calls,
        prompt_tokens=tally.totals.prompt,
        cached_tokens=tally.totals.cached,
        hit_rate=tally.hit_rate,
        predicted_hit_rate=predicted_hit_rate,
        attainable_hit_rate=tally.attainable_hit_rate,
        memoized_calls=tally.memoized,
        warmup_tokens=tally.warm_up_totals.prompt,
        output_tokens=tally.totals.output,
        wall_s=wall_s,
        items_per_s=tally.items / wall_s if wall_s > 0 else None,
        latency_s=Percentiles.of(tally.latency),
        ttft_s=Percentiles.of(tally.ttft),
        endpoints=endpoints,
        imbalance=imbalance([each.tokens for each in endpoints]),
        simulated=simulated,
    )
