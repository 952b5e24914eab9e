"""A message cut into the blocks that may be moved, with what keeps them in their order.

Blocks are paragraphs, and lines of a paragraph that are plainly of their own ("Company: {company}"). What belongs
together is one block: a label and its value, a heading and its section, an announcement and what it announces, a pair
of tags or fences and what stands between them, the items of a list. Where the text gives no sure sign it is not cut.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from charter_compiler.ir.nodes import Choice, Message, Unknown
from charter_compiler.passes import references
from charter_compiler.passes.flat import FlatMessage, flatten, has_hole, hole_index, is_hole

_GAP = re.compile(r"[ \t]*\n(?:[ \t]*\n)+")
_LABEL = re.compile(r"[^\n:.?!]{1,50}:[ \t]*")
_BULLET = re.compile(r"\s*(?:[-*•+]|\(?\d{1,2}[.)]|\(?[a-zA-Z][.)])\s")
_NUMBER = re.compile(r"\s*\(?(?:\d{1,2}|[a-zA-Z])[.)]\s")
_SENTENCE = re.compile(r"[A-Z\"'(].*[.!?:;][\"')]*\s*", re.DOTALL)
_OPEN_TAG = re.compile(r"<([A-Za-z][\w-]*)(?:\s[^<>]*)?>")
_PERSONA = re.compile(r"\s*(?:you are|you're|act as|imagine|i want you to|your role|as an? )\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Block:
    """A range of the flat text. ``gap``: the white space before it (empty for the first). ``zone``: blocks of other
    zones are not crossed. ``cue``: stands last. ``persona``: stands first if it is first. ``instructs``: it holds
    values, and words that are no labels of them."""

    start: int
    end: int
    text: str
    gap: str
    zone: int
    cue: bool = False
    persona: bool = False
    instructs: bool = False
    holes: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "holes", tuple(hole_index(char) for char in self.text if is_hole(char)))

    @property
    def constant(self) -> bool:
        return not self.holes


@dataclass(frozen=True, slots=True)
class Blocks:
    """A message in blocks. ``head`` and ``tail``: white space around the whole, which stays where it is."""

    flat: FlatMessage
    blocks: tuple[Block, ...]
    head: str
    tail: str


def split_message(message: Message) -> Blocks | None:
    """The blocks of a message; ``None`` where there is nothing to move (fewer than two), or it cannot be told."""
    flat = flatten(message)
    if flat is None or not has_hole(flat.text):
        return None
    start, end = _strip(flat.text)
    parts = _glue(flat, _lines(flat.text, _paragraphs(flat.text, start, end)))
    barriers = [part for part in parts if _is_barrier(flat.text[slice(*part)], flat)]
    spans = _glue_series(flat.text, parts)
    if len(spans) < 2:
        return None
    blocks: list[Block] = []
    zone = 0
    sections = _sections(flat.text, spans)
    for index, (first, last) in enumerate(spans):
        text = flat.text[first:last]
        says = _says_more(text, sections)
        barrier = any(first <= part[0] and part[1] <= last for part in barriers)
        zone += barrier
        blocks.append(
            Block(
                first,
                last,
                text,
                flat.text[spans[index - 1][1] : first] if index else "",
                zone,
                cue=index == len(spans) - 1 and (references.is_cue(text) or says or _opens_answer(text)),
                persona=index == 0 and _PERSONA.match(text) is not None,
                instructs=says,
            )
        )
        zone += barrier
    return Blocks(flat, tuple(blocks), flat.text[:start], flat.text[end:])


def _strip(text: str) -> tuple[int, int]:
    """The range without empty lines around it; the first line's indent is its own."""
    indented = len(text) - len(text.lstrip())
    return text.rfind("\n", 0, indented) + 1, len(text.rstrip())


def _is_barrier(text: str, flat: FlatMessage) -> bool:
    """Whether blocks stay on their side of it."""
    return references.is_ruler(text) or references.delimits(text) or _is_opaque(text, flat)


def _is_opaque(text: str, flat: FlatMessage) -> bool:
    """Text without a label that only a run can tell: it may hold anything, instructions too."""
    if len(text.strip()) != 1 or not is_hole(text.strip()):
        return False
    segment = flat.holes[hole_index(text.strip())]
    return isinstance(segment, Unknown | Choice)


def _paragraphs(text: str, start: int, end: int) -> list[tuple[int, int]]:
    spans, position = [], start
    for gap in _GAP.finditer(text, start, end):
        spans.append((position, gap.start()))
        position = gap.end()
    return [*spans, (position, end)]


def _lines(text: str, paragraphs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for index, (start, end) in enumerate(paragraphs):
        lines, position = [], start
        for line in text[start:end].split("\n"):
            lines.append((position, position + len(line)))
            position += len(line) + 1
        last = index == len(paragraphs) - 1
        found.extend(_line_groups(text, lines, last) if len(lines) > 1 else [(start, end)])
    return found


def _line_groups(text: str, lines: list[tuple[int, int]], last: bool) -> list[tuple[int, int]]:
    """The lines of a paragraph that may part; a paragraph of prose is one group."""
    whole = [(lines[0][0], lines[-1][1])]
    cue = last and references.is_cue(text[slice(*lines[-1])])
    body = lines[:-1] if cue else lines
    texts = [text[start:end] for start, end in body]
    tail = [lines[-1]] if cue else []
    if not any(has_hole(line) for line in texts):
        return [(body[0][0], body[-1][1]), *tail] if cue else whole
    if any("```" in line or _OPEN_TAG.match(line.strip()) for line in texts):
        return [(body[0][0], body[-1][1]), *tail] if cue and _is_closed(texts) else whole
    kinds = [_kind(line) for line in texts]
    if "prose" in kinds:
        return whole
    groups: list[tuple[int, int]] = []
    for index, (span, kind) in enumerate(zip(body, kinds, strict=True)):
        before = kinds[index - 1] if index else ""
        joined = before in ("header", "bullet") and kind in ("bullet", "hole", "sentence") if index else False
        joined = joined or before == kind == "sentence" or (before == "sentence" and kind == "bullet")
        # A value that fills lines of its own may be followed by more of them.
        joined = joined or (before == "hole" and kind == "hole")
        if before == "bullet" and kind == "sentence":
            joined = False
        if joined:
            groups[-1] = (groups[-1][0], span[1])
        else:
            groups.append(span)
    return [*groups, *tail]


def _is_closed(lines: list[str]) -> bool:
    joined = "\n".join(lines)
    return joined.count("```") % 2 == 0 and not _unclosed(joined)


def _kind(line: str) -> str:
    stripped = line.strip()
    if stripped and all(is_hole(char) for char in stripped):
        return "hole"
    if _BULLET.match(line):
        return "bullet"
    label = _LABEL.match(line)
    if label is not None and label.end() == len(line):
        return "header"
    if label is not None and not has_hole(label[0]) and has_hole(line[label.end() :]):
        rest = line[label.end() :]
        if is_hole(rest[0]) and len(rest.split()) <= 2:
            return "field"
    if not has_hole(line) and _SENTENCE.fullmatch(stripped):
        return "sentence"
    return "prose"


def _unclosed(text: str) -> str | None:
    """The name of the first tag that opens and does not close in a text."""
    for match in _OPEN_TAG.finditer(text):
        if not match[0].endswith("/>") and f"</{match[1]}" not in text[match.end() :]:
            return match[1]
    return None


def _glue(flat: FlatMessage, spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join what belongs together, from the left."""
    text = flat.text
    sections = _sections(text, spans)
    glued: list[tuple[int, int]] = []
    for index, (start, end) in enumerate(spans):
        if glued and _belongs(text, glued[-1], (start, end), spans[index + 1 :], sections):
            glued[-1] = (glued[-1][0], end)
        else:
            glued.append((start, end))
    return glued


def _glue_series(text: str, spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Transcripts, examples and records: a label that stands twice makes one block of all from its first place to the
    last one that has a value. Constant examples behind the value may part from it: they are instructions."""
    places: dict[str, list[int]] = {}
    for index, (start, end) in enumerate(spans):
        for line in text[start:end].split("\n"):
            if (label := _LABEL.match(line)) and not has_hole(label[0]):
                places.setdefault(label[0].strip().lower(), []).append(index)
    valued = [has_hole(text[start:end]) for start, end in spans]
    inner = {
        index
        for found in places.values()
        for index in range(found[0] + 1, max((place + 1 for place in found if valued[place]), default=0))
    }
    joined: list[tuple[int, int]] = []
    for index, (start, end) in enumerate(spans):
        if index in inner:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined


def _opens_answer(text: str) -> bool:
    """Whether a block with values ends with the label of what the model shall write."""
    return has_hole(text) and references.is_cue(text.split("\n")[-1]) and text.rstrip().endswith(":")


def _sections(text: str, spans: list[tuple[int, int]]) -> bool:
    """Whether headings divide the message."""
    return sum(references.is_heading(text[start:end].split("\n")[0]) for start, end in spans) >= 2


def _says_more(text: str, sections: bool) -> bool:
    """Whether a block with values is more than labels and values: an instruction that others may build on, or, as the
    last block, what to do with all that was said, or the beginning of what the model shall write."""
    if not has_hole(text):
        return False
    lines = text.split("\n")
    if sections and references.is_heading(lines[0]):
        lines = lines[1:]
    body = "\n".join(lines)
    tags = re.sub(r"</?[A-Za-z][^<>]*>|```\w*", " ", body)
    rest = re.sub(r"^[^\n:]{1,60}:(?=\s*[\ue000-\uf8ff]|[ \t]*$)", " ", tags, flags=re.MULTILINE)
    return any(char.isalpha() for char in rest)


def _belongs(
    text: str, before: tuple[int, int], here: tuple[int, int], after: list[tuple[int, int]], sections: bool
) -> bool:
    """Whether the block ``here`` is one with the block before it."""
    left, right = text[slice(*before)], text[slice(*here)]
    close = _unclosed(left)
    later = [text[slice(*span)] for span in (here, *after)]
    if close is not None and any(f"</{close}>" in each for each in later):
        return True
    if left.count("```") % 2 and any("```" in each for each in later):
        return True
    last_line = left.rstrip().split("\n")[-1]
    heading = references.is_heading(last_line)
    if references.is_ruler(left) or references.is_ruler(right):
        return False
    if heading or (sections and references.is_heading(left.split("\n")[0])):
        return not references.is_heading(right.split("\n")[0])
    if references.is_heading(right.split("\n")[0]):
        return False
    if not after and references.is_cue(right):
        return False
    if last_line.rstrip().endswith(":"):
        return not (has_hole(left) and _LABEL.match(right))
    if not has_hole(left + right) and (label := _LABEL.match(right)) and _LABEL.match(left):
        return left.startswith(label[0]) or f"\n{label[0]}" in left  # one more example
    first = right.lstrip()[:1]
    if first.islower():
        return True
    if _NUMBER.match(right) and (_NUMBER.match(left) or last_line.rstrip().endswith(":")):
        return True
    return bool(first) and is_hole(first) and not has_hole(left) and references.announces(left)
