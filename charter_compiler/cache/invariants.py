"""What must hold of a block manager between any two calls; for tests, and for an engine that doubts itself."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from charter_compiler.cache.radix import Block
from charter_compiler.cache.trtllm import BlockManager


def check(manager: BlockManager) -> None:
    """Raises AssertionError at the first rule that is broken. Costs a walk of the whole tree."""
    blocks = list(manager.stored())
    _check_counts(manager, blocks)
    _check_tree(manager, blocks)
    _check_sequences(manager, blocks)
    evictable = sorted(
        (block for block in blocks if block.evictable), key=lambda block: (block.priority, block.released)
    )
    assert manager.queue.evictable() == evictable, "the eviction queue is not the evictable leaves in their order"


def _check_counts(manager: BlockManager, blocks: list[Block]) -> None:
    running = manager.running
    assert manager.cached_blocks == len(blocks)
    assert manager.private_blocks == sum(allocation.private for allocation in running)
    assert manager.reserved_blocks == sum(allocation.reserved for allocation in running)
    assert manager.held_blocks == sum(block.refs > 0 for block in blocks) + manager.private_blocks
    if manager.capacity_blocks is not None:
        assert manager.occupied_blocks <= manager.counters.peak <= manager.capacity_blocks
        assert manager.held_blocks + manager.reserved_blocks <= manager.capacity_blocks, "a reservation cannot be kept"


def _check_tree(manager: BlockManager, blocks: list[Block]) -> None:
    paths = [holder.path for holder in manager.running] + [pin.path for pin in manager.pins]
    holders = Counter(id(block) for path in paths for block in path)
    for block in blocks:
        assert block.refs == holders[id(block)], "references are not the running requests that hold the block"
        assert block.parent is not None
        assert block.parent.children[block.tokens] is block
        assert block.end == block.parent.end + len(block.tokens)
        full = len(block.tokens) == manager.tokens_per_block
        assert full or (manager.partial_reuse and not block.children), "a block that is not full is no leaf"
    for path in paths:
        for parent, block in pairwise(path):
            assert block.parent is parent, "the parent of a block that is held is not"
    for allocation in manager.running:
        end = allocation.path[-1] if allocation.path else allocation.anchor
        assert allocation.anchor is end
        assert bool(allocation.path) == (end.parent is not None)


def _check_sequences(manager: BlockManager, blocks: list[Block]) -> None:
    running = [allocation.sequence for allocation in manager.running]
    idle = [block.idle for block in blocks if block.idle is not None]
    sequences = running + idle
    assert len(set(sequences)) == len(sequences) == manager.pool.in_use, "a sequence is lost or used twice"
    assert manager.max_sequences is None or len(sequences) <= manager.max_sequences
    for block in (*manager.roots.values(), *blocks):
        anchored = {allocation.sequence for allocation in manager.running if allocation.anchor is block}
        assert block.runners == anchored
        needs_idle = block.parent is not None and not block.children and not block.runners
        assert (block.idle is not None) == needs_idle, "an idle sequence waits where none is needed, or is missing"
