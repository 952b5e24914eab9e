"""The cost model of a target, fitted to a short probe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from charter_compiler.serve.engine.costs import Costs


@dataclass(frozen=True, slots=True)
class PrefillSample:
    """A cold prompt of ``tokens`` tokens took ``seconds`` to its first token."""

    tokens: int
    seconds: float


@dataclass(frozen=True, slots=True)
class DecodeSample:
    """``requests`` that decoded together took ``seconds`` for one token each."""

    requests: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Check:
    """A small workload after the fit: what the model predicted for it, and what it took. Seconds of wall time."""

    calls: int
    predicted_s: float
    measured_s: float

    @property
    def error(self) -> float:
        """Predicted over measured, less one."""
        return self.predicted_s / self.measured_s - 1


@dataclass(frozen=True, slots=True)
class Calibration:
    """The cost model of a target as it was on a day. ``date`` is ISO 8601, UTC."""

    target: str
    model: str
    costs: Costs
    check: Check
    prefill: tuple[PrefillSample, ...]
    decode: tuple[DecodeSample, ...]
    date: str

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "error": self.check.error}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Calibration:
        """Raises KeyError or TypeError where the object is another one."""
        return cls(
            str(value["target"]),
            str(value["model"]),
            Costs(**value["costs"]),
            Check(**value["check"]),
            tuple(PrefillSample(**sample) for sample in value["prefill"]),
            tuple(DecodeSample(**sample) for sample in value["decode"]),
            str(value["date"]),
        )


def fit(prefill: Sequence[PrefillSample], decode: Sequence[DecodeSample]) -> Costs:
    """The costs that fit the samples best, by relative least squares; none is negative.

    The time to the first token is a constant, a part that grows with the prompt, and one that grows with its square;
    the time of an output token is a constant and a part that grows with the requests that decode together.

    Raises:
        ValueError: fewer than two lengths of prompts, or no decode sample.
    """
    lengths = np.array([sample.tokens for sample in prefill], dtype=float)
    if len({*lengths}) < 2 or not decode:
        raise ValueError("a fit needs prompts of two lengths, and a decoding request")
    times = np.array([sample.seconds for sample in prefill])
    start, token, attention = _nonnegative(np.stack([np.ones_like(lengths), lengths, lengths**2 / 2], axis=1), times)
    requests = np.array([sample.requests for sample in decode], dtype=float)
    each = np.array([sample.seconds for sample in decode])
    if len({*requests}) < 2:
        step, output = 0.0, float(np.mean(each / requests))
    else:
        step, output = _nonnegative(np.stack([np.ones_like(requests), requests], axis=1), each)
    step = min(step, start)
    defaults = Costs()
    return Costs(
        step=step * 1e9,
        prefill_token=token * 1e9,
        decode_token=output * 1e9,
        send=defaults.send,
        transit=max(0.0, (start - step) * 1e9 - defaults.send) / 2,
        attention=attention * 1e9,
    )


def _nonnegative(terms: np.ndarray[Any, Any], values: np.ndarray[Any, Any]) -> list[float]:
    """Least squares of the relative errors; a term whose factor would be negative is left out."""
    kept = list(range(terms.shape[1]))
    while True:
        found, *_ = np.linalg.lstsq(terms[:, kept] / values[:, None], np.ones_like(values), rcond=None)
        negative = [index for index, factor in zip(kept, found, strict=True) if factor < 0]
        if not negative:
            factors = dict(zip(kept, found, strict=True))
            return [float(factors.get(index, 0.0)) for index in range(terms.shape[1])]
        kept.remove(negative[-1])
