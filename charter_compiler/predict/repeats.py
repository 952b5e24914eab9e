"""Runs of tokens that an earlier prompt or output held at another place.

They are computed again, since the KV of a token depends on all tokens before it: only another order of the prompt could
reuse them.
"""

from __future__ import annotations

from collections.abc import Sequence

from charter_compiler.predict.prefix_index import common_length

RUN = 16
"""Tokens of a run that counts as repeated: shorter ones are common phrases. Runs of ``2 * RUN - 1`` tokens are always
found, shorter ones where they begin at a multiple of ``RUN`` in the earlier sequence."""


class RepeatIndex:
    """Token sequences, looked up by what stands anywhere in them."""

    def __init__(self) -> None:
        self._sequences: list[Sequence[int]] = []
        self._places: dict[tuple[int, ...], tuple[int, int]] = {}

    def add(self, tokens: Sequence[int]) -> None:
        number = len(self._sequences)
        self._sequences.append(tokens)
        for start in range(0, len(tokens) - RUN + 1, RUN):
            self._places.setdefault(tuple(tokens[start : start + RUN]), (number, start))

    def runs(self, tokens: Sequence[int], first: int = 0) -> tuple[tuple[int, int], ...]:
        """Start and end of each run at or behind ``first`` that an earlier sequence holds; ascending and disjoint."""
        found: list[tuple[int, int]] = []
        position = first
        while position + RUN <= len(tokens):
            place = self._places.get(tuple(tokens[position : position + RUN]))
            if place is None:
                position += 1
                continue
            sequence, at = self._sequences[place[0]], place[1]
            floor = found[-1][1] if found else first
            back = 0
            while back < min(position - floor, at) and tokens[position - back - 1] == sequence[at - back - 1]:
                back += 1
            stop = position + RUN + common_length(tokens[position + RUN :], sequence[at + RUN :])
            if found and found[-1][1] == position - back:
                found[-1] = (found[-1][0], stop)
            else:
                found.append((position - back, stop))
            position = stop
        return tuple(found)
