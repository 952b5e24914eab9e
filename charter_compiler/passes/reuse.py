"""How much of a program's prompts a prefix cache would find, from the templates and assumed lengths of the values.

A small run of the program is played: two items, three turns of each loop. Prompts are sequences of words and values;
the cache keeps every prefix. Only what the second item finds is counted, so that what is computed once a run is free.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from charter_compiler.ir.nodes import Call, Const, Segment
from charter_compiler.passes.values import CALL, ITEM, LOOP, Values, grows

CHARACTERS_A_TOKEN = 4.0
LINES_TOKENS, INLINE_TOKENS = 200.0, 20.0
"""Assumed for a value of which nothing is known: one that fills lines of its own, one that shares its line."""
ITEMS = 2
TURNS = 3
MOST_WAYS = 16
"""Branches that are looked at; a program with more is judged by the first of them."""

T = TypeVar("T")
Length: TypeAlias = Callable[[Segment], float | None]
"""Tokens of a hole's value; ``None`` where nothing is known."""
_WORD = re.compile(r"\s*\S+|\s+")


@dataclass(frozen=True, slots=True)
class Part:
    """A word, the role of a message, or a value, and its tokens."""

    key: Hashable
    tokens: float
    value: Segment | None = None


@dataclass(frozen=True, slots=True)
class Site:
    """A call site with its prompt, part by part."""

    call: Call
    parts: tuple[Part, ...]


def unknown_length(segment: Segment) -> None:
    """Nothing is known of any value."""


@dataclass(frozen=True, slots=True)
class Reuse:
    """Tokens of the second item's prompts, and those of them that the cache holds."""

    tokens: float
    found: float

    @property
    def rate(self) -> float:
        return self.found / self.tokens if self.tokens else 0.0


def estimate(sites: Sequence[Site], values: Values) -> Reuse:
    """Play the program over its sites, which stand in source order; once for each way through its branches, and then
    the sum of all."""
    played = [_play(way, values) for way in ways([site.call for site in sites], sites)]
    return Reuse(sum(one.tokens for one in played), sum(one.found for one in played))


def ways(calls: Sequence[Call], chosen: Sequence[T]) -> list[list[T]]:
    """What is surely met on the way to each branch: the calls of that branch and of those around it. Of calls in two
    branches it is not known that one run makes both, so that they never share."""
    arms = list(dict.fromkeys(call.arms for call in calls))
    inner = [one for one in arms if not any(other != one and other[: len(one)] == one for other in arms)]
    return [
        [each for call, each in zip(calls, chosen, strict=True) if way[: len(call.arms)] == call.arms]
        for way in inner[:MOST_WAYS]
    ]


def _play(sites: Sequence[Site], values: Values) -> Reuse:
    trie: dict[Hashable, dict] = {}  # type: ignore[type-arg]  # a trie: its values are tries
    tokens = found = 0.0
    serial = 0
    for item in range(ITEMS):
        for turns, group in _loops(sites):
            for turn in range(turns):
                for site in group:
                    serial += 1
                    node, matching = trie, True
                    for key, weight in _sent(site, (item, turn, serial), values):
                        matching = matching and key in node
                        if item == ITEMS - 1:
                            tokens += weight
                            found += weight if matching else 0.0
                        node = node.setdefault(key, {})
    return Reuse(tokens, found)


def _loops(sites: Sequence[Site]) -> Iterator[tuple[int, list[Site]]]:
    """Turns, and the sites that stand in one outermost loop, or none."""
    group: list[Site] = []
    for site in sites:
        loops = site.call.loops[:1]
        if group and (not loops or group[-1].call.loops[:1] != loops):
            yield TURNS if group[0].call.in_loop else 1, group
            group = []
        group.append(site)
    if group:
        yield TURNS if group[0].call.in_loop else 1, group


def read_site(call: Call, messages: Sequence[Sequence[Segment]], length: Length = unknown_length) -> Site:
    """A call site with these segments in its messages."""
    return Site(call, tuple(_parts(call, messages, length)))


def _parts(call: Call, messages: Sequence[Sequence[Segment]], length: Length) -> Iterator[Part]:
    for number, message in enumerate(messages):
        yield Part(("role", number, call.messages[number].role), 1.0)
        text = ""
        for segment, following in itertools.pairwise((*message, None, None)):
            if isinstance(segment, Const):
                text += segment.text
                continue
            for word in _WORD.findall(text):
                yield Part(word, len(word) / CHARACTERS_A_TOKEN)
            if segment is not None:
                tokens = length(segment)
                if tokens is None:
                    tokens = LINES_TOKENS if _fills_lines(text, following) else INLINE_TOKENS
                yield Part(None, tokens, segment)
            text = ""


def _sent(site: Site, moment: tuple[int, int, int], values: Values) -> Iterator[tuple[Hashable, float]]:
    """What a site sends at one moment: keys, and their tokens."""
    for part in site.parts:
        keys = [part.key] if part.value is None else _keys(part.value, site.call, moment, values)
        yield from ((key, part.tokens) for key in keys)


def _fills_lines(before: str, following: Segment | None) -> bool:
    """Whether a value has no constant text in its first or last line."""
    if before.rstrip(" \t")[-1:] not in ("", "\n"):
        return False
    return not isinstance(following, Const) or following.text.lstrip(" \t")[:1] in ("", "\n")


def _keys(segment: Segment, call: Call, moment: tuple[int, int, int], values: Values) -> list[Hashable]:
    """What identifies a value at run time, part by part: equal only where the texts are surely equal."""
    item, turn, serial = moment
    name, life = values.name(segment, call), values.lifetime(segment, call)
    if grows(segment, call):
        return [(name, item, past) for past in range(turn)]  # what each turn before this one appended
    if name is None:
        return [serial]
    return [(name, item if life >= ITEM else 0, turn if life >= LOOP else 0, serial if life >= CALL else 0)]
