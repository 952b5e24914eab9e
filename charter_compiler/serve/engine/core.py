"""The iteration-level scheduler: continuous batching with chunked prefill over the block manager of ``cache``."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from charter_compiler.cache import invariants
from charter_compiler.cache.trtllm import Allocation, BlockManager
from charter_compiler.serve.engine.interface import (
    Batch,
    EngineConfig,
    EngineOutput,
    EngineRequest,
    EngineStats,
    FinishReason,
    ModelRunner,
    PerfMetrics,
    StepCounts,
)
from charter_compiler.serve.engine.validation import validate


@dataclass(slots=True)
class _Waiting:
    request: EngineRequest
    perf: PerfMetrics


@dataclass(slots=True)
class _Running:
    """``tokens`` are prompt and output; the KV of the first ``computed`` of them is there."""

    request: EngineRequest
    perf: PerfMetrics
    allocation: Allocation
    tokens: list[int]
    computed: int
    output: list[int] = field(default_factory=list)

    @property
    def decoding(self) -> bool:
        return self.computed >= len(self.request.prompt)


class EngineCore:
    """Requests in, tokens out, one iteration a ``step``. Deterministic, no thread of its own, not thread-safe.

    ``clock`` gives the time in ns. It is read when a request is added and started, and after each ``decode``, so a
    runner that moves a virtual clock in ``decode`` gives all figures in virtual time.

    One iteration: a token for each request that decodes; then, up to ``prefill_chunk`` tokens in all, prompts in the
    order of arrival. A waiting request is started when the iteration has room for its first prompt token and the block
    manager grants it all the blocks that it may need; none overtakes another. What a request can reuse is settled at
    that moment, so of requests with one cold prefix that start together each computes it.
    """

    def __init__(self, config: EngineConfig, runner: ModelRunner, clock: Callable[[], int]) -> None:
        self.config = config
        self.blocks = BlockManager(
            config.capacity_blocks,
            config.tokens_per_block,
            max_sequences=config.max_sequences,
            enable_reuse=config.enable_block_reuse,
            memory=runner,
        )
        self.last_step = StepCounts()
        self.clock = clock
        self._runner = runner
        self._waiting: deque[_Waiting] = deque()
        self._running: dict[int, _Running] = {}
        self._outputs: list[EngineOutput] = []
        self._requests = self._prompt_tokens = self._cached_tokens = self._output_tokens = self._decoded_tokens = 0

    @property
    def idle(self) -> bool:
        return not self._waiting and not self._running

    def validate(self, request: EngineRequest) -> None:
        """Raises RequestRejectedError, or ContextLengthError where the request can never fit. Touches no state, so any
        thread may call it."""
        validate(request, self.config, self._runner.vocab_size)
        self.blocks.require_fit(len(request.prompt), request.sampling.max_tokens)

    def add(self, request: EngineRequest, arrival_ns: int | None = None) -> None:
        """Queue a request; its id must not be in use. ``arrival_ns`` is now unless given. Raises as
        ``validate`` does."""
        self.validate(request)
        assert request.request_id not in self._running
        arrival = self.clock() if arrival_ns is None else arrival_ns
        perf = PerfMetrics(arrival_time_ns=arrival, num_input_tokens=len(request.prompt))
        self._waiting.append(_Waiting(request, perf))

    def cancel(self, request_id: int) -> EngineOutput | None:
        """End a request now; its blocks and sequence are free, what it stored stays. None if it is not here (any
        more)."""
        if request_id in self._running:
            return self._end(self._running[request_id], FinishReason.CANCELLED)
        for waiting in self._waiting:
            if waiting.request.request_id == request_id:
                self._waiting.remove(waiting)
                return EngineOutput(request_id, (), finish=FinishReason.CANCELLED, perf=waiting.perf)
        return None

    def fail(self, message: str) -> list[EngineOutput]:
        """After ``step`` raised: the outputs that it had made by then, and the end of every running request with an
        error; of the waiting ones too if none was running, since then they are the cause."""
        outputs, self._outputs = self._outputs, []
        if not self._running:
            for entry in self._waiting:
                request_id = entry.request.request_id
                outputs.append(EngineOutput(request_id, (), finish=FinishReason.ERROR, perf=entry.perf, error=message))
            self._waiting.clear()
        outputs += [self._end(entry, FinishReason.ERROR, error=message) for entry in list(self._running.values())]
        return outputs

    def step(self) -> list[EngineOutput]:
        """One iteration; the outputs of requests that got a token or ended. Raises what the runner raises: then call
        ``fail`` before the next step."""
        batch, sampling = self._schedule()
        self.last_step = batch.counts
        assert batch or self.idle, "a request that fits waits for nothing"
        if not batch:
            return []
        self._runner.decode(batch)
        self._decoded_tokens += len(batch)
        now = self.clock()
        for entry, index in sampling:
            self._outputs.append(self._sample(entry, index, now))
        outputs, self._outputs = self._outputs, []
        return outputs

    def stats(self) -> EngineStats:
        blocks, counters = self.blocks, self.blocks.counters
        return EngineStats(
            max_blocks=self.config.capacity_blocks,
            used_blocks=blocks.held_blocks,
            free_blocks=self.config.capacity_blocks - blocks.held_blocks,
            cached_blocks=blocks.cached_blocks,
            tokens_per_block=self.config.tokens_per_block,
            reused_blocks=counters.reused,
            new_blocks=counters.new,
            evicted_blocks=counters.evicted,
            requests=self._requests,
            running=len(self._running),
            waiting=len(self._waiting),
            prompt_tokens=self._prompt_tokens,
            cached_tokens=self._cached_tokens,
            output_tokens=self._output_tokens,
            decoded_tokens=self._decoded_tokens,
        )

    def check(self) -> None:
        """Raises AssertionError if blocks or sequences are miscounted. For tests: it walks the whole cache."""
        invariants.check(self.blocks)
        assert {id(a) for a in self.blocks.running} == {id(entry.allocation) for entry in self._running.values()}

    def _schedule(self) -> tuple[Batch, list[tuple[_Running, int]]]:
        """The next batch, and which of its entries are sampled for whom."""
        batch = Batch()
        sampling: list[tuple[_Running, int]] = []
        running = list(self._running.values())
        for entry in running:
            if entry.decoding:
                self._put(batch, entry, 1, sampling)
        decoding = len(batch)
        for entry in running:
            if not entry.decoding:
                self._prefill(batch, entry, sampling)
        while len(batch) < self.config.prefill_chunk and (started := self._start()) is not None:
            self._prefill(batch, started, sampling)
        batch.counts = StepCounts(len(batch) - decoding, decoding)
        return batch, sampling

    def _start(self) -> _Running | None:
        """Start the request that waits longest, if it may."""
        if not self._waiting or len(self._running) >= self.config.max_running:
            return None
        request, perf = self._waiting[0].request, self._waiting[0].perf
        allocation = self.blocks.admit(request.prompt, request.sampling.max_tokens)
        if allocation is None:
            return None
        self._waiting.popleft()
        cached = allocation.reused_blocks * self.config.tokens_per_block
        perf.first_scheduled_time_ns = self.clock()
        perf.kv_cache_reused_blocks = allocation.reused_blocks
        perf.num_cached_tokens = cached
        self._requests += 1
        self._prompt_tokens += len(request.prompt)
        self._cached_tokens += cached
        entry = _Running(request, perf, allocation, list(request.prompt), cached)
        self._running[request.request_id] = entry
        return entry

    def _prefill(self, batch: Batch, entry: _Running, sampling: list[tuple[_Running, int]]) -> None:
        room = self.config.prefill_chunk - len(batch)
        self._put(batch, entry, min(room, len(entry.request.prompt) - entry.computed), sampling)

    def _put(self, batch: Batch, entry: _Running, count: int, sampling: list[tuple[_Running, int]]) -> None:
        """The next ``count`` tokens of a request; those that complete what is known of it are sampled from."""
        if not count:
            return
        start, stop = entry.computed, entry.computed + count
        self.blocks.extend(entry.allocation, stop)
        batch.tokens += entry.tokens[start:stop]
        batch.positions += range(start, stop)
        batch.sequences += [entry.allocation.sequence] * count
        batch.wants_logits += [False] * count
        entry.computed = stop
        if stop == len(entry.tokens):
            batch.wants_logits[-1] = True
            sampling.append((entry, len(batch) - 1))

    def _sample(self, entry: _Running, index: int, now: int) -> EngineOutput:
        request, perf = entry.request, entry.perf
        self.blocks.store(entry.allocation, entry.tokens, entry.computed)
        token, log_prob = self._runner.sample(index, request, entry.output)
        perf.first_token_time_ns = perf.first_token_time_ns or now
        perf.last_token_time_ns = now
        if token == request.end_id:
            return self._end(entry, FinishReason.END)
        entry.tokens.append(token)
        entry.output.append(token)
        self._output_tokens += 1
        log_probs = () if log_prob is None else (log_prob,)
        finish = self._finish(entry)
        if finish is None:
            return EngineOutput(request.request_id, (token,), log_probs)
        return self._end(entry, finish, tokens=(token,), log_probs=log_probs)

    def _finish(self, entry: _Running) -> FinishReason | None:
        output, request = entry.output, entry.request
        if any(tuple(output[-len(stop) :]) == stop for stop in request.stop):
            return FinishReason.STOP
        return FinishReason.LENGTH if len(output) >= request.sampling.max_tokens else None

    def _end(
        self,
        entry: _Running,
        finish: FinishReason,
        *,
        tokens: tuple[int, ...] = (),
        log_probs: tuple[float, ...] = (),
        error: str | None = None,
    ) -> EngineOutput:
        request_id, perf = entry.request.request_id, entry.perf
        del self._running[request_id]
        self.blocks.release(entry.allocation)
        self._runner.release(request_id)
        perf.kv_cache_alloc_new_blocks = entry.allocation.new_blocks
        perf.kv_cache_alloc_total_blocks = entry.allocation.new_blocks + entry.allocation.reused_blocks
        perf.num_output_tokens = len(entry.output)
        return EngineOutput(request_id, tokens, log_probs, finish, perf, error)
