"""Many 64-bit names in little memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

MERGED_AT = 1 << 15
"""So many new names wait before they are merged into the array."""


class CompactSet:
    """Signed 64-bit integers that are only ever added: 8 bytes each, in a sorted array, and a small set of those that
    are not in it yet."""

    def __init__(self) -> None:
        self._sorted: NDArray[np.int64] = np.empty(0, np.int64)
        self._recent: set[int] = set()

    def __len__(self) -> int:
        return len(self._sorted) + len(self._recent)

    def take(self, names: Sequence[int]) -> int:
        """How many names from the start were in the set; all are in it now."""
        if not names:
            return 0
        recent = self._recent
        known = [found or name in recent for found, name in zip(self._in_array(names), names, strict=True)]
        if all(known):
            return len(names)
        recent.update(name for name, there in zip(names, known, strict=True) if not there)
        if len(self._recent) >= MERGED_AT:
            new = np.fromiter(self._recent, np.int64, len(self._recent))
            self._sorted = np.concatenate((self._sorted, new))
            self._sorted.sort()
            self._recent = set()
        return known.index(False)

    def _in_array(self, names: Sequence[int]) -> list[bool]:
        if not len(self._sorted):
            return [False] * len(names)
        wanted = np.array(names, np.int64)
        places = np.minimum(np.searchsorted(self._sorted, wanted), len(self._sorted) - 1)
        result: list[bool] = (self._sorted[places] == wanted).tolist()
        return result
