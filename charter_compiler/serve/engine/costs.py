"""What takes how long on a target: iterations of its engine, and the way to it.

An iteration takes ``step``, so much for each prompt token and for each output token, and for attention so much for each
token and each earlier token that it looks at: the affine model of continuous batching (as in Vidur, Agrawal et al.
2024). Queueing is what the engine's scheduler does with it, in ``predict.replay`` and ``executor.sim``.
"""

from __future__ import annotations

from dataclasses import dataclass

from charter_compiler.serve.engine.interface import Batch


@dataclass(frozen=True, slots=True)
class Costs:
    """Nanoseconds of virtual time. They decide which calls meet in the engine; tokens are counted, never derived from
    them. The defaults are those of SmolLM2-135M on two CPU cores, good for the order of calls and for nothing else.

    An iteration of the engine takes ``step``, so much for each of its tokens, and ``attention`` for each token and each
    token before it. Requests leave the run time one after the other, ``send`` apart, and arrive ``transit`` later;
    answers take ``transit`` too. So of calls that are made together the first has the engine for itself until its first
    iteration is over, as in a real run.
    """

    step: float = 2_000_000
    prefill_token: float = 4_600_000
    decode_token: float = 7_000_000
    send: float = 1_000_000
    transit: float = 2_000_000
    attention: float = 0

    def of(self, batch: Batch) -> int:
        counts = batch.counts
        tokens = counts.prefill_tokens * self.prefill_token + counts.decode_tokens * self.decode_token
        looked_at = self.attention * sum(batch.positions) if self.attention else 0
        return round(self.step + tokens + looked_at)
