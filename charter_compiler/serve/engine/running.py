"""A request inside the engine: while it waits, while it runs, and when a batch has tokens for it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from charter_compiler.cache.trtllm import Allocation
from charter_compiler.serve.engine.hints import HintOutcome
from charter_compiler.serve.engine.interface import EngineRequest, PerfMetrics


@dataclass(slots=True)
class Waiting:
    """A request that has not started."""

    request: EngineRequest
    perf: PerfMetrics


@dataclass(slots=True)
class Running:
    """``tokens`` are prompt and output; the KV of the first ``computed`` of them is there. ``drafts`` are those that
    may still be right, next first. A ``prefetch`` is nobody's request and has no output."""

    request: EngineRequest
    perf: PerfMetrics
    allocation: Allocation
    tokens: list[int]
    computed: int
    drafts: deque[int]
    output: list[int] = field(default_factory=list)
    prefetch: bool = False
    outcomes: list[HintOutcome] = field(default_factory=list)

    @property
    def decoding(self) -> bool:
        return self.computed >= len(self.request.prompt)


class Due(NamedTuple):  # one for each token, as ``EngineOutput``
    """A request that gets tokens from a batch: from its entry ``indices[0]``, and from those of its ``drafts`` as far
    as they turn out right."""

    entry: Running
    indices: list[int]
    drafts: list[int]

    def settle(self, chosen: Sequence[int]) -> int:
        """Count the drafts that are among the ``chosen`` tokens, and give up those that cannot be right any more. How
        many were computed in vain."""
        waiting, perf = self.entry.drafts, self.entry.perf
        right = 0
        while right < min(len(chosen), len(self.drafts)) and chosen[right] == self.drafts[right]:
            right += 1
        wrong = len(self.drafts) - right
        perf.num_accepted_draft_tokens += right
        perf.num_rejected_draft_tokens += wrong
        if wrong:
            waiting.clear()
        elif waiting and len(chosen) > right:
            # The token after them is known now; a draft for it that agrees needs no computing.
            if waiting.popleft() == chosen[right]:
                perf.num_accepted_draft_tokens += 1
            else:
                waiting.clear()
        return wrong
