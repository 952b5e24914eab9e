"""A prompt's template and the order in which it is sent instead: what the plan holds of a layout.

It is applied to texts at run time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from charter_compiler.ir.nodes import Const, Role, Segment


@dataclass(frozen=True, slots=True)
class TemplatePart:
    """Constant ``text``, or the value of hole number ``hole``, counted from 0 as the prompt was written."""

    text: str
    hole: int | None = None


@dataclass(frozen=True, slots=True)
class MessageLayout:
    """One message of a call. ``before``: its constant texts as written, with one hole between each and the next (so one
    text more than holes; the first and last may be empty). ``after``: what is sent. Values between which nothing
    moves are one hole. A message that stays as it is has no ``after``."""

    role: Role
    before: tuple[str, ...] = ()
    after: tuple[TemplatePart, ...] = ()

    def apply(self, text: str) -> str | None:
        """The text in its new order; ``None`` where it does not match the template in exactly one way."""
        if not self.after:
            return text
        values = match_template(self.before, text)
        if values is None:
            return None
        return "".join(part.text if part.hole is None else values[part.hole] for part in self.after)


@dataclass(frozen=True, slots=True)
class PlannedLayout:
    """The new order of one call site's messages; ``call`` is its id."""

    call: str
    messages: tuple[MessageLayout, ...]


def match_template(texts: Sequence[str], prompt: str) -> list[str] | None:
    """The values between the constant ``texts`` of a prompt; ``None`` where it does not match, or in several ways.

    Every text is looked for from the left and from the right. In any match it lies between the two places; where these
    are the same for all texts, the match is the only one.
    """
    if len(texts) == 1:
        return [] if prompt == texts[0] else None
    first, *inner, last = texts
    start, end = len(first), len(prompt) - len(last)
    if start > end or not prompt.startswith(first) or not prompt.endswith(last):
        return None
    places, position = [], start
    for text in inner:
        position = prompt.find(text, position, end)
        if position < 0:
            return None
        places.append(position)
        position += len(text)
    position = end
    for text, place in zip(reversed(inner), reversed(places), strict=True):
        position = prompt.rfind(text, start, position)
        if position != place:
            return None
    values, position = [], start
    for text, place in zip(inner, places, strict=True):
        values.append(prompt[position:place])
        position = place + len(text)
    return [*values, prompt[position:end]]


def message_layout(role: Role, before: Sequence[Segment], after: Sequence[Segment]) -> MessageLayout | None:
    """The layout from one order of a message's segments to another; ``None`` where a prompt could not be matched: two
    values that part stand side by side, so that nothing tells where one ends.

    Both orders hold the same values, each once.
    """
    holes = [segment for segment in before if not isinstance(segment, Const)]
    old = _numbered(before, holes)
    new = _numbered(after, holes)
    if old == new:
        return MessageLayout(role)
    old, new = _merge_runs(old, new)
    numbers = {hole: number for number, hole in enumerate(part for part in old if isinstance(part, int))}
    texts = [""]
    for part in old:
        if isinstance(part, str):
            texts[-1] = part
        else:
            texts.append("")
    if any(not text for text in texts[1:-1]):
        return None
    parts = tuple(TemplatePart(part) if isinstance(part, str) else TemplatePart("", numbers[part]) for part in new)
    return MessageLayout(role, tuple(texts), parts)


def _numbered(segments: Sequence[Segment], holes: Sequence[Segment]) -> list[str | int]:
    """Texts, none beside another, and holes by their number; equal holes take the numbers in order."""
    free = list(range(len(holes)))
    parts: list[str | int] = []
    for segment in segments:
        if isinstance(segment, Const):
            if parts and isinstance(parts[-1], str):
                parts[-1] += segment.text
            else:
                parts.append(segment.text)
        else:
            number = next(number for number in free if holes[number] == segment)
            free.remove(number)
            parts.append(number)
    return parts


def _merge_runs(old: list[str | int], new: list[str | int]) -> tuple[list[str | int], list[str | int]]:
    """Both without the text between two holes where it is the same in both, and then without the second hole."""
    index = 0
    while index < len(old):
        first = old[index]
        for width in (2, 3):
            run = old[index : index + width]
            if len(run) < width or isinstance(first, str) or isinstance(run[-1], str):
                continue
            place = next((i for i in range(len(new)) if new[i : i + width] == run), None)
            if place is not None:
                old = [*old[: index + 1], *old[index + width :]]
                new = [*new[: place + 1], *new[place + width :]]
                break
        else:
            index += 1
    return old, new
