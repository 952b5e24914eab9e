"""vLLM's scheduler in virtual time, over the model of its KV cache: what ``serve.engine.core`` is for the embedded one.

After vLLM 0.32, ``vllm/v1/core/sched/scheduler.py``, with its defaults: first come, first served; chunked prefill; a
request starts when there is room for its whole prompt; running requests are preempted, the last started first, where
blocks run short. Left out: that with asynchronous scheduling an ended request gives its blocks back one step later.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from charter_compiler.cache.interface import Request
from charter_compiler.cache.vllm import VllmCache, VllmLease
from charter_compiler.diagnostics.errors import ContextLengthError
from charter_compiler.serve.engine.interface import (
    Batch,
    EngineConfig,
    EngineOutput,
    EngineRequest,
    FinishReason,
    PerfMetrics,
    StepCounts,
)

VLLM_SEQUENCES, VLLM_BATCHED_TOKENS = 128, 2048
"""What vLLM 0.32 takes for ``max_num_seqs`` and ``max_num_batched_tokens`` on a CPU when it is told nothing (on GPUs
more, by their memory: ``vllm/engine/arg_utils.py``). No endpoint states them."""


@dataclass(slots=True)
class _Entry:
    """A request, waiting or running. ``tokens`` are prompt and output; the KV of the first ``computed`` is there. The
    last of them is sampled anew after a preemption no less than before: it is known."""

    request: EngineRequest
    perf: PerfMetrics
    tokens: list[int]
    output: int = 0
    computed: int = 0
    lease: VllmLease | None = None
    cached_known: bool = field(default=False)


class VllmCore:
    """Requests in, tokens out, one iteration a ``step``; the interface is that of ``EngineCore``.

    Args:
        config: ``tokens_per_block`` and ``capacity_blocks`` are vLLM's ``block_size`` and ``num_gpu_blocks``,
            ``prefill_chunk`` its ``max_num_batched_tokens``, ``max_running`` its ``max_num_seqs``.
        outputs: the output tokens of each request, by its id; it ends after them, or after its ``max_tokens``.
        on_step: called with each iteration's tokens; there a virtual clock moves on.
        clock: the time in ns.
    """

    def __init__(
        self,
        config: EngineConfig,
        outputs: Mapping[int, Sequence[int]],
        on_step: Callable[[Batch], None],
        clock: Callable[[], int],
    ) -> None:
        self._config = config
        self._cache = VllmCache(config.capacity_blocks, config.tokens_per_block)
        self._outputs = outputs
        self._on_step = on_step
        self._clock = clock
        self._waiting: deque[_Entry] = deque()
        self._running: list[_Entry] = []

    @property
    def idle(self) -> bool:
        return not self._waiting and not self._running

    def add(self, request: EngineRequest) -> None:
        """Queue a request.

        Raises:
            ContextLengthError: prompt and output exceed the context, or the prompt the whole cache.
        """
        length, most = len(request.prompt), request.sampling.max_tokens
        if length + most > self._config.max_context:
            raise ContextLengthError(
                f"{length} prompt and {most} output tokens exceed the context of {self._config.max_context} tokens",
                remedy="shorten the prompt, or serve the model with a longer context",
            )
        # The output too: vLLM would take the prompt, preempt the request for ever, and the replay would not end.
        self._cache.require_fit(length + most - 1)
        perf = PerfMetrics(arrival_time_ns=self._clock(), num_input_tokens=length)
        self._waiting.append(_Entry(request, perf, list(request.prompt)))

    def cancel(self, request_id: int) -> None:
        """Forget a request that waits or runs; its blocks are free. Nothing where it is not here."""
        for entry in [*self._running, *self._waiting]:
            if entry.request.request_id == request_id:
                if entry.lease is None:
                    self._waiting.remove(entry)
                else:
                    self._running.remove(entry)
                    self._cache.finish(entry.lease)
                return

    def step(self) -> list[EngineOutput]:
        """One iteration; the outputs of the requests that got a token or ended."""
        batch = Batch()
        decoding = 0
        budget = self._config.prefill_chunk
        scheduled: list[_Entry] = []
        preempted = False
        index = 0
        while index < len(self._running) and budget > 0:
            entry = self._running[index]
            count = min(len(entry.tokens) - entry.computed, budget)
            while not self._grow(entry, count):
                preempted = True
                if self._preempt() is entry:
                    break
            if entry.lease is None:
                break
            decoding += entry.output > 0 and count == 1
            budget -= self._put(batch, entry, count)
            scheduled.append(entry)
            index += 1
        while not preempted and budget > 0 and self._waiting and len(self._running) < self._config.max_running:
            entry = self._waiting[0]
            if not self._start(entry, budget):
                break
            self._waiting.popleft()
            self._running.append(entry)
            budget -= self._put(batch, entry, min(len(entry.tokens) - entry.computed, budget))
            scheduled.append(entry)
        assert scheduled or self.idle, "a request that fits waits for nothing"
        batch.counts = StepCounts(len(batch) - decoding, decoding)
        self._on_step(batch)
        return [output for entry in scheduled if (output := self._sample(entry)) is not None]

    def _grow(self, entry: _Entry, count: int) -> bool:
        assert entry.lease is not None, "a running request has a lease"
        return self._cache.append(entry.lease, entry.tokens[entry.computed : entry.computed + count])

    def _preempt(self) -> _Entry:
        """The request that started last gives its blocks back and waits again, before all others."""
        entry = self._running.pop()
        assert entry.lease is not None, "a running request has a lease"
        self._cache.finish(entry.lease)
        entry.lease, entry.computed = None, 0
        self._waiting.appendleft(entry)
        return entry

    def _start(self, entry: _Entry, budget: int) -> bool:
        lease = self._cache.start(Request(entry.tokens), first_chunk=budget, whole_must_fit=True)
        if lease is None:
            return False
        entry.lease, entry.computed = lease, lease.cached_tokens
        if not entry.cached_known:  # what it finds again after a preemption is not counted
            entry.cached_known = True
            entry.perf.num_cached_tokens = lease.cached_tokens
            entry.perf.first_scheduled_time_ns = self._clock()
        return True

    def _put(self, batch: Batch, entry: _Entry, count: int) -> int:
        start, stop = entry.computed, entry.computed + count
        batch.tokens += entry.tokens[start:stop]
        batch.positions += range(start, stop)
        entry.computed = stop
        return count

    def _sample(self, entry: _Entry) -> EngineOutput | None:
        """The next token where all that is known of the request has been computed."""
        if entry.computed < len(entry.tokens):
            return None
        request, known, now = entry.request, self._outputs[entry.request.request_id], self._clock()
        entry.perf.first_token_time_ns = entry.perf.first_token_time_ns or now
        entry.perf.last_token_time_ns = now
        if entry.output >= len(known):
            return self._end(entry, (), FinishReason.END)
        token = known[entry.output]
        entry.output += 1
        if entry.output >= request.sampling.max_tokens:
            return self._end(entry, (token,), FinishReason.LENGTH)
        entry.tokens.append(token)
        return EngineOutput(request.request_id, (token,))

    def _end(self, entry: _Entry, tokens: tuple[int, ...], finish: FinishReason) -> EngineOutput:
        assert entry.lease is not None, "a running request has a lease"
        self._cache.finish(entry.lease)
        self._running.remove(entry)
        entry.perf.num_output_tokens = entry.output
        return EngineOutput(entry.request.request_id, tokens, finish=finish, perf=entry.perf)
