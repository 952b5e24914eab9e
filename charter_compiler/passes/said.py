"""What the texts of a call say of the prompt's own form: which value is the second, what its first line is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from charter_compiler.ir.nodes import Call, Const
from charter_compiler.passes import references
from charter_compiler.passes.blocks import Blocks


def counts_values(call: Call, cut: Sequence[Blocks | None]) -> bool:
    """Whether the instructions of a call speak of "the first text" and the like."""
    return any(map(references.counts, _texts(call, cut, instructions=True)))


def fixed_form(call: Call, cut: Sequence[Blocks | None]) -> str:
    """Why no block of a call may be moved: its instructions name lines of the prompt by their place, or parts of it by
    how they stand to each other, or any of its texts the sections that rulers part. Empty where none is so."""
    if any(map(references.names_line, _texts(call, cut, instructions=True))):
        return "the instructions name a line of the prompt by its place"
    if any(map(references.names_arrangement, _texts(call, cut, instructions=True))):
        return "the instructions tell how parts of the prompt stand to each other"
    ruled = any(blocks is not None and blocks.ruled for blocks in cut)
    if ruled and any(map(references.names_section, _texts(call, cut))):
        return "the prompt speaks of the sections between its rulers"
    return ""


def _texts(call: Call, cut: Sequence[Blocks | None], *, instructions: bool = False) -> Iterator[str]:
    """The texts of all blocks, or of those that are ``instructions``; of a message that is not cut its constants."""
    for message, blocks in zip(call.messages, cut, strict=True):
        if blocks is None:
            yield from (segment.text for segment in message.segments if isinstance(segment, Const))
        else:
            yield from (b.text for b in blocks.blocks if b.constant or b.instructs or not instructions)
