"""What a run saves beside the first one: prompt tokens, seconds, and money where a price was given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from charter_compiler.executor.budget import Prices
from charter_compiler.executor.metrics import TokenTotals
from charter_compiler.report.metrics import NOT_COMPUTED, RunFigures, basis, count, seconds, signed_share

NO_SECONDS = "not known before a run: charter calibrate, or charter run"
NO_PRICE = "no price was given: --price-per-hour, --prices"
NO_TOKENS = "the target does not report its cached tokens"
SAME = "the same"
"""Shown instead of a saving of nothing."""


@dataclass(frozen=True, slots=True)
class Pricing:
    """What the user pays, in a currency of the user's own; nothing is assumed. ``per_hour``: of the machine behind the
    target. ``tokens``: of a million of each kind."""

    per_hour: float | None = None
    tokens: Prices | None = None


@dataclass(frozen=True, slots=True)
class Saving:
    """One line: a value a run, and how much less the last one has than the first; below zero, more. ``why`` says why
    values are not known, or what they rest on."""

    label: str
    values: tuple[float | None, ...]
    show: Callable[[float | None], str]
    why: str = ""

    @property
    def saved(self) -> float | None:
        if len(self.values) < 2:
            return None
        first, last = self.values[0], self.values[-1]
        return None if first is None or last is None else first - last

    @property
    def saved_text(self) -> str:
        """The difference with its share: ``1,234 (-12%)``; empty where it is not known."""
        saved, first = self.saved, self.values[0]
        if saved is None:
            return ""
        if not saved:
            return SAME
        share = f" ({signed_share(-saved / first)})" if first else ""
        return f"{self.show(saved)}{share}" if saved >= 0 else f"{self.show(-saved)} more{share}"


def savings(runs: Sequence[RunFigures], pricing: Pricing) -> tuple[Saving, ...]:
    """Tokens, seconds and money of the runs; of a single run only with a price. What is not known stays a line that
    says why: of a simulated run that is every second, and what the machine costs in it."""
    if len(runs) < 2 and not (runs and pricing != Pricing()):
        return ()
    computed = tuple(run.computed_tokens for run in runs)
    ran = any(run.ran for run in runs)
    times = tuple(run.wall_s if ran else run.predicted_wall_s for run in runs)
    of_seconds = basis(runs)
    if None in times:
        of_seconds = NOT_COMPUTED if any(run.simulated for run in runs) else NO_SECONDS
    lines = [
        Saving("prompt tokens computed", computed, count, NO_TOKENS if None in computed else basis(runs)),
        Saving("wall time", times, seconds, of_seconds),
    ]
    hourly = pricing.per_hour
    if hourly is not None:
        costs = tuple(None if time is None else time * hourly / 3600 for time in times)
        why = of_seconds if None in times else f"{hourly:g} an hour, as given"
        lines.append(Saving("cost of the machine", costs, money, why))
    if pricing.tokens is not None:
        lines.append(_cost_of_tokens(runs, pricing.tokens))
    if pricing == Pricing():
        lines.append(Saving("cost", tuple(None for _ in runs), money, NO_PRICE))
    return tuple(lines)


def _cost_of_tokens(runs: Sequence[RunFigures], prices: Prices) -> Saving:
    """Of prompt and output; a prediction or a simulation knows no outputs, and counts the prompts alone."""
    outputs = [run.output_tokens for run in runs]
    alone = None in outputs
    costs = tuple(
        prices.of(TokenTotals(run.prompt_tokens, run.cached_tokens, 0 if alone else run.output_tokens)) for run in runs
    )
    given = f"{prices.prompt:g} a million, {prices.cached:g} where cached"
    if not alone:
        given += f", {prices.output:g} of output"
    why = NO_TOKENS if None in costs else f"{given}, as given; tokens {basis(runs)}"
    return Saving(f"cost of the {'prompt ' if alone else ''}tokens", costs, money, why)


def money(value: float | None) -> str:
    """``1.25``; below a tenth with three digits that count: ``0.00123``."""
    if value is None:
        return "not known"
    return f"{value:,.2f}" if value >= 0.1 or value == 0 else f"{value:.3g}"
