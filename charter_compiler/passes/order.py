"""Which orders of a message's blocks keep its meaning, and the one that a priority asks for."""

from __future__ import annotations

import heapq
import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from charter_compiler.passes import references
from charter_compiler.passes.blocks import Block, Blocks
from charter_compiler.passes.flat import has_hole, is_hole

_LABEL_LINE = re.compile(r"^[^\n:]{1,60}:[ \t]*[\ue000-\uf8ff]?[ \t]*$", re.MULTILINE)
_NUMBERED = re.compile(r"\s*(?P<stem>[A-Za-z][\w' ]*?)[ ]?(?:#?\d+|[A-H])[ \t]*[:.)]")


@dataclass(frozen=True, slots=True)
class Kept:
    """What must stay of the order of blocks. ``reasons``: of each two, by their numbers, why the second may not be
    moved before the first; empty where it may. ``units``: ranges of blocks that only move as one."""

    reasons: dict[tuple[int, int], str]
    units: tuple[range, ...]


@dataclass(frozen=True, slots=True)
class _Read:
    """A block, and what it says of others: that it refers back, announces, means all before it, leans on the block
    right before it."""

    block: Block
    back: bool
    ahead: bool
    all_before: bool
    leans: bool


def find_kept(blocks: Blocks) -> Kept:
    """Read each block once, then each two against each other."""
    reads = list(_read(blocks))
    pairs = itertools.combinations(range(len(reads)), 2)
    reasons = {(i, j): _keeps_order(reads[i], reads[j]) for i, j in pairs}
    starts = [index for index, read in enumerate(reads) if not read.leans]
    units = tuple(range(start, end) for start, end in itertools.pairwise([*starts, len(reads)]))
    return Kept(reasons, units)


def _read(blocks: Blocks) -> Iterator[_Read]:
    values = ""
    left: Block | None = None
    levels = [references.heading_level(block.text) for block in blocks.blocks]
    for index, block in enumerate(blocks.blocks):
        if left is not None and left.zone != block.zone:
            left = None
        behind = left.text if left is not None and left.constant else ""
        yield _Read(
            block,
            back=_refers_back(block, behind, values),
            ahead=_refers_ahead(block),
            all_before=block.constant and references.means_all_before(block.text),
            leans=left is not None and (_leans(left, block, values) or _is_within(levels, index)),
        )
        if block.holes:
            names = [getattr(blocks.flat.holes[hole], "name", "") for hole in block.holes]
            values += " ".join([block.text, *names, "\n"])
        left = block


def _keeps_order(one: _Read, other: _Read) -> str:
    """Why ``other`` may not be moved before ``one``; empty where it may."""
    first, second = one.block, other.block
    if first.zone != second.zone:
        return "a ruler, a delimiter, or text that only a run can tell, stands between them"
    if first.persona or second.cue:
        return "the first block says who the model is" if first.persona else "the last block opens the answer"
    bare = is_hole(second.text.lstrip()[:1])
    fact = references.states(first.text) and not references.states(second.text) and not bare
    if (first.constant or first.instructs) and (second.constant or second.instructs) and not fact:
        return "both are instructions"
    if first.instructs and not fact and not (references.asks(first.text) and _is_labelled(second)):
        return "the first is an instruction with values"
    if first.heads:
        return "a heading stands before its section"
    if other.back:
        return "the second refers to what stands before it"
    if one.all_before:
        return "the first speaks of all that stands before it"
    if one.ahead:
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


def _refers_back(block: Block, behind: str = "", values: str = "") -> bool:
    """Whether a block refers to something before it that is not found in ``behind``."""
    away = not block.constant and references.label_points_away(block.text)
    return away or references.points_back(_own_words(block), behind, values)


def _leans(left: Block, block: Block, values: str) -> bool:
    """Whether nothing may come between a block and the one before it: it speaks of that one, or is what that one
    announces. A last line that opens the answer speaks of all."""
    if block.cue and block.constant:
        return left.text.rstrip().endswith(":")
    # What a constant names it stays with; what the last block names may stand farther up.
    behind = left.text if left.constant and not block.constant else ""
    return references.leans(_own_words(block), behind, values)


def _is_within(levels: Sequence[int], index: int) -> bool:
    """Whether a block begins with a heading below another one that has further ones beside it: it is a part of that
    section. Below the one title of a prompt stand sections that may be moved."""
    above = [level for level in levels[:index] if 0 < level < levels[index]]
    return bool(above) and levels.count(above[-1]) > 1


def _own_words(block: Block) -> str:
    """What a block says; of one with values, without these and their labels."""
    if block.constant:
        return block.text
    words = _LABEL_LINE.sub("", block.text)
    return "".join(char for char in words if not is_hole(char)).strip()


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
    units: Sequence[range], before: Callable[[int, int], bool], priority: Callable[[int], tuple[float, ...]]
) -> tuple[int, ...]:
    """The order of the numbers in ``units``, which are ranges one behind the other and stay whole. It takes, of the
    units whose predecessors are placed, the one of lowest priority (a unit's is the highest of its numbers), the
    earliest of equals. ``before(i, j)`` for ``i < j``: ``i`` must stay before ``j``."""

    def must(one: int, other: int) -> bool:
        return any(before(i, j) for i in units[one] for j in units[other])

    ranks = [max(map(priority, unit)) for unit in units]
    followers = [[other for other in range(one + 1, len(units)) if must(one, other)] for one in range(len(units))]
    waiting = Counter(itertools.chain.from_iterable(followers))
    ready = [(ranks[one], one) for one in range(len(units)) if not waiting[one]]
    heapq.heapify(ready)
    placed: list[int] = []
    while ready:
        _, one = heapq.heappop(ready)
        placed.extend(units[one])
        for other in followers[one]:
            waiting[other] -= 1
            if not waiting[other]:
                heapq.heappush(ready, (ranks[other], other))
    return tuple(placed)
