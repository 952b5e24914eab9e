"""Words that differ from call site to call site without need, made one: labels of one value, and constant blocks that
differ in empty lines, white space at the end of lines, or a full stop only."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field

from charter_compiler.ir.nodes import Call
from charter_compiler.passes.blocks import Block, Blocks
from charter_compiler.passes.flat import has_hole
from charter_compiler.passes.values import Values

LABEL_WORDS = 5
_EMPTY = {"the", "source", "input", "given", "full"}
"""Words of a label that tell nothing of whose value it is; "student" and "correct" before "answer" do."""


@dataclass(frozen=True, slots=True)
class Wording:
    """New labels, old and new, and new constant blocks; by call id, number of the message and number of the block."""

    labels: Mapping[tuple[str, int, int], tuple[str, str]] = field(default_factory=dict)
    constants: Mapping[tuple[str, int, int], str] = field(default_factory=dict)

    def label(self, call_id: str, message: int, block: int, text: str) -> str:
        """The text of a block with its new label, if it gets one."""
        old, new = self.labels.get((call_id, message, block), ("", ""))
        return new + text.removeprefix(old) if text.startswith(old) else text

    def constant(self, call_id: str, message: int, block: int, text: str) -> str:
        """The text of a block as the first call site writes it that has the same lines."""
        return self.constants.get((call_id, message, block), text)


def find_constants(blocks_of: Mapping[str, tuple[Blocks | None, ...]]) -> dict[tuple[str, int, int], str]:
    """Constant blocks that another call site before has with other empty lines or white space at the end of lines, or
    with or without the last full stop: they take its form. What opens the answer keeps its own, and so does what holds
    a fence. White space within a line may be what the block is about (a tab between quotes, the indents of YAML)."""
    first: dict[str, tuple[str, str]] = {}
    found: dict[tuple[str, int, int], str] = {}
    for call_id, messages in blocks_of.items():
        for number, blocks in enumerate(messages):
            for index, block in enumerate(blocks.blocks if blocks is not None else ()):
                if not block.constant or block.cue or "```" in block.text:
                    continue
                owner, text = first.setdefault(_lines(block.text), (call_id, block.text))
                if text != block.text and owner != call_id:
                    found[call_id, number, index] = text
    return found


def _lines(text: str) -> str:
    lines = (line.rstrip() for line in text.split("\n"))
    return "\n".join(line for line in lines if line).removesuffix(".").rstrip()


def find_wordings(
    calls: Mapping[str, Call], blocks_of: Mapping[str, tuple[Blocks | None, ...]], values: Values
) -> Wording:
    """Where a value of several call sites stands behind labels that differ in empty words only ("Source
    document:", "Document:"), all of them get the first one's, white space included. A label that names another block
    of the same message as well is left alone: the two could no longer be told apart."""
    first: dict[Hashable, str] = {}
    labels: dict[tuple[str, int, int], tuple[str, str]] = {}
    for call_id, call in calls.items():
        for number, blocks in enumerate(blocks_of[call_id]):
            if blocks is None:
                continue
            for index, block in enumerate(blocks.blocks):
                label = label_of(block)
                if label is None:
                    continue
                name = values.name(blocks.flat.holes[block.holes[0]], call)
                if name is None:
                    continue
                wanted = first.setdefault((name, _meaning(label)), label)
                others = [other.text for i, other in enumerate(blocks.blocks) if i != index]
                if wanted != label and not any(other.startswith(wanted.rstrip()) for other in others):
                    labels[call_id, number, index] = (label, wanted)
    return Wording(labels, find_constants(blocks_of))


def label_of(block: Block) -> str | None:
    """The label of a block that is one line of a few words with a colon, and one value."""
    if len(block.holes) != 1:
        return None
    label, _, rest = block.text.partition(next(char for char in block.text if has_hole(char)))
    words = label.strip()
    if rest or not words.endswith(":") or "\n" in words or len(words.split()) > LABEL_WORDS:
        return None
    return label


def _meaning(label: str) -> Hashable:
    """The same for labels that may take each other's place: the last word, and the set of all that are not empty."""
    words = label.strip().rstrip(":").lower().split()
    return words[-1] if words else "", frozenset(words) - _EMPTY


def say_above(text: str) -> str:
    """The text with its one "below" as "above"."""
    head, _, tail = text.rpartition("below")
    return f"{head}above{tail}"
