"""What a router that follows prefixes finds of a prompt: what other groups have sent, and what its own group has."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from charter_compiler.config.hints.worth import HintedRequest
from charter_compiler.plan.placement import Group

Prompt = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Shares:
    """Parts of a prompt's length, from 0 to 1, each list in ascending order.

    ``own``: of a prompt that has more in common with an earlier one of its group than with any of another group, the
    longest start that it shares with one of its group: it has a place to go back to.
    ``foreign``: of all others, the first of each group among them, the longest start that another group has too.
    """

    foreign: tuple[float, ...] = ()
    own: tuple[float, ...] = ()

    def told_apart(self, share: float) -> tuple[int, int]:
        """How many of ``foreign`` a router does not follow at this threshold, and how many of ``own`` it does."""
        return bisect_right(self.foreign, share), len(self.own) - bisect_right(self.own, share)


def find_shares(requests: Sequence[HintedRequest], groups: Mapping[int, Group]) -> Shares:
    """Of requests in the order in which they are sent, in tokens. Empty prompts share nothing and are left out.

    Args:
        groups: of items, by their number. Items that all have one group, or none, are groups of their own: then an
            item's later calls are what should go back.
    """
    alike = len(set(groups.values())) < 2
    counted = [one for one in requests if one.prompt]
    owners = [one.item if alike else groups[one.item] for one in counted]
    prompts = [one.prompt for one in counted]
    earlier: dict[Group | int, list[Prompt]] = {}
    foreign, own = [], []
    for prompt, owner, elsewhere in zip(prompts, owners, _matches_elsewhere(prompts, owners), strict=True):
        known = earlier.setdefault(owner, [])
        match = _longest_match(prompt, known)
        if match > elsewhere:
            own.append(match / len(prompt))
        else:
            foreign.append(elsewhere / len(prompt))
        insort(known, prompt)
    return Shares(tuple(sorted(foreign)), tuple(sorted(own)))


def _matches_elsewhere(prompts: Sequence[Prompt], owners: Sequence[object]) -> list[int]:
    """Of each prompt the tokens of its longest start that a prompt of another owner has too.

    In sorted order the prompt of another owner that is next to it, on one side or the other, shares most.
    """
    longest = [0] * len(prompts)
    order = sorted(range(len(prompts)), key=prompts.__getitem__)
    for walk in (order, order[::-1]):
        length = 0
        for before, index in pairwise(walk):
            common = _common(prompts[before], prompts[index])
            length = common if owners[before] != owners[index] else min(length, common)
            longest[index] = max(longest[index], length)
    return longest


def _longest_match(prompt: Prompt, known: Sequence[Prompt]) -> int:
    """``known`` is sorted: a neighbour of the prompt's place there shares most with it."""
    place = bisect_left(known, prompt)
    return max((_common(prompt, one) for one in known[max(0, place - 1) : place + 1]), default=0)


def _common(first: Prompt, second: Prompt) -> int:
    """How many leading tokens are equal. By halves: prompts are long, and comparing slices is quick."""
    return bisect_left(range(1, min(len(first), len(second)) + 1), True, key=lambda size: first[:size] != second[:size])
