"""What a run may use up: tokens, seconds, money. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from charter_compiler.diagnostics.errors import BudgetError

if TYPE_CHECKING:  # the command line reads prices with this module, and must start fast
    from charter_compiler.executor.metrics import TokenTotals

MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Prices:
    """Money for a million tokens, in the user's own currency. ``cached`` is that of prompt tokens out of the cache."""

    prompt: float
    cached: float
    output: float

    def of(self, totals: TokenTotals) -> float | None:
        """What these tokens cost; ``None`` where the target did not report them all."""
        if totals.prompt is None or totals.cached is None or totals.output is None:
            return None
        computed = totals.prompt - totals.cached
        return (computed * self.prompt + totals.cached * self.cached + totals.output * self.output) / MILLION


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits of a run, ``None`` for none. Once one is reached no more items start; those that run finish, so that a run
    uses a little more; only for a target that holds calls back nobody waits beyond ``seconds``. ``tokens``: prompt and
    output together; ``money`` needs ``prices``."""

    tokens: int | None = None
    seconds: float | None = None
    money: float | None = None
    prices: Prices | None = None

    def exceeded(self, totals: TokenTotals, elapsed: float) -> BudgetError | None:
        """Why no more items may start; ``None`` while they may. A target that does not report what a limit is about
        has reached it: a limit that cannot be kept is not ignored."""
        if (over := self.overtime(elapsed)) is not None:
            return over
        if self.tokens is not None:
            if totals.prompt is None or totals.output is None:
                return _unknown("tokens")
            if totals.prompt + totals.output >= self.tokens:
                return _used_up(f"{self.tokens:,} tokens", f"{totals.prompt + totals.output:,}")
        if self.money is not None:
            spent = None if self.prices is None else self.prices.of(totals)
            if spent is None:
                return _unknown("tokens and cached tokens")
            if spent >= self.money:
                return _used_up(f"{self.money:g}", f"{spent:.4f}")
        return None

    def overtime(self, elapsed: float) -> BudgetError | None:
        """Why the time is over; ``None`` while it is not."""
        if self.seconds is None or elapsed < self.seconds:
            return None
        return _used_up(f"{self.seconds:g} s", f"{elapsed:.1f} s")


def _used_up(limit: str, used: str) -> BudgetError:
    return BudgetError(
        f"the budget of {limit} is used up ({used})", remedy="continue with --resume and a larger budget"
    )


def _unknown(what: str) -> BudgetError:
    return BudgetError(f"the target does not report {what}, so that the budget cannot be kept", remedy="leave it out")
