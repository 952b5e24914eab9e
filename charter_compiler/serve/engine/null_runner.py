"""A runner that computes nothing: the engine's scheduling and cache decisions without a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from charter_compiler.cache.sequences import NoMemory
from charter_compiler.serve.engine.interface import Batch, EngineRequest


class NullRunner(NoMemory):
    """Gives each request the output that is known beforehand.

    ``outputs`` maps request ids to their tokens and may grow while the engine runs. When a request has used up its
    tokens it gets its ``end_id``; without one, its ``max_tokens`` must not exceed them. ``on_decode`` is called with
    each batch: there a virtual clock moves on, by ``batch.counts``.
    """

    def __init__(
        self,
        outputs: Mapping[int, Sequence[int]],
        on_decode: Callable[[Batch], None] = lambda batch: None,
        vocab_size: int | None = None,
    ) -> None:
        self.vocab_size = vocab_size
        self._outputs = outputs
        self._on_decode = on_decode

    def validate(self, request: EngineRequest) -> None:
        """What its output must follow is known to be followed."""

    def decode(self, batch: Batch) -> None:
        self._on_decode(batch)

    def sample(self, index: int, request: EngineRequest, output: Sequence[int]) -> tuple[int, float | None]:
        """Raises ValueError where the known output is too short for the request."""
        known = self._outputs[request.request_id]
        if len(output) < len(known):
            return known[len(output)], None
        if request.end_id is None:
            raise ValueError(
                f"request {request.request_id} wants more than its {len(known)} known tokens and has no end_id"
            )
        return request.end_id, None

    def release(self, request_id: int) -> None:
        """There is no sampler state."""
