"""Quantiles of a stream of durations, in bounded memory."""

from __future__ import annotations

import math
from array import array
from collections import Counter

import numpy as np

EXACT = 16_384
"""Values that are kept as they are."""
GROWTH = 1.01
"""From one bucket's border to the next: so a quantile of more values is off by at most half a per cent (the buckets of
DDSketch: Masson, Rim and Lee, VLDB 2019)."""
_LOG_GROWTH = math.log(GROWTH)
LEAST = 1e-9
"""Smaller values are counted as this."""


class Quantiles:
    """Exact up to ``EXACT`` values, within half a per cent beyond."""

    def __init__(self) -> None:
        self._values = array("d")
        self._buckets: Counter[int] = Counter()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, value: float) -> None:
        """One more value; below ``LEAST`` it is taken as that."""
        self._count += 1
        if self._count <= EXACT:
            self._values.append(value)
            return
        if self._values:
            self._buckets.update(_bucket(each) for each in self._values)
            self._values = array("d")
        self._buckets[_bucket(value)] += 1

    def at(self, share: float) -> float | None:
        """The value that ``share`` of all do not exceed, 0 to 1; ``None`` without any."""
        if not self._count:
            return None
        if self._values:
            return float(np.quantile(self._values, share))
        rank, seen = share * (self._count - 1), 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen > rank:
                break
        return 2 * GROWTH**bucket / (1 + GROWTH)


def _bucket(value: float) -> int:
    return math.ceil(math.log(max(value, LEAST)) / _LOG_GROWTH)
