"""Savings: of tokens, of seconds, and of money only where a price was given."""

from __future__ import annotations

import dataclasses

import pytest

from charter_compiler.executor.budget import Prices
from charter_compiler.report.metrics import NOT_COMPUTED, RunFigures
from charter_compiler.report.savings import NO_PRICE, NO_SECONDS, NO_TOKENS, Pricing, savings
from charter_compiler.report.terminal import saving_lines

WRITTEN = RunFigures("as written", prompt_tokens=1_000_000, cached_tokens=0, hit_rate=0.0, wall_s=7200.0)
PLANNED = RunFigures("planned", prompt_tokens=1_000_000, cached_tokens=600_000, hit_rate=0.6, wall_s=3600.0)


def test_without_a_price_there_is_no_money() -> None:
    *others, cost = savings((WRITTEN, PLANNED), Pricing())
    assert [line.saved for line in others] == [600_000, 3600.0]
    assert [line.saved_text for line in others] == ["600,000 (-60%)", "3600.00 s (-50%)"]
    assert (cost.saved, cost.saved_text, cost.why) == (None, "", NO_PRICE)


def test_prices_are_multiplied_and_named() -> None:
    pricing = Pricing(per_hour=3.0, tokens=Prices(0.5, 0.05, 2.0))
    _, _, machine, tokens = savings((WRITTEN, PLANNED), pricing)
    assert machine.values == (6.0, 3.0)
    assert machine.why == "3 an hour, as given"
    assert tokens.values == (0.5, pytest.approx(0.4 * 0.5 + 0.6 * 0.05))
    assert tokens.saved_text == "0.27 (-54%)"
    assert tokens.label == "cost of the prompt tokens", "how many tokens came out is not known"
    ran = [dataclasses.replace(run, output_tokens=1_000_000) for run in (WRITTEN, PLANNED)]
    whole = savings(ran, pricing)[-1]
    assert (whole.label, whole.values) == ("cost of the tokens", (2.5, pytest.approx(2.23)))


def test_what_is_not_known_is_not_computed() -> None:
    predicted = [dataclasses.replace(run, wall_s=None) for run in (WRITTEN, PLANNED)]
    _, times, machine = savings(predicted, Pricing(per_hour=3.0))
    assert (times.saved, times.why) == (None, NO_SECONDS)
    assert (machine.values, machine.why) == ((None, None), NO_SECONDS)
    blind = dataclasses.replace(PLANNED, cached_tokens=None)
    tokens, _, cost = savings((WRITTEN, blind), Pricing(tokens=Prices(1.0, 1.0, 1.0)))
    assert (tokens.saved, tokens.why) == (None, NO_TOKENS)
    assert (cost.saved, cost.why) == (None, NO_TOKENS)


def test_predicted_seconds_count_before_a_run_only() -> None:
    written = dataclasses.replace(WRITTEN, wall_s=None, predicted_wall_s=4.0)
    runs = (written, dataclasses.replace(PLANNED, wall_s=None, predicted_wall_s=3.0))
    assert savings(runs, Pricing())[1].saved == 1.0
    assert savings(runs, Pricing())[1].why == "predicted"


def test_more_is_said_to_be_more() -> None:
    tokens = savings((PLANNED, WRITTEN), Pricing())[0]
    assert tokens.saved_text == "600,000 more (+150%)"
    slightly = dataclasses.replace(WRITTEN, cached_tokens=-64)
    assert savings((WRITTEN, slightly), Pricing())[0].saved_text == "64 more (+0.0%)"


def test_nothing_saved_is_the_same() -> None:
    tokens, times, _ = savings((WRITTEN, dataclasses.replace(WRITTEN, label="planned")), Pricing())
    assert (tokens.saved, tokens.saved_text, times.saved_text) == (0, "the same", "the same")
    assert saving_lines((tokens,)) == ["  prompt tokens computed: the same (measured)"]


def test_a_simulation_has_no_seconds_and_costs_no_machine() -> None:
    run = dataclasses.replace(PLANNED, wall_s=None, simulated=True)
    tokens, times, machine, prompts = savings((run,), Pricing(per_hour=3.0, tokens=Prices(0.5, 0.05, 2.0)))
    assert (tokens.values, tokens.why) == ((400_000,), "simulated")
    assert (times.values, times.why) == ((None,), NOT_COMPUTED)
    assert (machine.values, machine.why) == ((None,), NOT_COMPUTED)
    assert (prompts.label, prompts.values) == ("cost of the prompt tokens", (pytest.approx(0.23),))
    assert prompts.why == "0.5 a million, 0.05 where cached, as given; tokens simulated"


def test_a_single_run_has_a_cost_and_no_saving() -> None:
    assert savings((WRITTEN,), Pricing()) == ()
    lines = savings((WRITTEN,), Pricing(per_hour=1.0))
    assert [(line.label, line.saved) for line in lines][-1] == ("cost of the machine", None)
    assert lines[-1].values == (2.0,)
