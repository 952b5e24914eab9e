"""What must hold of a block manager between any two calls; for tests, and for an engine that doubts itself."""

from __future__ import annotations

from collections import Counter

from charter_compiler.cache.radix import Block
from charter_compiler.cache.trtllm import BlockManager


def check(manager: BlockManager) -> None:
    """Raises AssertionError at the first rule that is broken. Costs a walk of the whole tree."""
    blocks = list(manager.root.subtree())
    _check_counts(manager, blocks)
    _check_tree(manager, blocks)
    _check_sequences(manager, blocks)
    evictable = sorted((block for block in blocks if block.evictable), key=lambda block: block.released)
    assert manager.queue.evictable() == evictable, "the eviction queue is not the evictable leaves in order of release"


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
    holders = Counter(id(block) for allocation in manager.running for block in allocation.path)
    for block in blocks:
        assert block.refs == holders[id(block)], "references are not the running requests that hold the block"
        assert block.parent is not None
        assert block.parent.children[block.tokens] is block
        assert block.depth == block.parent.depth + 1
        assert len(block.tokens) == manager.tokens_per_block
    for allocation in manager.running:
        parent = manager.root
        for block in allocation.path:
            assert block.parent is parent, "a request does not hold the parent of a block that it holds"
            parent = block
        assert allocation.anchor is parent


def _check_sequences(manager: BlockManager, blocks: list[Block]) -> None:
    running = [allocation.sequence for allocation in manager.running]
    idle = [block.idle for block in blocks if block.idle is not None]
    sequences = running + idle
    assert len(set(sequences)) == len(sequences) == manager.pool.in_use, "a sequence is lost or used twice"
    assert manager.max_sequences is None or len(sequences) <= manager.max_sequences
    for block in (manager.root, *blocks):
        anchored = {allocation.sequence for allocation in manager.running if allocation.anchor is block}
        assert block.runners == anchored
        needs_idle = block is not manager.root and not block.children and not block.runners
        assert (block.idle is not None) == needs_idle, "an idle sequence waits where none is needed, or is missing"
