"""A message put together again from its blocks in a new order."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from charter_compiler.diagnostics.span import Span
from charter_compiler.ir.nodes import Const, Segment
from charter_compiler.passes.blocks import Blocks
from charter_compiler.passes.flat import hole_index, is_hole, merge_constants


@dataclass(frozen=True, slots=True)
class MessageOrder:
    """The blocks' numbers in their new order, and each block's text, which may be worded anew."""

    order: tuple[int, ...]
    texts: dict[int, str]

    def reworded(self, blocks: Blocks) -> list[tuple[str, str]]:
        """Old and new text of each block that is worded anew, holes as spaces."""
        pairs = [(block.text, self.texts[index]) for index, block in enumerate(blocks.blocks)]
        return [(_plain(old), _plain(new)) for old, new in pairs if old != new]


def _plain(text: str) -> str:
    return "".join(" " if is_hole(char) else char for char in text).strip()


def gap_ranges(blocks: Blocks, order: tuple[int, ...]) -> list[tuple[int, int]]:
    """The white space between the blocks in their new order, as ranges of the flat text. Blocks that were neighbours
    keep theirs; else the larger of what stood behind the first and before the second: no separator is lost."""
    found = []

    def before(index: int) -> tuple[int, int]:
        block = blocks.blocks[index]
        return block.start - len(block.gap), block.start

    def size(place: tuple[int, int]) -> tuple[int, int]:
        text = blocks.flat.text[slice(*place)]
        return text.count("\n"), len(text)

    for left, right in itertools.pairwise(order):
        if right == left + 1:
            found.append(before(right))
            continue
        # Nothing stands behind the last block, nor before the first: between these two goes what stood before the last.
        near = [left + 1 if left + 1 < len(blocks.blocks) else left, right or left]
        found.append(max((before(index) for index in near if index), key=size))
    return found


def render(blocks: Blocks, order: MessageOrder) -> tuple[Segment, ...]:
    """The segments of the message in the new order."""
    if order.order == tuple(range(len(blocks.blocks))) and all(
        order.texts[index] == block.text for index, block in enumerate(blocks.blocks)
    ):
        return blocks.flat.segments(0, len(blocks.flat.text))
    flat = blocks.flat
    segments: list[Segment] = list(flat.segments(0, len(blocks.head)))
    between = [(0, 0), *gap_ranges(blocks, order.order)]
    for gap, index in zip(between, order.order, strict=True):
        block = blocks.blocks[index]
        segments += flat.segments(*gap)
        if order.texts[index] == block.text:
            segments += flat.segments(block.start, block.end)
        else:
            segments += _worded(blocks, index, order.texts[index])
    segments += flat.segments(len(flat.text) - len(blocks.tail), len(flat.text))
    return merge_constants(segments)


def _span_of(blocks: Blocks, start: int, end: int) -> Span:
    """The place of the first constant in a range that holds one."""
    return next(source.span for source in blocks.flat.origin[start:end] if source is not None)


def _worded(blocks: Blocks, index: int, text: str) -> list[Segment]:
    """A block with other words: its constants take the span of the block's first constant."""
    block = blocks.blocks[index]
    span = _span_of(blocks, block.start, block.end)
    segments: list[Segment] = []
    words = ""
    for char in text:
        if not is_hole(char):
            words += char
            continue
        if words:
            segments.append(Const(words, span))
            words = ""
        segments.append(blocks.flat.holes[hole_index(char)])
    return [*segments, Const(words, span)] if words else segments
