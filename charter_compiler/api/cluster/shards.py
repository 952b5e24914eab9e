"""The shards of a run: whole prefix groups, about as many items in each, whatever the cluster's size. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from charter_compiler.predict.row_index import Integers
from charter_compiler.predict.sharding import Floats, cut

SHARD_ITEMS = 256
"""Items of a shard, about. A worker's calls run dry at the end of each, so that it should be many times the items in
flight; what a lost node had in its cache is computed again, so that it should be few of all."""
PARTS = 64
"""A group that is larger than 1/20 of such a part of the whole may be in two shards."""


@dataclass(frozen=True, slots=True)
class Shards:
    """``order``: all rows as they run, groups together. Shard ``n`` is ``order[bounds[n] : bounds[n + 1]]``."""

    order: Integers
    bounds: Integers

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def rows(self, shard: int) -> Integers:
        """The indexes of a shard's rows, in the order in which they run."""
        return self.order[self.bounds[shard] : self.bounds[shard + 1]]

    @property
    def digest(self) -> str:
        """Stands for all of it, in hexadecimal: a run that is resumed must have the same shards."""
        return hashlib.sha256(self.order.tobytes() + self.bounds.tobytes()).hexdigest()


def shards_of(groups: Integers, weights: Floats, items: int = SHARD_ITEMS) -> Shards:
    """The shards of rows with these groups (``RowIndex.groups``) and weights, of about ``items`` rows each."""
    pieces = cut(groups, weights, PARTS)
    size = float(pieces.weights.sum()) / max(1, round(len(groups) / items))
    starts = np.concatenate(([0.0], np.cumsum(pieces.weights)[:-1]))
    owners = np.floor(starts / size)
    first = np.flatnonzero(np.diff(owners, prepend=-1.0))  # the piece that each shard begins with
    return Shards(pieces.order, np.append(pieces.bounds[first], len(groups)))
