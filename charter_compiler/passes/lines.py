"""A message cut into paragraphs, and these into lines that are plainly of their own ("Company: {company}")."""

from __future__ import annotations

import re

from charter_compiler.passes import references
from charter_compiler.passes.flat import has_hole, is_hole

LABEL = re.compile(r"[^\n:.?!]{1,50}:[ \t]*")
QUOTES = "\"'`“«"
"""What may stand between a label and its value."""
_GAP = re.compile(r"[ \t]*\n(?:[ \t]*\n)+")
_BULLET = re.compile(r"\s*(?:[-*•+]|\(?\d{1,2}[.)]|\(?[a-zA-Z][.)])\s")
_SENTENCE = re.compile(r"[A-Z\"'(].*[.!?:;][\"')]*\s*", re.DOTALL)
_OPEN_TAG = re.compile(r"<([A-Za-z][\w-]*)(?:\s[^<>]*)?>")


def paragraphs(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """The ranges of a text between empty lines."""
    spans, position = [], start
    for gap in _GAP.finditer(text, start, end):
        spans.append((position, gap.start()))
        position = gap.end()
    return [*spans, (position, end)]


def lines_of(text: str, paragraphs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The paragraphs, those parted that are not prose."""
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
    return joined.count("```") % 2 == 0 and not unclosed(joined)


def _kind(line: str) -> str:
    stripped = line.strip()
    if stripped and all(is_hole(char) for char in stripped):
        return "hole"
    if _BULLET.match(line):
        return "bullet"
    label = LABEL.match(line)
    if label is not None and label.end() == len(line):
        return "header"
    if label is not None and not has_hole(label[0]) and has_hole(line[label.end() :]):
        rest = line[label.end() :].lstrip(QUOTES)
        if is_hole(rest[0]) and len(rest.split()) <= 2:
            return "field"
    if not has_hole(line) and _SENTENCE.fullmatch(stripped):
        return "sentence"
    return "prose"


def unclosed(text: str) -> str | None:
    """The name of the first tag that opens and does not close in a text."""
    for match in _OPEN_TAG.finditer(text):
        if not match[0].endswith("/>") and f"</{match[1]}" not in text[match.end() :]:
            return match[1]
    return None
