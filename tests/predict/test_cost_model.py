"""The fit of the cost model: what made the samples is found again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter_compiler.predict.cost_model import Calibration, Check, DecodeSample, PrefillSample, fit
from charter_compiler.serve.engine.costs import Costs
from charter_compiler.serve.engine.interface import Batch, StepCounts

SEC = 1e9


@given(
    start=st.floats(0.005, 0.2),
    token=st.floats(1e-5, 1e-2),
    attention=st.floats(1e-8, 1e-6),
    step=st.floats(1e-4, 4e-3),
    output=st.floats(1e-4, 1e-1),
)
def test_exact_samples_give_the_costs_back(
    start: float, token: float, attention: float, step: float, output: float
) -> None:
    lengths = (32, 128, 256, 512, 1024)
    prefill = [PrefillSample(n, start + token * n + attention * n * n / 2) for n in lengths]
    costs = fit(prefill, [DecodeSample(n, step + output * n) for n in (1, 4)])
    assert costs.prefill_token == pytest.approx(token * SEC, rel=0.01)
    assert costs.attention == pytest.approx(attention * SEC, rel=0.05)
    assert costs.decode_token == pytest.approx(output * SEC, rel=0.01)
    assert costs.step + costs.send + 2 * costs.transit == pytest.approx(
        max(start, step + costs.send / SEC) * SEC, rel=0.02
    )


def test_no_cost_is_negative() -> None:
    costs = fit([PrefillSample(32, 1.0), PrefillSample(64, 0.5)], [DecodeSample(1, 0.2), DecodeSample(4, 0.1)])
    assert min(costs.step, costs.prefill_token, costs.decode_token, costs.transit, costs.attention) >= 0


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="two lengths"):
        fit([PrefillSample(32, 1.0)], [DecodeSample(1, 0.2)])


def test_an_iteration_costs_its_tokens_and_what_they_look_at() -> None:
    batch = Batch(tokens=[5, 6, 7], positions=[10, 0, 1], counts=StepCounts(2, 1))
    assert Costs(step=100, prefill_token=10, decode_token=3, attention=2).of(batch) == 100 + 20 + 3 + 2 * 11


def test_a_calibration_is_read_back() -> None:
    made = Calibration(
        "local", "m", Costs(), Check(8, 3.0, 2.0), (PrefillSample(1, 2.0),), (DecodeSample(1, 0.1),), "2026-11-25"
    )
    assert Calibration.from_json(made.to_json()) == made
    assert made.to_json()["error"] == pytest.approx(0.5)
