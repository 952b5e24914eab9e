"""The two numbers of a router that follows prefixes: how much must match, and how uneven queues may become.

SGLang's router and Ray Serve's ``PrefixCacheAffinityRouter`` keep a tree of the prompts that each replica has seen. A
request goes to the replica that has seen most of it, if that is more than a given share of it; where queues differ by
more than a given number, load alone counts.

The share must lie above what prompts have in common with those of other groups: else every prompt goes where the first
one went, and only load takes any of them elsewhere. It must lie below what they have in common with their own group.
Routers count characters and this module tokens, so that the middle between the two is the safe place.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import ceil, sqrt

from charter_compiler.config.engines import Evidence
from charter_compiler.config.routers.shares import Shares, find_shares
from charter_compiler.config.settings import Setting

MARGIN, LARGEST = 0.05, 0.99
"""Above the largest share that is foreign, where nothing is a group's own."""
CHANCE = 3
"""Standard deviations."""
DEFAULT_SHARE, DEFAULT_DIFFERENCE, DEFAULT_RATIO = 0.3, 64, 1.5
"""SGLang's router's own."""
NOTHING_KNOWN = "The default of SGLang's router: there were no inputs to compute it from."


@dataclass(frozen=True, slots=True)
class Affinity:
    """``share``: of a prompt, from 0 to 1; ``queue_difference``: in requests."""

    share: Setting
    queue_difference: Setting


def compute_affinity(evidence: Evidence) -> Affinity:
    """What the predicted requests mean for a router; its defaults where there are none."""
    found = find_shares(evidence.requests, evidence.groups)
    if not found.foreign:
        return Affinity(
            Setting("share", DEFAULT_SHARE, NOTHING_KNOWN),
            Setting("queue_difference", DEFAULT_DIFFERENCE, NOTHING_KNOWN),
        )
    return Affinity(_share(found), _queue_difference(evidence.concurrency))


def _share(found: Shares) -> Setting:
    largest = found.foreign[-1]
    if not found.own:
        why = (
            f"No prompt shares more with an earlier one of its group than with other groups, and with these at most "
            f"{largest:.0%} of it: what all share must not count as a match."
        )
        return Setting("share", min(LARGEST, round(largest + MARGIN, 3)), why)
    share = best_threshold(found)
    refused, followed = found.told_apart(share)
    why = (
        f"Prompts that have none of their group to go back to share {_range(found.foreign)} of them with other groups, "
        f"the rest {_range(found.own)} with their own. At this share {refused} of {len(found.foreign)} of the former "
        f"go where there is room, and {followed} of {len(found.own)} of the latter back to their group."
    )
    return Setting("share", share, why)


def best_threshold(found: Shares) -> float:
    """The share at which the largest parts of both lists are on their side, each list counting as one; of several the
    one with most room around it. Where the lists do not overlap, the middle between them."""
    values = sorted({0.0, *found.foreign, *found.own})
    middles = [(round((low + high) / 2, 3), high - low) for low, high in pairwise(values)]

    def worth(middle: tuple[float, float]) -> tuple[float, float]:
        refused, followed = found.told_apart(middle[0])
        return refused / len(found.foreign) + followed / len(found.own), middle[1]

    return max(middles, key=worth)[0]


def _queue_difference(concurrency: int) -> Setting:
    """Groups that land anywhere put a Poisson number of items at a replica, whose deviation is the root of its mean."""
    deviations = CHANCE * sqrt(concurrency)
    return Setting(
        "queue_difference",
        ceil(deviations + min(concurrency, deviations)),
        f"With {concurrency} items in flight at each replica on average, {CHANCE} standard deviations above that at "
        "the fullest and as many below, or none, at the emptiest: less is chance. To leave the replica that holds a "
        "prefix puts the same prefix into two caches.",
    )


def _range(shares: tuple[float, ...]) -> str:
    low, high = f"{shares[0]:.0%}", f"{shares[-1]:.0%}"
    return low if low == high else f"{low} to {high}"
