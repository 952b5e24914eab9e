"""Puts one iteration's batch together: a token of each request that decodes, its drafts, and parts of prompts."""

from __future__ import annotations

from collections.abc import Sequence

from charter_compiler.cache.trtllm import BlockManager
from charter_compiler.serve.engine.interface import GRID, Batch, EngineConfig, StepCounts
from charter_compiler.serve.engine.running import Due, Running


class BatchBuilder:
    """First ``decode``, then ``prefill`` while there is ``room``, then ``finished``. ``due``: who gets tokens from
    which entries of the batch."""

    def __init__(self, config: EngineConfig, blocks: BlockManager) -> None:
        self.due: list[Due] = []
        self._config = config
        self._blocks = blocks
        self._batch = Batch()
        self._decoding = 0

    @property
    def room(self) -> int:
        """Tokens that the iteration can still take."""
        return self._config.prefill_chunk - len(self._batch)

    def decode(self, entries: Sequence[Running]) -> None:
        """A token of each, then their drafts."""
        for entry in entries:
            self._put(entry, 1)
        self._decoding = len(self._batch)
        for one in list(self.due):
            self._put_drafts(one)

    def prefill(self, entry: Running, at_most: int | None = None) -> None:
        """As much of the rest of a prompt as there is room for, and no more than ``at_most`` tokens."""
        count = min(self.room, len(entry.request.prompt) - entry.computed, at_most or self.room)
        if self._config.reproducible:
            count = min(count, GRID - entry.computed % GRID)
        if count:
            self._put(entry, count)
            if entry.decoding:
                self._put_drafts(self.due[-1])

    def finished(self) -> Batch:
        """The batch with its counts."""
        self._batch.counts = StepCounts(len(self._batch) - self._decoding, self._decoding)
        return self._batch

    def _put(self, entry: Running, count: int) -> None:
        """The next ``count`` tokens of a request; those that complete what is known of it are sampled from."""
        stop = entry.computed + count
        self._append(entry, entry.tokens[entry.computed : stop])
        if stop == len(entry.tokens):
            self._batch.wants_logits[-1] = True
            self.due.append(Due(entry, [len(self._batch) - 1], []))

    def _put_drafts(self, one: Due) -> None:
        """As many drafts as the iteration has room for, and the runner for their logits, one of which each running
        request may want."""
        entry, batch = one.entry, self._batch
        if not entry.drafts:
            return
        wanted = sum(len(other.drafts) for other in self.due) + self._config.max_running
        count = min(len(entry.drafts), self.room, self._config.max_sequences - wanted)
        if count > 0:
            one.drafts.extend(entry.drafts.popleft() for _ in range(count))
            one.indices.extend(range(len(batch), len(batch) + count))
            self._append(entry, one.drafts)
            batch.wants_logits[-count:] = [True] * count

    def _append(self, entry: Running, tokens: Sequence[int]) -> None:
        start, stop = entry.computed, entry.computed + len(tokens)
        self._blocks.extend(entry.allocation, stop)
        batch = self._batch
        batch.tokens += tokens
        batch.positions += range(start, stop)
        batch.sequences += [entry.allocation.sequence] * len(tokens)
        batch.wants_logits += [False] * len(tokens)
        entry.computed = stop
