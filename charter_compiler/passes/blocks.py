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
from charter_compiler.passes.lines import LABEL, QUOTES, lines_of, paragraphs, unclosed

_NUMBER = re.compile(r"\s*\(?(?:\d{1,2}|[a-zA-Z])[.)]\s")
_LABELS = re.compile(rf"^[^\n:\ue000-\uf8ff]{{1,60}}:(?=[\s{QUOTES}]*[\ue000-\uf8ff]|[ \t]*$)", re.MULTILINE)
_PERSONA_NAME = re.compile(r"persona|role|character|system|preamble|prefix|instruction", re.IGNORECASE)
_FIELD_HEADING = re.compile(rf"(?P<marks>#+) {LABEL.pattern}[\ue000-\uf8ff]")
_PERSONA = re.compile(r"\s*(?:you are|you're|act as|imagine|i want you to|your role|as an? )\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Block:
    """A range of the flat text. ``gap``: the white space before it (empty for the first). ``zone``: blocks of other
    zones are not crossed. ``cue``: stands last. ``persona``: stands first if it is first. ``instructs``: it holds
    values, and words that are no labels of them. ``heads``: a heading for what comes after it."""

    start: int
    end: int
    text: str
    gap: str
    zone: int
    cue: bool = False
    persona: bool = False
    instructs: bool = False
    heads: bool = False
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

    @property
    def ruled(self) -> bool:
        """Whether rulers stand between the blocks."""
        return any(references.separates(line) for block in self.blocks for line in block.gap.split("\n"))


def split_message(message: Message) -> Blocks | None:
    """The blocks of a message; ``None`` where there is nothing to move (fewer than two), or it cannot be told."""
    flat = flatten(message)
    if flat is None or not has_hole(flat.text):
        return None
    start, end = _strip(flat.text)
    parts = _ruled_sections(flat, start, end) or _parts(flat, start, end)
    transcript = sum(references.speaks(line) for line in flat.text[:end].split("\n")[:-1]) > 1
    barriers = [part for part in parts if _is_barrier(flat.text[slice(*part)], flat, transcript)]
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
                persona=index == 0 and _is_persona(text, flat),
                instructs=says,
                heads=_heads(text, flat.text[slice(*spans[index + 1])] if index + 1 < len(spans) else ""),
            )
        )
        zone += barrier
    return Blocks(flat, tuple(blocks), flat.text[:start], flat.text[end:])


def _strip(text: str) -> tuple[int, int]:
    """The range without empty lines around it; the first line's indent is its own."""
    indented = len(text) - len(text.lstrip())
    return text.rfind("\n", 0, indented) + 1, len(text.rstrip())


def _parts(flat: FlatMessage, start: int, end: int) -> list[tuple[int, int]]:
    return _glue(flat, lines_of(flat.text, paragraphs(flat.text, start, end)))


def _ruled_sections(flat: FlatMessage, start: int, end: int) -> list[tuple[int, int]]:
    """The sections of a message that equal rulers part, each of one block, so that a ruler is but what stands between
    two of them. Empty where rulers may stand around something instead: a value without a label, or what a section
    announces."""
    spans, ruler, position, opened = [], "", start, start
    for line in flat.text[start:end].split("\n"):
        if references.separates(line):
            if line.strip() != (ruler or line.strip()):
                return []
            ruler = line.strip()
            spans.append((opened, position))
            opened = position + len(line) + 1
        position += len(line) + 1
    spans = [_trimmed(flat.text, *span) for span in (*spans, (opened, end))]
    texts = [flat.text[slice(*span)] for span in spans]
    if not ruler or not all(map(_stands_alone, texts[:-1])) or not texts[-1] or is_hole(texts[-1].lstrip()[:1]):
        return []
    return spans if all(len(_parts(flat, *span)) == 1 for span in spans) else []


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    inside = text[start:end]
    return start + len(inside) - len(inside.lstrip()), start + len(inside.rstrip())


def _stands_alone(section: str) -> bool:
    """Whether a section between rulers neither is a bare value or a heading, nor announces the next one."""
    bare = not section or is_hole(section[0]) or references.is_heading(section)
    return not bare and not references.announces(section)


def _is_barrier(text: str, flat: FlatMessage, transcript: bool) -> bool:
    """Whether blocks stay on their side of it."""
    marked = references.is_ruler(text) or references.delimits(text) or (transcript and references.speaks(text))
    return marked or _is_opaque(text, flat)


def _is_opaque(text: str, flat: FlatMessage) -> bool:
    """Text without a label that only a run can tell: it may hold anything, instructions too."""
    if len(text.strip()) != 1 or not is_hole(text.strip()):
        return False
    segment = flat.holes[hole_index(text.strip())]
    return isinstance(segment, Unknown | Choice)


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
            if (label := LABEL.match(line)) and not has_hole(label[0]):
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


def _is_persona(text: str, flat: FlatMessage) -> bool:
    """Whether a first block says who the model is: in words, or as a value alone that is named so."""
    if len(text) == 1 and is_hole(text):
        return _PERSONA_NAME.search(getattr(flat.holes[hole_index(text)], "name", "")) is not None
    return _PERSONA.match(text) is not None


def _heads(text: str, following: str) -> bool:
    """Whether a block is a heading for what comes after it. A label with its value is a section of its own
    ("## Company: {company}") where another heading of its level, or a higher one, follows."""
    if not references.is_heading(text):
        return False
    if (field := _FIELD_HEADING.match(text)) is None:
        return True
    next_marks = re.match(r"#+", following)
    return next_marks is None or len(next_marks[0]) > len(field["marks"])


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
    return any(char.isalpha() for char in _LABELS.sub(" ", tags))


def _belongs(
    text: str, before: tuple[int, int], here: tuple[int, int], after: list[tuple[int, int]], sections: bool
) -> bool:
    """Whether the block ``here`` is one with the block before it."""
    left, right = text[slice(*before)], text[slice(*here)]
    close = unclosed(left)
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
        return not (has_hole(left) and LABEL.match(right))
    if not has_hole(left + right) and (label := LABEL.match(right)) and LABEL.match(left):
        return left.startswith(label[0]) or f"\n{label[0]}" in left  # one more example
    first = right.lstrip()[:1]
    if first.islower():
        return True
    if _NUMBER.match(right) and (_NUMBER.match(left) or last_line.rstrip().endswith(":")):
        return True
    return bool(first) and is_hole(first) and not has_hole(left) and references.announces(left)
