"""CH106: constants that were meant to be the same part the prefix of two call sites."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import combinations, takewhile

from charter_compiler.analysis.checks.context import MIN_CHARACTERS, Context
from charter_compiler.analysis.checks.finding import Finding, warning
from charter_compiler.analysis.checks.wording import amount
from charter_compiler.diagnostics.span import Span
from charter_compiler.ir.nodes import Call, Const

MOST_TEXTS = 60
"""Different texts of one folder that are compared, each with each."""
LOOK_AHEAD = 4
"""Words behind a difference that must agree again."""
SPELLING = 0.7
"""How alike two words must be to be two spellings of one."""

_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class _Beginning:
    """The constant text that a call begins with: its pieces, and where each stands."""

    call: Call
    text: str
    pieces: tuple[Const, ...]

    def place(self, offset: int) -> Span:
        """Where the piece stands that holds a character."""
        for piece in self.pieces:
            if offset < len(piece.text):
                return piece.span
            offset -= len(piece.text)
        return self.pieces[-1].span


def near_identical(context: Context) -> Iterator[Finding]:
    """Calls of one file, or of one folder of modules, to the same model, whose leading texts differ only in white
    space, punctuation, capitals or the spelling of a word, and then go on alike for long."""
    folders: dict[str, list[_Beginning]] = defaultdict(list)
    seen: set[tuple[str, str, str]] = set()
    for call in context.calls:
        beginning = _beginning(call)
        if beginning is None or len(beginning.text) < MIN_CHARACTERS:
            continue
        folder = call.span.file.rpartition("/")[0]
        key = (folder, call.span.file if _is_script(call, context) else "", beginning.text)
        if key not in seen:
            seen.add(key)
            folders[folder].append(beginning)
    for beginnings in folders.values():
        reported: set[Span] = set()
        for one, other in combinations(beginnings[:MOST_TEXTS], 2):
            if _may_share(one.call, other.call, context):
                finding = _compared(one, other, context)
                if finding is not None and finding.diagnostic.span not in reported:
                    reported.add(finding.diagnostic.span)
                    yield finding


def _beginning(call: Call) -> _Beginning | None:
    if call.forward or call.messages[0].role == "unknown":
        return None
    pieces = tuple(takewhile(lambda segment: isinstance(segment, Const), call.messages[0].segments))
    constants = tuple(piece for piece in pieces if isinstance(piece, Const))
    return _Beginning(call, "".join(piece.text for piece in constants), constants)


def _is_script(call: Call, context: Context) -> bool:
    return "__main__" in context.sources.get(call.span.file, "") or call.function == "<module>"


def _may_share(one: Call, other: Call, context: Context) -> bool:
    if one.messages[0].role != other.messages[0].role or (one.model or other.model) != (other.model or one.model):
        return False
    return one.span.file == other.span.file or not (_is_script(one, context) or _is_script(other, context))


def _compared(one: _Beginning, other: _Beginning, context: Context) -> Finding | None:
    first = next((i for i, (a, b) in enumerate(zip(one.text, other.text, strict=False)) if a != b), None)
    if first is None:
        return None
    common = _alike_from(one.text, other.text, first)
    if common is None or not context.is_long(common):
        return None
    place, its_place = other.place(first), one.place(first)
    if place == its_place:
        return None
    size, tokens = amount(common, context)
    here, there = other.text[first], one.text[first]
    context_before = " ".join(other.text[max(0, first - 30) : first].split())
    return warning(
        "CH106",
        other.call,
        place,
        f"this text and the one at {its_place} are nearly the same, but {here!r} stands here and {there!r} "
        f'there, character {first + 1} (after "…{context_before}"): {size} behind it are computed for each of the two',
        "make the two texts the same, best as one constant",
        tokens,
    )


def _alike_from(one: str, other: str, first: int) -> str | None:
    """What stands behind the difference and is the same in both but for white space, punctuation, capitals and
    spelling; ``None`` where they differ in more than that."""
    # Go back to the start of a word, which the difference may lie in.
    while first and (one[first - 1].isalnum() and other[first - 1].isalnum()):
        first -= 1
    mine, theirs = one[first:], other[first:]
    a, b = [each[0] for each in _WORD.finditer(mine)], [each[0] for each in _WORD.finditer(theirs)]
    i = j = changed = 0
    while i < len(a) and j < len(b):
        if a[i].casefold() == b[j].casefold():
            i, j = i + 1, j + 1
        elif (step := _spelling(a, b, i, j)) is not None:
            changed += 1
            i, j = i + step[0], j + step[1]
        else:
            break
    if changed * 25 > i:
        return None
    ends = [each.end() for each in _WORD.finditer(mine)]
    return mine[: ends[i - 1]] if i else None


def _spelling(a: list[str], b: list[str], i: int, j: int) -> tuple[int, int] | None:
    """By how many words both sides move on over a difference in spelling; ``None`` where it is another word.

    Numbers, and words that are not alike, are meant: ``planner`` and ``critic`` are two tasks.
    """

    def again(x: int, y: int) -> bool:
        one, other = a[x : x + LOOK_AHEAD], b[y : y + LOOK_AHEAD]
        return bool(one) and [each.casefold() for each in one] == [each.casefold() for each in other]

    if any(letter.isdigit() for letter in a[i] + b[j]):
        return None
    if again(i + 1, j + 1) and _similar(a[i], b[j]):
        return 1, 1
    for x, y in ((2, 1), (1, 2)):
        if again(i + x, j + y) and "".join(a[i : i + x]).casefold() == "".join(b[j : j + y]).casefold():
            return x, y
    return None


def _similar(one: str, other: str) -> bool:
    short = {one.casefold(), other.casefold()}
    if short <= {"a", "an", "the"}:
        return True
    if min(len(one), len(other)) < 4:
        return False
    return SequenceMatcher(None, one.casefold(), other.casefold(), autojunk=False).ratio() >= SPELLING
