"""Which rows go to which replica, for more rows than fit in memory: groups in pieces, placed by weight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from charter_compiler.plan.placement import Placed, place
from charter_compiler.predict.row_index import Integers

PIECES = 20
"""A group is cut where a piece of it would be more than 1/PIECES of what a replica gets, of the most replicas."""
BUCKETS = 4096
"""Of more groups than that, those with the same hash in this range are placed together: then each is small."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Pieces:
    """Rows in the order in which a replica runs them: groups together, within a group as in the inputs. Piece ``n`` is
    ``order[bounds[n] : bounds[n + 1]]``, has ``weights[n]``, and is of the group ``groups[n]``; ``None`` for rows that
    share nothing."""

    order: Integers
    bounds: Integers
    weights: Floats
    groups: tuple[str | None, ...]

    def stream(self, pieces: Sequence[int]) -> Integers:
        """The rows of some pieces."""
        return np.concatenate([self.order[self.bounds[n] : self.bounds[n + 1]] for n in pieces])


def cut(groups: Integers, weights: Floats, most_replicas: int) -> Pieces:
    """Cut rows into pieces that can be placed. ``groups`` as in ``RowIndex``; ``weights``: about how many tokens each
    row stands for."""
    grouped = bool(groups.any())
    buckets = groups % BUCKETS if len(np.unique(groups)) > BUCKETS else groups
    order = np.lexsort((np.arange(len(groups)), groups, buckets))
    ordered, owners = np.cumsum(weights[order]), buckets[order]
    largest = ordered[-1] / (PIECES * most_replicas)
    changes = np.flatnonzero(owners[1:] != owners[:-1]) + 1
    # Within a bucket, a piece ends where the next multiple of the largest weight is passed.
    starts = np.concatenate(([0], changes))
    before = np.repeat(np.concatenate(([0.0], ordered[changes - 1])), np.diff(np.append(starts, len(order))))
    parts = np.floor((ordered - weights[order] - before) / largest)
    bounds = np.flatnonzero((owners[1:] != owners[:-1]) | (parts[1:] != parts[:-1])) + 1
    bounds = np.concatenate(([0], bounds, [len(order)]))
    totals = np.diff(np.concatenate(([0.0], ordered[bounds[1:] - 1])))
    names = tuple(f"{owners[start]:x}" if grouped else None for start in bounds[:-1])
    return Pieces(order, bounds, totals, names)


def share_out(pieces: Pieces, replicas: int) -> list[list[int]]:
    """The pieces of each replica, as ``plan.placement`` places the items of a run that sees all of them at once."""
    items = [
        Placed(number, () if group is None else (group,), float(weight))
        for number, (group, weight) in enumerate(zip(pieces.groups, pieces.weights, strict=True))
    ]
    names = [str(number) for number in range(replicas)]
    homes = place(items, dict.fromkeys(names, 0.0))
    shares: dict[str, list[int]] = {name: [] for name in names}
    for number in range(len(items)):
        shares[homes[number]].append(number)
    return list(shares.values())
