"""llama.cpp's server: slots that each keep the tokens of their last request, and prompts put aside in RAM.

After ``tools/server/server-context.cpp`` and ``server-task.cpp`` (``server_prompt_cache``) with a unified KV cache. The
rules: a request goes to the idle slot whose tokens begin most like its prompt, if that is more than a tenth of the
prompt, else to the slot that has been idle longest; before a slot loses more than half of what it holds, that is put
aside in RAM, and what lies there is taken instead where it keeps more and begins more alike; the last token is always
computed; slots share nothing; where cells run short, idle slots are emptied, lowest first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from charter_compiler.cache.block_keys import root_key
from charter_compiler.cache.interface import CacheTotals, Lease, Request
from charter_compiler.diagnostics.errors import ContextLengthError

SLOTS = 4
"""``--parallel``, where it is left to the server."""
SIMILARITY = 0.1
"""``--slot-prompt-similarity``."""
KEEP_IN_SLOT, KEEP_FROM_RAM = 0.5, 0.25
"""Below the first share of a slot's tokens, the rest is put aside first; below the second of a prompt in RAM, it stays
there."""


@dataclass(slots=True, eq=False)
class _Slot:
    """``units`` are tokens, or a trace's blocks."""

    number: int
    units: list[int] = field(default_factory=list)
    tokens: int = 0
    busy: bool = False
    used: int = -1


@dataclass(slots=True, eq=False)
class LlamaCppLease(Lease):
    """The slot that computes the request."""

    slot: _Slot


class LlamaCppCache:
    """A context of ``capacity_blocks * tokens_per_block`` cells (``--ctx-size``) for all ``slots`` together.

    ``ram_blocks`` is the size of the prompt cache in RAM (``--cache-ram``), in blocks too; None is unlimited. What can
    be reused is not bound to blocks: blocks only count here, rounded up a slot.
    """

    def __init__(
        self, capacity_blocks: int | None, tokens_per_block: int, slots: int = SLOTS, ram_blocks: int | None = 0
    ) -> None:
        self.capacity_blocks = capacity_blocks
        self.tokens_per_block = tokens_per_block
        self.totals = CacheTotals()
        self._slots = [_Slot(number) for number in range(slots)]
        self._ram_blocks = ram_blocks
        self._ram: list[tuple[list[int], int]] = []
        self._clock = 0

    def start(self, request: Request) -> LlamaCppLease | None:
        """See ``EngineProfile.start``."""
        length = len(request.prompt)
        needed = self._blocks(length)
        if self.capacity_blocks is not None and needed > self.capacity_blocks:
            raise ContextLengthError(
                f"a prompt of {length} tokens does not fit the context of "
                f"{self.capacity_blocks * self.tokens_per_block} tokens",
                remedy="shorten the prompt or raise the cache's capacity in blocks",
            )
        idle = [slot for slot in self._slots if not slot.busy]
        held = sum(self._blocks(slot.tokens) for slot in self._slots if slot.busy)
        if not idle or (self.capacity_blocks is not None and held + needed > self.capacity_blocks):
            return None
        weight = 1 if request.names is None else self.tokens_per_block
        units = list(request.prompt) if request.names is None else list(request.names)
        if request.salt:
            # llama.cpp knows no tenants; a salt is modelled as a first token that nobody else sends.
            units = [-root_key(request.salt), *units]
        slot = self._choose(idle, units)
        common = _common(slot.units, units)
        whole = min(common * weight, max(0, length - 1))
        cached = whole if request.names is None else whole // weight * weight
        self.totals.evicted += self._blocks(slot.tokens) - self._blocks(min(slot.tokens, cached))
        slot.units, slot.tokens, slot.busy = units, length, True
        self._make_room()
        return LlamaCppLease(cached, length, slot)

    def prefilled(self, lease: LlamaCppLease) -> None:
        """Nothing: slots share nothing."""

    def append(self, lease: LlamaCppLease, tokens: Sequence[int]) -> bool:
        """See ``EngineProfile.append``."""
        slot = lease.slot
        busy = sum(self._blocks(other.tokens) for other in self._slots if other.busy and other is not slot)
        if self.capacity_blocks is not None and busy + self._blocks(slot.tokens + len(tokens)) > self.capacity_blocks:
            return False
        slot.units.extend(tokens)
        slot.tokens += len(tokens)
        lease.length += len(tokens)
        self._make_room()
        return True

    def finish(self, lease: LlamaCppLease, now_ms: float = 0.0) -> None:
        """See ``EngineProfile.finish``."""
        self._clock += 1
        lease.slot.busy = False
        lease.slot.used = self._clock

    def _blocks(self, tokens: int) -> int:
        return -(-tokens // self.tokens_per_block)

    def _choose(self, idle: list[_Slot], units: list[int]) -> _Slot:
        best, similarity = None, SIMILARITY
        for slot in idle:
            alike = _common(slot.units, units) / len(units) if units else 0.0
            if alike > similarity:
                best, similarity = slot, alike
        chosen = best if best is not None else min(idle, key=lambda slot: slot.used)
        kept = _common(chosen.units, units) / len(chosen.units) if chosen.units else 0.0
        if self._ram_blocks != 0 and (best is None or kept < KEEP_IN_SLOT):
            self._swap(chosen, units)
        return chosen

    def _swap(self, slot: _Slot, units: list[int]) -> None:
        """Put aside what the slot holds, and take from RAM what suits the new prompt better."""
        if slot.units and not any(_common(kept, slot.units) == len(slot.units) for kept, _ in self._ram):
            self._ram = [entry for entry in self._ram if _common(entry[0], slot.units) < len(entry[0])]
            self._ram.append((list(slot.units), slot.tokens))
        common = _common(slot.units, units)
        keep = common / len(slot.units) if slot.units else -1.0
        alike = common / len(units) if units else 0.0
        better: int | None = None
        for index, (kept, _) in enumerate(self._ram):
            common = _common(kept, units)
            share, similar = common / len(kept), common / len(units) if units else 0.0
            if share >= KEEP_FROM_RAM and share > keep and similar > alike:
                better, keep, alike = index, share, similar
        if better is not None:
            slot.units, slot.tokens = self._ram.pop(better)
        if self._ram_blocks is not None:
            while self._ram and sum(self._blocks(tokens) for _, tokens in self._ram) > self._ram_blocks:
                self._ram.pop(0)

    def _make_room(self) -> None:
        occupied = sum(self._blocks(slot.tokens) for slot in self._slots)
        for slot in self._slots:
            if self.capacity_blocks is None or occupied <= self.capacity_blocks:
                break
            if not slot.busy and slot.tokens:
                blocks = self._blocks(slot.tokens)
                occupied -= blocks
                self.totals.evicted += blocks
                slot.units, slot.tokens = [], 0
        self.totals.peak = max(self.totals.peak, occupied)


def _common(a: list[int], b: list[int]) -> int:
    """How many leading units are the same; compares slices, in C, and halves the rest."""
    low, high = 0, min(len(a), len(b))
    if a[:high] == b[:high]:
        return high
    while low < high:
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
