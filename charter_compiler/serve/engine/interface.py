"""What goes into the engine and what comes out: the contract between the Triton model, the engine core and `predict`.

The engine is split so that one code serves three masters:

- ``core.EngineCore`` is the iteration-level scheduler over ``cache``'s block manager. It has no thread, no clock and no
  model of its own: the caller gives it the time and a ``ModelRunner``.
- ``thread.Engine`` runs a core over llama.cpp in a thread, for the Triton model.
- ``predict`` runs the same core over a runner that computes nothing, in virtual time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How tokens are chosen.

    Greedy when ``temperature`` is 0 or ``top_k`` is 1, and when none of ``temperature``, ``top_k``, ``top_p`` is given.
    A seeded request samples the same tokens from the same logits, whatever runs beside it.
    """

    max_tokens: int
    min_tokens: int = 0
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    seed: int | None = None

    @property
    def greedy(self) -> bool:
        if self.temperature == 0 or self.top_k == 1:
            return True
        return self.temperature is None and not self.top_k and self.top_p is None


@dataclass(frozen=True, slots=True)
class EngineRequest:
    """One prompt. ``stop`` and ``bad`` are token sequences; ``end_id`` ends the output and is not part of it."""

    request_id: int
    prompt: tuple[int, ...]
    sampling: SamplingParams
    stop: tuple[tuple[int, ...], ...] = ()
    bad: tuple[tuple[int, ...], ...] = ()
    end_id: int | None = None
    return_log_probs: bool = False


class FinishReason(StrEnum):
    LENGTH = "length"
    STOP = "stop"
    END = "end"
    CANCELLED = "cancelled"
    ERROR = "error"


@dataclass(slots=True)
class PerfMetrics:
    """Figures of one request, with the names of TensorRT-LLM's outputs. Times in ns of the caller's clock; blocks are
    KV blocks of ``tokens_per_block`` tokens.

    ``kv_cache_reused_blocks``: blocks of the prompt taken from the cache; ``kv_cache_alloc_new_blocks``: blocks filled
    by this request; ``kv_cache_alloc_total_blocks``: their sum.
    """

    arrival_time_ns: int = 0
    first_scheduled_time_ns: int = 0
    first_token_time_ns: int = 0
    last_token_time_ns: int = 0
    kv_cache_reused_blocks: int = 0
    kv_cache_alloc_new_blocks: int = 0
    kv_cache_alloc_total_blocks: int = 0
    num_input_tokens: int = 0
    num_cached_tokens: int = 0
    num_output_tokens: int = 0


@dataclass(frozen=True, slots=True)
class EngineOutput:
    """New tokens of one request. The last one of a request has a ``finish``, and it alone."""

    request_id: int
    token_ids: tuple[int, ...]
    log_probs: tuple[float, ...] = ()
    finish: FinishReason | None = None
    perf: PerfMetrics | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """Sizes in tokens or blocks. ``prefill_chunk``: at most so many prompt tokens go into one iteration, so that
    decoding requests do not stall; ``max_running``: requests computed at once; ``max_sequences``: llama.cpp sequences,
    which bound the cached branches (256 at most)."""

    tokens_per_block: int = 32
    capacity_blocks: int = 256
    max_context: int = 8192
    max_running: int = 16
    max_sequences: int = 128
    prefill_chunk: int = 512
    enable_block_reuse: bool = True


@dataclass(slots=True)
class Batch:
    """One iteration: parallel arrays, one entry a token. ``positions`` count from 0 in the sequence; a token's logits
    are kept where ``wants_logits`` holds."""

    tokens: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    sequences: list[int] = field(default_factory=list)
    wants_logits: list[bool] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.tokens)


class ModelRunner(Protocol):
    """The compute side. The core calls it in this order: sequence edits, then ``decode``, then ``sample`` for each
    entry that wanted logits."""

    def copy_prefix(self, source: int, target: int, length: int) -> None:
        """Let ``target`` share the KV cells of ``source`` at positions [0, length)."""

    def truncate(self, sequence: int, length: int) -> None:
        """Forget the KV cells of ``sequence`` from position ``length`` on (0 forgets the sequence)."""

    def decode(self, batch: Batch) -> None:
        """Compute the batch. Raises ``TargetError`` if the model fails."""

    def sample(self, index: int, request: EngineRequest, output: Sequence[int]) -> tuple[int, float]:
        """Token and its log probability from the logits of batch entry ``index``; ``output`` are the tokens so far."""

    def release(self, request_id: int) -> None:
        """The request is over: drop its sampler state."""


Logits = NDArray[np.float32]
Emit = Callable[[EngineOutput], None]


@dataclass(frozen=True, slots=True)
class EngineStats:
    """Totals since the start; the Prometheus metrics are made from it. ``decoded_tokens`` counts the tokens that went
    through the model, prompt and output together."""

    max_blocks: int
    used_blocks: int
    free_blocks: int
    cached_blocks: int
    tokens_per_block: int
    reused_blocks: int
    new_blocks: int
    evicted_blocks: int
    requests: int
    running: int
    waiting: int
    prompt_tokens: int
    cached_tokens: int
    output_tokens: int
    decoded_tokens: int
