"""Carries out the actions of KV hint envelopes on the blocks of one core. An answer never depends on them."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from charter_compiler.cache.radix import Block
from charter_compiler.cache.retention import DEFAULT_PRIORITY, MAX_PRIORITY, MIN_PRIORITY
from charter_compiler.cache.trtllm import BlockManager, Pin
from charter_compiler.config.hints.received import ReceivedAction
from charter_compiler.plan.hints import HintAction

MAX_LEASE_MS = 600_000.0
PINNED_SHARE = 0.5
"""Of the blocks, at most so many may be pinned together."""
KNOWN_PREFIXES = 256
"""Prefixes whose tokens are remembered by their name, the ones named last."""
WAITING_PREFETCHES = 32


class Outcome(StrEnum):
    """``CLIPPED``: less was done than asked for; ``REJECTED``: nothing, since it cannot be done; ``IGNORED``: nothing,
    since this engine has no such action."""

    ACCEPTED = "accepted"
    CLIPPED = "clipped"
    REJECTED = "rejected"
    IGNORED = "ignored"


@dataclass(frozen=True, slots=True)
class HintOutcome:
    """What became of one action; ``detail`` is for people."""

    action_id: str
    action_type: str
    outcome: Outcome
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Prefetch:
    """A prefix to be computed when there is nothing else to do."""

    tokens: tuple[int, ...]
    salt: str | None


class Hints:
    """``prefetches`` wait to be computed.

    Ranges are those of a request's prompt; a block belongs to the range that holds its first token, unless the range
    ends within it. They take effect when the request ends, which is when its blocks are let go; prefetches are queued
    when it starts.

    ``max_pins`` leases may run at once; ``max_context`` is what a prefix to be computed may have in tokens, whose ids
    are below ``vocab_size`` (None: any will do).
    """

    def __init__(self, blocks: BlockManager, *, max_pins: int, max_context: int, vocab_size: int | None) -> None:
        self._blocks = blocks
        self._max_pins = max_pins
        self._max_context = max_context
        self._vocab_size = vocab_size
        self._prefixes: OrderedDict[tuple[str | None, str], tuple[int, ...]] = OrderedDict()
        self.prefetches: deque[Prefetch] = deque()

    def at_start(self, actions: Sequence[ReceivedAction], salt: str | None) -> list[HintOutcome]:
        """Queue what is to be prefetched."""
        return [
            _report(one, *self._prefetch(one, salt))
            for one in actions
            if one.action is HintAction.PREFETCH and not one.fault
        ]

    def at_end(
        self,
        actions: Sequence[ReceivedAction],
        prompt: tuple[int, ...],
        salt: str | None,
        path: Sequence[Block],
        now_ms: float,
    ) -> list[HintOutcome]:
        """Everything else. ``path`` are the stored blocks of the request, which it still holds."""
        found = []
        for one in actions:
            if one.fault:
                found.append(_report(one, Outcome.REJECTED, one.fault))
            elif one.action is None:
                found.append(_report(one, Outcome.IGNORED, one.note))
            elif one.action is not HintAction.PREFETCH:
                found.append(_report(one, *self._on_range(one, prompt, path, now_ms)))
                self._remember(one, prompt, salt)
        return found

    def next_prefetch(self) -> Prefetch | None:
        """The first that is not there by now, and waits no more."""
        while self.prefetches:
            if not self._is_there(wanted := self.prefetches.popleft()):
                return wanted
        return None

    def expire(self, now_ms: float) -> None:
        """End the leases that are over."""
        for pin in [pin for pin in self._blocks.pins if pin.expires_ms <= now_ms]:
            self._blocks.unpin(pin, now_ms)

    def give_way(self, now_ms: float) -> bool:
        """End the lease that would end first, for a request that finds no room though nothing runs. False: there is
        none."""
        if not self._blocks.pins:
            return False
        self._blocks.unpin(min(self._blocks.pins, key=lambda pin: pin.expires_ms), now_ms)
        return True

    def _prefetch(self, one: ReceivedAction, salt: str | None) -> tuple[Outcome, str]:
        blocks = self._blocks
        tokens = one.token_ids or self._prefixes.get((salt, one.prefix_id or ""), ())
        size = blocks.tokens_per_block
        whole = self._blocks.reusable_blocks(len(tokens) // size)
        if not tokens:
            return Outcome.REJECTED, f"no prefix {one.prefix_id} is known here"
        if not whole or not blocks.enable_reuse:
            return Outcome.REJECTED, f"it holds no block of {size} tokens that could be kept"
        if self._vocab_size is not None and max(tokens) >= self._vocab_size:
            return Outcome.REJECTED, f"token {max(tokens)} is not in the vocabulary of {self._vocab_size}"
        too_long = blocks.capacity_blocks is not None and blocks.blocks_for(len(tokens) + 1) > blocks.capacity_blocks
        if too_long or len(tokens) >= self._max_context:
            return Outcome.REJECTED, f"its {len(tokens)} tokens do not fit the cache or the context"
        wanted = Prefetch(tokens[: whole * size], salt)
        if self._is_there(wanted):
            return Outcome.ACCEPTED, "it is there"
        if wanted not in self.prefetches:
            if len(self.prefetches) >= WAITING_PREFETCHES:
                return Outcome.REJECTED, f"{WAITING_PREFETCHES} prefetches wait already"
            self.prefetches.append(wanted)
        return Outcome.ACCEPTED, f"{whole} blocks are computed when there is nothing else to do"

    def _is_there(self, wanted: Prefetch) -> bool:
        # The last prompt token is never looked for, hence one more.
        found = self._blocks.match((*wanted.tokens, 0), wanted.salt)
        return len(found) == len(wanted.tokens) // self._blocks.tokens_per_block

    def _on_range(
        self, one: ReceivedAction, prompt: Sequence[int], path: Sequence[Block], now_ms: float
    ) -> tuple[Outcome, str]:
        size = self._blocks.tokens_per_block
        end = len(prompt) if one.end is None else min(one.end, len(prompt))
        stop = self._blocks.blocks_for(end) if end == len(prompt) else end // size
        found = path[one.start // size : stop]
        if not found:
            return Outcome.REJECTED, f"the range holds no block of {size} tokens that is kept"
        notes = [f"it ends at token {end}, the prompt's last"] if one.end is not None and one.end > end else []
        if one.action is HintAction.PIN:
            return self._pin(one, path[: one.start // size + len(found)], notes, now_ms)
        priority = _priority(one, notes)
        for block in found:
            self._blocks.queue.set_priority(block, priority, one.duration_ms, now_ms)
        if one.action is HintAction.RELEASE:
            gone = set(map(id, found))
            for pin in [pin for pin in self._blocks.pins if id(pin.path[-1]) in gone]:
                self._blocks.unpin(pin, now_ms)
        return _done(notes, f"{len(found)} blocks of priority {priority}")

    def _pin(self, one: ReceivedAction, path: Sequence[Block], notes: list[str], now_ms: float) -> tuple[Outcome, str]:
        """Of the path as much as the share of pinned blocks leaves room for."""
        assert one.duration_ms is not None
        blocks = self._blocks
        lease = min(one.duration_ms, MAX_LEASE_MS)
        if lease < one.duration_ms:
            notes.append(f"the lease is {lease:.0f} ms, the longest")
        pinned = {id(block) for pin in blocks.pins for block in pin.path}
        left = len(path) if blocks.capacity_blocks is None else int(blocks.capacity_blocks * PINNED_SHARE) - len(pinned)
        kept: list[Block] = []
        for block in path:
            left -= id(block) not in pinned
            if left < 0:
                break
            kept.append(block)
        if not kept:
            return Outcome.REJECTED, f"{len(pinned)} blocks are pinned, as many as may be"
        if len(kept) < len(path):
            notes.append(f"{len(path) - len(kept)} of its blocks are beyond the share that may be pinned")
        same = next((pin for pin in blocks.pins if pin.path[-1] is kept[-1]), None)
        if same is not None:
            same.expires_ms = max(same.expires_ms, now_ms + lease)
            return _done(notes, f"the lease of {len(kept)} blocks is renewed")
        if len(blocks.pins) >= self._max_pins:
            return Outcome.REJECTED, f"{self._max_pins} leases run, as many as the sequences allow"
        blocks.pin(kept, now_ms + lease)
        return _done(notes, f"{len(kept)} blocks are pinned for {lease:.0f} ms")

    def _remember(self, one: ReceivedAction, prompt: tuple[int, ...], salt: str | None) -> None:
        """The tokens up to the end of a range that has a name, for a later prefetch."""
        if one.prefix_id is None or one.end is None or one.end > len(prompt):
            return
        name = (salt, one.prefix_id)
        self._prefixes[name] = prompt[: one.end]
        self._prefixes.move_to_end(name)
        if len(self._prefixes) > KNOWN_PREFIXES:
            self._prefixes.popitem(last=False)


def pinned_blocks(pins: Sequence[Pin]) -> int:
    """Blocks that leases hold, each counted once."""
    return len({id(block) for pin in pins for block in pin.path})


def _priority(one: ReceivedAction, notes: list[str]) -> int:
    if one.action is HintAction.RELEASE:
        return MIN_PRIORITY
    assert one.priority is not None
    priority = min(one.priority, MAX_PRIORITY)
    if priority < one.priority:
        notes.append(f"the priority is {priority}, the highest")
    if one.action is HintAction.DEMOTE:
        notes.append("there is no colder memory, so that only the priority is lowered")
        priority = min(priority, DEFAULT_PRIORITY)
    return priority


def _done(notes: Sequence[str], detail: str) -> tuple[Outcome, str]:
    return Outcome.CLIPPED if notes else Outcome.ACCEPTED, "; ".join((detail, *notes))


def _report(one: ReceivedAction, outcome: Outcome, detail: str) -> HintOutcome:
    return HintOutcome(one.action_id, one.action_type, outcome, detail)
