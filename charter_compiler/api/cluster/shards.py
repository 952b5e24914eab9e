"""The shards of a run: whole prefix groups, about as many items in each, whatever the cluster's size. Pure."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np

from charter_compiler.predict.row_index import Integers
from charter_compiler.predict.sharding import Floats, cut

SHARD_ITEMS = 256
"""Items of a shard, at most, about. A worker's calls run dry at the end of each, so that it should be many times the
items in flight; what a lost node had in its cache is computed again, so that it should be few of all."""
SHARDS = 64
"""Shards of a run, at least, where it has the rows: none of a few workers is to be without work."""


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


def shards_of(groups: Integers, weights: Floats, items: int | None = None) -> Shards:
    """The shards of rows with these groups (``RowIndex.groups``) and weights, of about ``items`` rows each: by default
    the rows over ``SHARDS``, but not more than ``SHARD_ITEMS``. A group that weighs no more than a shard is in one."""
    items = items or min(SHARD_ITEMS, math.ceil(len(groups) / SHARDS))
    count = max(1, round(len(groups) / items))
    pieces = cut(groups, weights, count)
    size = float(pieces.weights.sum()) / count
    starts = np.concatenate(([0.0], np.cumsum(pieces.weights)[:-1]))
    if groups.any():
        _, first, inverse = np.unique(np.array(pieces.groups), return_index=True, return_inverse=True)
        whole = (np.bincount(inverse, pieces.weights) <= size)[inverse]
        starts = np.where(whole, starts[first][inverse], starts)
    owners = np.floor(starts / size)
    begins = np.flatnonzero(np.diff(owners, prepend=-1.0))  # the piece that each shard begins with
    return Shards(pieces.order, np.append(pieces.bounds[begins], len(groups)))
