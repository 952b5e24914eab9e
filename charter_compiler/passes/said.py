"""What the texts of a call say of the prompt's own form: which value is the second, what its first line is."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from charter_compiler.ir.nodes import Call, Const
from charter_compiler.passes.blocks import Blocks
from charter_compiler.passes.language import reads_english

NOT_ENGLISH = "the prompt is not recognisably English: what its words refer to cannot be told"

_ORDINAL = re.compile(
    r"\b(?:former|latter|(?:first|second|third|last)\b"
    r"(?!\s+(?:line|sentence|word|character|letter|digit)s?\b|\s+\w+\s+(?:of|in)\s+(?:the|each|every|an?|your)\b))"
)
"""In small letters: "First, read the text." counts steps, not values; "the last message of the thread" is in one."""
_LINE_OF_PROMPT = re.compile(
    r"(?<!\byour )\b(?:first|second|third|opening|top|last|final|closing|bottom) (?:[\w-]+ )?"
    r"(?:lines?|sentences?|paragraphs?)\b"
    r"(?!\s+(?:of|in)\s+(?:the|each|every|an?|your)\s+(?!(?:prompt|message|input|request|conversation)\b))|"
    r"\bline (?:1|one)\b",
    re.IGNORECASE,
)
_WRITES_LINE = re.compile(
    r"\b(?:put|write|place|print|end)\b(?:(?!\b(?:what|which|that|who|how|is|are|said|given|from)\b)[^.!?\n])*"
    r"\b(?:on|in|as|with) (?:the|a) $",
    re.IGNORECASE,
)
"""What stands before a line of the answer: "Put the number on the last line."."""
_SECTION = re.compile(
    r"\b(?:sections?|parts?|blocks?|rulers?|separators?|delimiters?|dividers?|dashes|lines?|before|after|between|"
    r"above|below|preceding|previous|earlier|next|following|first|second|third|last|top|bottom|beginning|"
    r"(?:text|number) \d)\b|#\d|^\s*\(?\d{1,2}[.):]",
    re.IGNORECASE,
)
_PART = (
    r"(?:text|document|context|question|query|input|task|message|passage|article|data|instruction|example|list|table|"
    r"title|headline|heading|fence|line|code)s?"
)
_ARRANGEMENT = re.compile(
    rf"\b(?:below|beneath|underneath|above) (?:it|them|the {_PART})\b|\b(?:is|are) (?:preceded|followed) by\b|"
    r"\b(?:stands?|comes?|given|listed|shown|found|placed|named|mentioned|described|written|quoted|attached) "
    r"(?:right |directly )?"
    r"(?:(?:under|after|before|behind) (?:it|them|the|each)|first|last|at the (?:top|start|beginning|end|bottom))\b|"
    rf"\b{_PART} at the (?:very )?(?:top|start|beginning|end|bottom)\b"
    r"(?! of (?:the|each|every|an?|your) (?!prompt\b|message\b))",
    re.IGNORECASE,
)


def counts_values(call: Call, cut: Sequence[Blocks | None]) -> bool:
    """Whether the instructions of a call speak of "the first text" and the like."""
    return any(map(counts, _texts(call, cut, instructions=True)))


def fixed_form(call: Call, cut: Sequence[Blocks | None]) -> str:
    """Why no block of a call may be moved: its texts are not English, as the word lists are; its instructions name
    lines of the prompt by their place, or parts of it by how they stand to each other; or any of its texts names the
    sections that rulers part. Empty where none is so."""
    if not reads_english(call):
        return NOT_ENGLISH
    if any(map(names_line, _texts(call, cut, instructions=True))):
        return "the instructions name a line of the prompt by its place"
    if any(map(names_arrangement, _texts(call, cut, instructions=True))):
        return "the instructions tell how parts of the prompt stand to each other"
    ruled = any(blocks is not None and blocks.ruled for blocks in cut)
    if ruled and any(map(names_section, _texts(call, cut))):
        return "the prompt speaks of the sections between its rulers"
    return ""


def _texts(call: Call, cut: Sequence[Blocks | None], *, instructions: bool = False) -> Iterator[str]:
    """The texts of all blocks, or of those that are ``instructions``; of a message that is not cut its constants."""
    for message, blocks in zip(call.messages, cut, strict=True):
        if blocks is None:
            yield from (segment.text for segment in message.segments if isinstance(segment, Const))
        else:
            yield from (b.text for b in blocks.blocks if b.constant or b.instructs or not instructions)


def counts(text: str) -> bool:
    """Whether text tells things apart by their order ("the second text")."""
    return _ORDINAL.search(text) is not None


def names_line(text: str) -> bool:
    """Whether text tells a line of the prompt by its place ("The first line is the title."); lines of a thing that is
    named, and of the answer, are others."""
    return any(_WRITES_LINE.search(text[: match.start()]) is None for match in _LINE_OF_PROMPT.finditer(text))


def names_section(text: str) -> bool:
    """Whether text of a prompt that rulers part may speak of its sections, or numbers one."""
    return _SECTION.search(text) is not None


def names_arrangement(text: str) -> bool:
    """Whether text tells how parts of the prompt stand to each other ("the topics listed below it")."""
    return _ARRANGEMENT.search(text) is not None
