"""What happens to blocks, told as it happens; the names are those of TensorRT-LLM's KV-cache events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class EventKind(StrEnum):
    """``STORED``: the block can be reused from now on; ``REMOVED``: it cannot any more."""

    STORED = "stored"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class BlockEvent:
    """``block`` and ``parent`` are names as ``block_keys.chain`` makes them: a parent of the first block is
    ``block_keys.root_key`` of the salt. ``tokens`` are the block's own."""

    kind: EventKind
    block: int
    parent: int
    tokens: tuple[int, ...]
    priority: int


OnEvent = Callable[[BlockEvent], None]
