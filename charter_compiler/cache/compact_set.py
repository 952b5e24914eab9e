"""Many 64-bit names in little memory."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Sequence

import numpy as np

MERGED_AT = 1 << 15
"""So many new names wait before they are merged into the array."""


class CompactSet:
    """Names of blocks, each chained to the one before it: signed 64-bit integers that are only ever added, 8 bytes each
    in a sorted array, and a small set of those that are not in it yet."""

    def __init__(self) -> None:
        self._sorted = array("q")
        self._recent: set[int] = set()

    def __len__(self) -> int:
        return len(self._sorted) + len(self._recent)

    def __contains__(self, name: int) -> bool:
        if name in self._recent:
            return True
        place = bisect_left(self._sorted, name)
        return place < len(self._sorted) and self._sorted[place] == name

    def take(self, chain: Sequence[int]) -> int:
        """How many names from the start were in the set; all are in it now. Those behind the first that was not are not
        looked for: a block was only ever added after those before it."""
        known = next((index for index, name in enumerate(chain) if name not in self), len(chain))
        self._recent.update(chain[known:])
        if len(self._recent) >= MERGED_AT:
            new = np.fromiter(self._recent, np.int64, len(self._recent))
            merged = np.concatenate((np.array(self._sorted, np.int64), new))
            merged.sort()
            self._sorted, self._recent = array("q", merged.tobytes()), set()
        return known
