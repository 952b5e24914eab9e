"""Which orders of a message's blocks keep its meaning, and the one that a priority asks for."""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Sequence

from charter_compiler.passes import references
from charter_compiler.passes.blocks import Block
from charter_compiler.passes.flat import has_hole, is_hole

_LABEL_LINE = re.compile(r"^[^\n:]{1,60}:[ \t]*[\ue000-\uf8ff]?[ \t]*$", re.MULTILINE)
_NUMBERED = re.compile(r"\s*(?P<stem>[A-Za-z][\w' ]*?)[ ]?(?:#?\d+|[A-H])[ \t]*[:.)]")


def keeps_order(first: Block, second: Block) -> str:
    """Why ``second`` may not be moved before ``first``; empty where it may."""
    if first.zone != second.zone:
        return "a ruler, a delimiter, or text that only a run can tell, stands between them"
    if first.persona or second.cue:
        return "the first block says who the model is" if first.persona else "the last block opens the answer"
    if (first.constant or first.instructs) and (second.constant or second.instructs):
        return "both are instructions"
    if first.instructs and not (references.asks(first.text) and _is_labelled(second)):
        return "the first is an instruction with values"
    if references.is_heading(first.text):
        return "a heading stands before its section"
    if _refers_back(second):
        return "the second refers to what stands before it"
    if first.constant and references.means_all_before(first.text):
        return "the first speaks of all that stands before it"
    if _refers_ahead(first):
        return "the first announces what follows"
    if not first.constant and not second.constant and _same_series(first.text, second.text):
        return "both belong to one numbered series"
    if first.holes and second.holes and _without_values(first) == _without_values(second):
        return "both are labelled alike: only their order tells them apart"
    return ""


def _is_labelled(block: Block) -> bool:
    """Whether a block is a value behind a label, a heading or a tag of its own."""
    return bool(block.holes) and not block.instructs and not is_hole(block.text.lstrip()[:1])


def _without_values(block: Block) -> str:
    return " ".join("".join("?" if is_hole(char) else char for char in block.text).split())


def _refers_back(block: Block) -> bool:
    if block.constant:
        return references.points_back(block.text)
    words = _LABEL_LINE.sub("", block.text)
    words = "".join(char for char in words if not is_hole(char)).strip()
    return references.label_points_away(block.text) or (bool(words) and references.points_back(words))


def _refers_ahead(block: Block) -> bool:
    if not block.constant:
        return references.label_points_away(block.text)
    return references.announces(block.text) or references.opens_sequence(block.text)


def _same_series(first: str, second: str) -> bool:
    one, other = _NUMBERED.match(first), _NUMBERED.match(second)
    return one is not None and other is not None and one["stem"].lower() == other["stem"].lower()


def can_say_above(first: Block, second: Block, noun_of_second: Sequence[str]) -> bool:
    """Whether ``first`` says "<noun> below" of ``second`` and of nothing else, so that "above" would be as true."""
    match = references.says_below(first.text) if first.constant else None
    return (
        match is not None
        and first.zone == second.zone
        and not (first.persona or second.cue)
        and not first.instructs
        and not references.opens_sequence(first.text)
        and not _refers_back(second)
        and match["noun"].lower() in noun_of_second
        and not has_hole(match.string)
    )


def arrange(
    count: int, before: Callable[[int, int], bool], priority: Callable[[int], tuple[float, ...]]
) -> tuple[int, ...]:
    """The order of ``range(count)`` that takes, of the elements whose predecessors are placed, the one of lowest
    priority, the earliest of equals. ``before(i, j)`` for ``i < j``: ``i`` must stay before ``j``."""
    waiting = [sum(before(i, j) for i in range(j)) for j in range(count)]
    ready = [(priority(j), j) for j in range(count) if not waiting[j]]
    heapq.heapify(ready)
    placed: list[int] = []
    while ready:
        _, index = heapq.heappop(ready)
        placed.append(index)
        for j in range(index + 1, count):
            if before(index, j):
                waiting[j] -= 1
                if not waiting[j]:
                    heapq.heappush(ready, (priority(j), j))
    return tuple(placed)
