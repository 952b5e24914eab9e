"""The iteration-level scheduler: continuous batching with chunked prefill over the block manager of ``cache``."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from charter_compiler.cache import invariants
from charter_compiler.cache.events import OnEvent
from charter_compiler.cache.trtllm import Allocation, BlockManager
from charter_compiler.diagnostics.errors import ModelError
from charter_compiler.serve.engine.batch_builder import BatchBuilder
from charter_compiler.serve.engine.hints import Hints, pinned_blocks
from charter_compiler.serve.engine.interface import (
    GRID,
    Batch,
    EngineConfig,
    EngineOutput,
    EngineRequest,
    EngineStats,
    FinishReason,
    ModelRunner,
    PerfMetrics,
    SamplingParams,
    StepCounts,
)
from charter_compiler.serve.engine.running import Due, Running, Waiting
from charter_compiler.serve.engine.validation import validate


class EngineCore:
    """Requests in, tokens out, one iteration a ``step``. Deterministic, no thread of its own, not thread-safe.

    ``clock`` gives the time in ns. It is read when a request is added, considered and cancelled, and after each
    ``decode``, so a runner that moves a virtual clock in ``decode`` gives all figures in virtual time. ``on_event`` is
    told of every block that becomes reusable or stops being so.

    One iteration: a token for each request that decodes, and its drafts; then, up to ``prefill_chunk`` tokens in all,
    prompts in the order of arrival. A waiting request is started when the iteration has room for its first prompt token
    and the block manager grants it all the blocks that it may need; none overtakes another. What a request can reuse is
    settled at that moment, so of requests with one cold prefix that start together each computes it. What hints ask to
    prefetch is computed, ``GRID`` tokens an iteration, while there is no request at all.
    """

    def __init__(
        self, config: EngineConfig, runner: ModelRunner, clock: Callable[[], int], on_event: OnEvent | None = None
    ) -> None:
        self.config = config
        self.blocks = BlockManager(
            config.capacity_blocks,
            config.tokens_per_block,
            max_sequences=config.max_sequences,
            enable_reuse=config.enable_block_reuse,
            partial_reuse=config.enable_partial_reuse,
            reuse_step=config.reuse_step,
            memory=runner,
            on_event=on_event,
        )
        self._hints = Hints(
            self.blocks,
            max_pins=config.max_sequences - config.max_running,
            max_context=config.max_context,
            vocab_size=runner.vocab_size,
        )
        self.last_step = StepCounts()
        self.clock = clock
        self._runner = runner
        self._waiting: deque[Waiting] = deque()
        self._running: dict[int, Running] = {}
        self._outputs: list[EngineOutput] = []
        self._now = 0
        self._prefetches = self._peak_used = 0
        self._requests = self._prompt_tokens = self._cached_tokens = self._output_tokens = self._decoded_tokens = 0

    @property
    def idle(self) -> bool:
        return not self._waiting and not self._running and not self._hints.prefetches

    def validate(self, request: EngineRequest) -> None:
        """Raises RequestRejectedError, or ContextLengthError where the request can never fit. Touches no state, so any
        thread may call it."""
        validate(request, self.config, self._runner.vocab_size)
        self._runner.validate(request)
        self.blocks.require_fit(len(request.prompt), request.sampling.max_tokens)

    def add(self, request: EngineRequest, arrival_ns: int | None = None) -> None:
        """Validate and queue a request. Raises as ``validate`` does."""
        self.validate(request)
        self.enqueue(request, arrival_ns)

    def enqueue(self, request: EngineRequest, arrival_ns: int | None = None) -> None:
        """Queue a request that ``validate`` let pass; its id must not be in use. ``arrival_ns`` is now unless given."""
        assert request.request_id >= 0
        assert request.request_id not in self._running
        arrival = self.clock() if arrival_ns is None else arrival_ns
        perf = PerfMetrics(arrival_time_ns=arrival, num_input_tokens=len(request.prompt))
        self._waiting.append(Waiting(request, perf))

    def cancel(self, request_id: int) -> EngineOutput | None:
        """End a request now; its blocks and sequence are free, what it stored stays. None if it is not here (any
        more)."""
        if request_id in self._running:
            self._now = self.clock()
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
        self._hints.prefetches.clear()
        ends = [(entry, self._end(entry, FinishReason.ERROR, error=message)) for entry in list(self._running.values())]
        return outputs + [output for entry, output in ends if not entry.prefetch]

    def step(self) -> list[EngineOutput]:
        """One iteration; the outputs of requests that got a token or ended. Raises what the runner raises: then call
        ``fail`` before the next step."""
        batch, due = self._schedule()
        self._peak_used = max(self._peak_used, self.blocks.held_blocks)
        self.last_step = batch.counts
        assert batch or self.idle, "a request that fits waits for nothing"
        if not batch:
            return []
        self._runner.decode(batch)
        self._decoded_tokens += len(batch)
        self._now = self.clock()
        for one in due:
            if one.entry.prefetch:
                self._store(one.entry)
                self._end(one.entry, FinishReason.LENGTH)
                continue
            try:
                self._outputs.append(self._sample(one))
            except ModelError as error:  # of the request's own grammar: the others go on
                self._outputs.append(self._end(one.entry, FinishReason.ERROR, error=str(error)))
        outputs, self._outputs = self._outputs, []
        return outputs

    def stats(self) -> EngineStats:
        blocks, counters = self.blocks, self.blocks.counters
        return EngineStats(
            max_blocks=self.config.capacity_blocks,
            used_blocks=blocks.held_blocks,
            peak_used_blocks=self._peak_used,
            pinned_blocks=pinned_blocks(blocks.pins),
            free_blocks=self.config.capacity_blocks - blocks.held_blocks,
            cached_blocks=blocks.cached_blocks,
            tokens_per_block=self.config.tokens_per_block,
            reused_blocks=counters.reused,
            new_blocks=counters.new,
            evicted_blocks=counters.evicted,
            evicted_for_sequences=counters.evicted_for_sequences,
            sequences=blocks.pool.in_use,
            max_sequences=self.config.max_sequences,
            requests=self._requests,
            running=len(self._running) - (self._prefetching is not None),
            waiting=len(self._waiting),
            prompt_tokens=self._prompt_tokens,
            cached_tokens=self._cached_tokens,
            output_tokens=self._output_tokens,
            decoded_tokens=self._decoded_tokens,
        )

    def clear(self) -> None:
        """End all leases, and forget every block that no running request holds."""
        while self._hints.give_way(self._now_ms):
            pass
        while (block := self.blocks.queue.top()) is not None:
            self.blocks.forget(block)

    def check(self) -> None:
        """Raises AssertionError if blocks or sequences are miscounted. For tests: it walks the whole cache."""
        invariants.check(self.blocks)
        assert {id(a) for a in self.blocks.running} == {id(entry.allocation) for entry in self._running.values()}

    def _schedule(self) -> tuple[Batch, list[Due]]:
        """The next batch, and who gets tokens from which of its entries."""
        self._end_leases()
        builder = BatchBuilder(self.config, self.blocks)
        running = [entry for entry in self._running.values() if not entry.prefetch]
        builder.decode([entry for entry in running if entry.decoding])
        for entry in running:
            if not entry.decoding:
                builder.prefill(entry)
        while builder.room and (started := self._start()) is not None:
            builder.prefill(started)
        if not builder.due and builder.room == self.config.prefill_chunk:
            prefetch = self._prefetching or self._start_prefetch()
            if prefetch is not None:
                builder.prefill(prefetch, at_most=GRID)
        return builder.finished(), builder.due

    def _start(self) -> Running | None:
        """Start the request that waits longest, if it may. Where nothing runs that would end and make room, a prefetch
        and leases give way."""
        running = len(self._running) - (self._prefetching is not None)
        if not self._waiting or running >= self.config.running_limit:
            return None
        self._now = self.clock()
        request, perf = self._waiting[0].request, self._waiting[0].perf
        allocation = self._admit(request)
        while allocation is None and not running and self._give_way():
            allocation = self._admit(request)
        if allocation is None:
            return None
        self._waiting.popleft()
        entry = self._run(request, perf, allocation)
        entry.outcomes += self._hints.at_start(request.hints, request.cache_salt)
        return entry

    def _admit(self, request: EngineRequest) -> Allocation | None:
        return self.blocks.admit(
            request.prompt,
            request.sampling.max_tokens,
            salt=request.cache_salt,
            retention=request.retention,
            now_ms=self._now_ms,
        )

    @property
    def _prefetching(self) -> Running | None:
        """The prefetch that has begun: one at most."""
        return next((entry for entry in self._running.values() if entry.prefetch), None)

    def _give_way(self) -> bool:
        if (prefetch := self._prefetching) is not None:
            self._end(prefetch, FinishReason.CANCELLED)
            return True
        return self._hints.give_way(self._now_ms)

    def _start_prefetch(self) -> Running | None:
        """The next; those that find no room are given up."""
        self._now = self.clock()
        while (wanted := self._hints.next_prefetch()) is not None:
            self._prefetches += 1
            # The id is in nobody's use; one token of output is room that is never used.
            request = EngineRequest(-self._prefetches, wanted.tokens, SamplingParams(1), cache_salt=wanted.salt)
            if (allocation := self._admit(request)) is not None:
                entry = self._run(request, PerfMetrics(arrival_time_ns=self._now), allocation)
                entry.prefetch = True
                return entry
        return None

    def _run(self, request: EngineRequest, perf: PerfMetrics, allocation: Allocation) -> Running:
        drafts = request.drafts[: request.sampling.max_tokens - 1]
        perf.first_scheduled_time_ns = self._now
        perf.kv_cache_reused_blocks = allocation.reused_blocks
        perf.num_cached_tokens = allocation.cached_tokens
        perf.num_draft_tokens = len(drafts)
        self._requests += 1
        self._prompt_tokens += len(request.prompt)
        self._cached_tokens += allocation.cached_tokens
        entry = Running(request, perf, allocation, list(request.prompt), allocation.cached_tokens, deque(drafts))
        self._running[request.request_id] = entry
        return entry

    def _end_leases(self) -> None:
        if self.blocks.pins:
            self._now = self.clock()
            self._hints.expire(self._now_ms)

    @property
    def _now_ms(self) -> float:
        return self._now / 1e6

    def _sample(self, one: Due) -> EngineOutput:
        """A token, and one more for each draft that was right."""
        entry, request, perf = one.entry, one.entry.request, one.entry.perf
        perf.first_token_time_ns = perf.first_token_time_ns or self._now
        perf.last_token_time_ns = self._now
        chosen: list[int] = []
        log_probs: list[float] = []
        finish = None
        for place, index in enumerate(one.indices):
            token, log_prob = self._runner.sample(index, request, entry.output)
            if token == request.end_id:
                finish = FinishReason.END
                break
            chosen.append(token)
            entry.tokens.append(token)
            entry.output.append(token)
            log_probs += [] if log_prob is None else [log_prob]
            finish = self._finish(entry)
            if finish is not None or place == len(one.drafts) or token != one.drafts[place]:
                break
        if wrong := one.settle(chosen):
            entry.computed -= wrong
            self._runner.drop_range(entry.allocation.sequence, entry.computed, None)
        self._output_tokens += len(chosen)
        self._store(entry)
        if finish is None:
            return EngineOutput(request.request_id, tuple(chosen), tuple(log_probs))
        return self._end(entry, finish, tokens=tuple(chosen), log_probs=tuple(log_probs))

    def _store(self, entry: Running) -> None:
        """What has been computed becomes reusable; of a reproducible engine only what a cold run would cut there."""
        length = entry.computed
        if self.config.reproducible:
            length = len(entry.request.prompt) // GRID * GRID
        self.blocks.store(entry.allocation, entry.tokens, length)

    def _finish(self, entry: Running) -> FinishReason | None:
        output, request = entry.output, entry.request
        if request.stop and any(tuple(output[-len(stop) :]) == stop for stop in request.stop):
            return FinishReason.STOP
        return FinishReason.LENGTH if len(output) >= request.sampling.max_tokens else None

    def _end(
        self,
        entry: Running,
        finish: FinishReason,
        *,
        tokens: tuple[int, ...] = (),
        log_probs: tuple[float, ...] = (),
        error: str | None = None,
    ) -> EngineOutput:
        request, perf = entry.request, entry.perf
        request_id = request.request_id
        del self._running[request_id]
        # What an iteration that failed has computed, or an unfinished prefill, is not kept.
        done = entry.computed if entry.decoding and finish is not FinishReason.ERROR else 0
        if request.hints and finish not in (FinishReason.ERROR, FinishReason.CANCELLED):
            entry.outcomes += self._hints.at_end(
                request.hints, request.prompt, request.cache_salt, entry.allocation.path, self._now_ms
            )
        self.blocks.release(entry.allocation, entry.tokens, done, now_ms=self._now_ms)
        self._runner.release(request_id)
        perf.kv_cache_alloc_new_blocks = entry.allocation.new_blocks
        perf.kv_cache_alloc_total_blocks = entry.allocation.new_blocks + entry.allocation.reused_blocks
        perf.num_output_tokens = len(entry.output)
        return EngineOutput(request_id, tokens, log_probs, finish, perf, error, tuple(entry.outcomes))
