"""What goes into the engine and what comes out: the contract between the Triton model, the engine core and `predict`.

The engine is split so that one code serves three masters:

- ``core.EngineCore`` is the iteration-level scheduler over ``cache``'s block manager. It has no thread, no clock and no
  model of its own: the caller gives it the time and a ``ModelRunner``.
- ``thread.Engine`` runs a core over llama.cpp in a thread, for the Triton model.
- ``predict`` runs the same core over a runner that computes nothing, in virtual time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol

from charter_compiler.cache.retention import Retention
from charter_compiler.cache.sequences import SequenceMemory
from charter_compiler.config.hints.received import ReceivedAction
from charter_compiler.diagnostics.errors import ConfigError
from charter_compiler.serve.engine.hints import HintOutcome

MAX_SEQUENCES = 256  # llama.cpp's LLAMA_MAX_SEQ
GRID = 128
"""Tokens between two places where a reproducible prefill may be cut."""


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How tokens are chosen.

    Greedy when ``temperature`` is 0 or ``top_k`` is 1, and when none of ``temperature``, ``top_k``, ``top_p`` and
    ``min_p`` is given. ``min_p`` leaves out tokens less likely than that share of the likeliest.
    A seeded request samples the same tokens from the same logits, whatever runs beside it.
    """

    max_tokens: int
    min_tokens: int = 0
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    seed: int | None = None

    @property
    def greedy(self) -> bool:
        if self.temperature == 0 or self.top_k == 1:
            return True
        return self.temperature is None and not self.top_k and self.top_p is None and self.min_p is None


class GuideKind(StrEnum):
    """TensorRT-LLM's names, of ``guided_decoding_guide_type``. ``JSON`` is any JSON and has no text."""

    JSON = "json"
    JSON_SCHEMA = "json_schema"
    REGEX = "regex"


@dataclass(frozen=True, slots=True)
class Guide:
    """What the output must follow, from its first token to its end."""

    kind: GuideKind
    text: str = ""


@dataclass(frozen=True, slots=True)
class EngineRequest:
    """One prompt. ``stop`` and ``bad`` are token sequences, looked for in the output alone. The output ends with a stop
    sequence, which stays part of it, as in TensorRT-LLM; a bad sequence is never completed. ``end_id`` ends the output
    and is not part of it; it is not chosen before ``min_tokens``.

    ``retention`` says how long which blocks are to be kept; only requests with the same ``cache_salt`` share blocks.
    ``drafts`` are tokens that the output may begin with: they are computed together, and those that the sampler would
    have chosen are kept. Only tokens that follow the ``guide`` are chosen, until the output is complete; ``max_tokens``
    may cut it before that. ``hints`` speak about the blocks of the prompt, or of others (``engine.hints``).
    ``request_id`` is not negative."""

    request_id: int
    prompt: tuple[int, ...]
    sampling: SamplingParams
    stop: tuple[tuple[int, ...], ...] = ()
    bad: tuple[tuple[int, ...], ...] = ()
    end_id: int | None = None
    return_log_probs: bool = False
    retention: Retention | None = None
    cache_salt: str | None = None
    drafts: tuple[int, ...] = ()
    guide: Guide | None = None
    hints: tuple[ReceivedAction, ...] = ()


class FinishReason(StrEnum):
    """``LENGTH``: ``max_tokens`` reached; ``STOP``: a stop sequence, which is part of the output; ``END``: ``end_id``,
    which is not."""

    LENGTH = "length"
    STOP = "stop"
    END = "end"
    CANCELLED = "cancelled"
    ERROR = "error"


@dataclass(slots=True)
class PerfMetrics:
    """Figures of one request, with the names of TensorRT-LLM's outputs. Times in ns of the caller's clock; blocks are
    KV blocks of ``tokens_per_block`` tokens.

    ``kv_cache_reused_blocks``: blocks of the prompt taken from the cache, the last maybe in part;
    ``kv_cache_alloc_new_blocks``: blocks filled by this request; ``kv_cache_alloc_total_blocks``: their sum.
    ``num_draft_tokens`` came with the request and could have been used, of which the output begins with
    ``num_accepted_draft_tokens``; ``num_rejected_draft_tokens`` were computed in vain.
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
    num_draft_tokens: int = 0
    num_accepted_draft_tokens: int = 0
    num_rejected_draft_tokens: int = 0


class EngineOutput(NamedTuple):  # one for each token of each request: a frozen dataclass takes four times as long
    """New tokens of one request. The last one of a request has ``finish`` and ``perf``, and it alone; its
    ``token_ids`` may be empty. ``log_probs`` has one entry a token where the request asked for them. ``error`` says
    why, where the finish is ``ERROR``. ``hints``, in the last one of a request that ran to its end, say what became of
    the request's."""

    request_id: int
    token_ids: tuple[int, ...]
    log_probs: tuple[float, ...] = ()
    finish: FinishReason | None = None
    perf: PerfMetrics | None = None
    error: str | None = None
    hints: tuple[HintOutcome, ...] = ()


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """Sizes in tokens or blocks. ``prefill_chunk``: at most so many tokens go into one iteration, those of decoding
    requests first, so that they do not stall; ``max_running``: requests computed at once; ``max_sequences``: llama.cpp
    sequences, which bound the cached branches (256 at most). ``enable_partial_reuse``: the first tokens of a block are
    reused too. ``reproducible``: one request at a time, its prefill cut and its reuse ended at multiples of ``GRID``
    only, and no generated block reused, so that what is computed does not depend on what was cached.

    Raises ConfigError where the sizes contradict each other.
    """

    tokens_per_block: int = 32
    capacity_blocks: int = 256
    max_context: int = 8192
    max_running: int = 16
    max_sequences: int = 128
    prefill_chunk: int = 512
    enable_block_reuse: bool = True
    enable_partial_reuse: bool = False
    reproducible: bool = False

    def __post_init__(self) -> None:
        for name in ("tokens_per_block", "capacity_blocks", "max_context", "max_running"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}", remedy=f"set {name} to 1 or more")
        if not self.max_running <= self.max_sequences <= MAX_SEQUENCES:
            raise ConfigError(
                f"max_sequences is {self.max_sequences}",
                remedy=f"set it between max_running ({self.max_running}) and {MAX_SEQUENCES}",
            )
        if self.prefill_chunk <= self.max_running:
            raise ConfigError(
                f"prefill_chunk is {self.prefill_chunk}, which {self.max_running} decoding requests would fill",
                remedy="set it above max_running",
            )
        if self.reproducible and self.prefill_chunk < GRID:
            raise ConfigError(
                f"prefill_chunk is {self.prefill_chunk} and reproducible prefills are cut every {GRID} tokens",
                remedy=f"set it to {GRID} or more",
            )

    @property
    def running_limit(self) -> int:
        """Requests computed at once."""
        return 1 if self.reproducible else self.max_running

    @property
    def reuse_step(self) -> int | None:
        """What is reused is a multiple of so many tokens; None: any whole block, or part of one."""
        return math.lcm(GRID, self.tokens_per_block) if self.reproducible else None


@dataclass(frozen=True, slots=True)
class StepCounts:
    """Tokens in one iteration: of prompts being prefilled and drafts being verified, and of requests that decode (one
    each)."""

    prefill_tokens: int = 0
    decode_tokens: int = 0


@dataclass(slots=True)
class Batch:
    """One iteration: parallel arrays, one entry a token. ``positions`` count from 0 in the sequence; a token's logits
    are kept where ``wants_logits`` holds. The first ``counts.decode_tokens`` entries are those of decoding requests."""

    tokens: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    sequences: list[int] = field(default_factory=list)
    wants_logits: list[bool] = field(default_factory=list)
    counts: StepCounts = StepCounts()

    def __len__(self) -> int:
        return len(self.tokens)


class ModelRunner(SequenceMemory, Protocol):
    """The compute side. The core calls ``copy_range`` and ``drop_range`` at any time between two ``decode`` calls; then
    ``decode``, then ``sample`` for each entry that wanted logits."""

    @property
    def vocab_size(self) -> int | None:
        """Token ids run from 0 to below this; None where any id will do."""

    def validate(self, request: EngineRequest) -> None:
        """Raises RequestRejectedError where the model cannot do what is asked. Any thread may call it."""

    def decode(self, batch: Batch) -> None:
        """Compute the batch. Raises ``TargetError`` if the model fails."""

    def sample(self, index: int, request: EngineRequest, output: Sequence[int]) -> tuple[int, float | None]:
        """Token from the logits of batch entry ``index``; ``output`` are the tokens so far. With it, where the request
        wants it, its log probability: natural logarithm, under the model's own distribution at temperature 1 and
        without penalties."""

    def release(self, request_id: int) -> None:
        """The request is over: drop its sampler state. Also called for a request that never sampled."""


Emit = Callable[[EngineOutput], None]


@dataclass(frozen=True, slots=True)
class EngineStats:
    """Totals since the start; the Prometheus metrics are made from it. ``decoded_tokens`` counts the tokens that went
    through the model, prompt and output together.

    ``used_blocks`` are held by running requests and leases, ``pinned_blocks`` by leases; ``peak_used_blocks`` is the
    most that were used at once. ``free_blocks`` are the rest, of which some are cached; ``cached_blocks`` are those
    that a new request could reuse, held or not; ``evicted_for_sequences`` are those of the ``evicted_blocks`` that went
    because the sequences ran short, of which ``sequences`` of ``max_sequences`` are in use. ``prompt_tokens``,
    ``cached_tokens`` and ``requests`` count requests that were started, warm-ups included."""

    max_blocks: int
    used_blocks: int
    peak_used_blocks: int
    pinned_blocks: int
    free_blocks: int
    cached_blocks: int
    tokens_per_block: int
    reused_blocks: int
    new_blocks: int
    evicted_blocks: int
    evicted_for_sequences: int
    sequences: int
    max_sequences: int
    requests: int
    running: int
    waiting: int
    prompt_tokens: int
    cached_tokens: int
    output_tokens: int
    decoded_tokens: int
