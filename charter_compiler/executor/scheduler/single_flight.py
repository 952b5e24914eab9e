"""Single-flight of prefixes: of the calls that begin with the same cold block, one computes it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

from charter_compiler.executor.scheduler.interface import ScheduledCall

KNOWN_BLOCKS_WITHOUT_CAPACITY = 1 << 18
"""How many blocks are remembered as cached on a target that does not state its capacity: a bound on memory only."""


class SingleFlight:
    """Which blocks the target has cached, which ones a call is computing, and who waits for its first token.

    What is cached is known from the calls that passed here, forgotten in order of last use beyond the capacity. It
    steers only the order: were the target to evict earlier than that, calls would compute a prefix twice, no more.

    Args:
        capacity_blocks: the target's KV capacity; ``None`` where it does not say.
        found_at_once: nothing is single-flighted: what a call computes, those sent after it find.
    """

    def __init__(self, capacity_blocks: int | None, found_at_once: bool) -> None:
        self._bound = KNOWN_BLOCKS_WITHOUT_CAPACITY if capacity_blocks is None else capacity_blocks
        self._found_at_once = found_at_once
        self._known: OrderedDict[Hashable, None] = OrderedDict()
        self._computing: dict[Hashable, int] = {}
        self._behind: dict[int, list[int]] = {}

    def cached(self, call: ScheduledCall) -> int:
        """How many of its leading blocks are known to be cached."""
        known = self._known
        for index, block in enumerate(call.blocks):
            if block not in known:
                return index
        return len(call.blocks)

    def leader(self, call: ScheduledCall, cached: int) -> int | None:
        """The key of the call that computes the first block after the ``cached`` ones; ``None`` where none does."""
        return self._computing.get(call.blocks[cached]) if cached < len(call.blocks) else None

    def wait_behind(self, leader: int, key: int) -> None:
        """The call waits for the leader's first token, or its end."""
        self._behind.setdefault(leader, []).append(key)

    def begin(self, call: ScheduledCall) -> None:
        """The call goes to the target, and computes what is neither cached nor computed yet."""
        if self._found_at_once:
            self._remember(call)
            return
        for block in reversed(call.blocks):  # so that a chain is forgotten from its end, as engines evict
            if block in self._known:
                self._known.move_to_end(block)
            else:
                self._computing.setdefault(block, call.key)

    def on_first_token(self, call: ScheduledCall) -> list[int]:
        """Its blocks are cached now. The keys of the calls that waited for it."""
        self._remember(call)
        return self.end(call)

    def end(self, call: ScheduledCall) -> list[int]:
        """It computes nothing any more, whether it did or failed before. The keys of the calls that waited for it."""
        for block in call.blocks:
            if self._computing.get(block) == call.key:
                del self._computing[block]
        return self._behind.pop(call.key, [])

    def forget(self) -> None:
        """The target's cache may be gone."""
        self._known.clear()

    def _remember(self, call: ScheduledCall) -> None:
        for block in reversed(call.blocks):
            self._known[block] = None
            self._known.move_to_end(block)
        while len(self._known) > self._bound:
            self._known.popitem(last=False)
