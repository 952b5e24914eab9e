"""Traced calls through the run time's own scheduler and the engine's own core, in virtual time."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from charter_compiler.cache.unbounded import UnboundedCache
from charter_compiler.diagnostics.errors import RequestRejectedError
from charter_compiler.executor.prompts import PromptTokens
from charter_compiler.executor.scheduler import Mode, make_scheduler
from charter_compiler.executor.types import GenerationRequest
from charter_compiler.predict.control_flow import ItemTrace, TracedCall
from charter_compiler.serve.engine.core import EngineCore
from charter_compiler.serve.engine.interface import Batch, EngineConfig, EngineOutput, EngineRequest, SamplingParams
from charter_compiler.serve.engine.null_runner import NullRunner
from charter_compiler.tokens.tokenizer import Tokenizer

NO_TOKEN = -1
"""An id that no output holds; it ends an output that is shorter than ``max_tokens``."""


@dataclass(frozen=True, slots=True)
class StepCosts:
    """Nanoseconds of one engine iteration: fixed, and for each token. The defaults are those of SmolLM2-135M on two CPU
    cores. They decide only which calls meet in the engine; tokens are counted, never derived from them."""

    fixed: int = 2_000_000
    prefill_token: int = 4_600_000
    decode_token: int = 7_000_000

    def of(self, batch: Batch) -> int:
        counts = batch.counts
        return self.fixed + counts.prefill_tokens * self.prefill_token + counts.decode_tokens * self.decode_token


@dataclass(frozen=True, slots=True)
class ReplayedCall:
    """A call as the engine would count it; ``trace`` is ``None`` for a warm-up. ``rejected`` is why the engine would
    refuse it, and then nothing is counted. ``attainable_tokens`` would be cached if the cache never evicted."""

    trace: TracedCall | None
    prompt_tokens: int
    cached_tokens: int
    attainable_tokens: int
    rejected: str | None = None


@dataclass(slots=True)
class _Open:
    """A call between submission and end."""

    trace: TracedCall | None
    prompt: list[int]
    output: list[int]
    max_tokens: int
    attainable: int = 0
    started: bool = False


@dataclass(slots=True)
class _Item:
    trace: ItemTrace
    waiting: list[TracedCall]
    open: int = 0
    answered: set[int] = field(default_factory=set)


class Replay:
    """One replay.

    Args:
        tokenizer: the target's.
        engine: the target's sizes.
        mode: how the run will schedule.
        concurrency: items in flight.
        costs: virtual time of an iteration.
    """

    def __init__(
        self, tokenizer: Tokenizer, engine: EngineConfig, mode: Mode, concurrency: int, costs: StepCosts | None = None
    ) -> None:
        self._tokenizer = tokenizer
        self._prompts = PromptTokens(tokenizer, engine.tokens_per_block)
        self._scheduler = make_scheduler(mode, concurrency, engine.capacity_blocks)
        self._costs = costs or StepCosts()
        self._now = 0
        self._outputs: dict[int, Sequence[int]] = {}
        self._core = EngineCore(engine, NullRunner(self._outputs, self._advance), lambda: self._now)
        self._attainable = UnboundedCache(engine.tokens_per_block)
        self._keys = itertools.count()
        self._open: dict[int, _Open] = {}
        self._live: dict[int, _Item] = {}
        self._done: list[ReplayedCall] = []

    def run(self, items: Sequence[ItemTrace], warm_ups: Sequence[GenerationRequest] = ()) -> list[ReplayedCall]:
        """The calls in the order in which they end. Warm-ups end before the first item starts, as in a run."""
        for request in warm_ups:
            self._submit(None, request, "")
        self._drain()
        coming = deque(items)
        while coming or self._live:
            while coming and self._scheduler.may_start():
                self._start(coming.popleft())
            self._send()
            self._step()
        return self._done

    def _advance(self, batch: Batch) -> None:
        self._now += self._costs.of(batch)

    def _drain(self) -> None:
        self._send()
        while self._open:
            self._step()
            self._send()

    def _start(self, trace: ItemTrace) -> None:
        self._scheduler.start_item(trace.item)
        item = self._live[trace.item] = _Item(trace, list(trace.calls))
        self._go_on(item)

    def _go_on(self, item: _Item) -> None:
        """Submit the calls that the agent makes now; the item is over when it makes and awaits none."""
        ready = [call for call in item.waiting if item.answered.issuperset(call.after)]
        item.waiting = [call for call in item.waiting if call not in ready]
        for call in ready:
            item.open += 1
            self._submit(call, call.call.request, call.output)
        if not item.open:
            del self._live[item.trace.item]
            self._scheduler.finish_item(item.trace.item)

    def _submit(self, trace: TracedCall | None, request: GenerationRequest, output: str) -> None:
        key = next(self._keys)
        prompt = self._prompts.tokens(request)
        assert prompt is not None, "predict_run refuses chats for which there is no template"
        tokens = self._tokenizer.encode(output)[: request.max_tokens]
        self._open[key] = _Open(trace, prompt, tokens, request.max_tokens)
        item = None if trace is None else trace.call.item
        self._scheduler.submit(self._prompts.scheduled(key, item, prompt, request.max_tokens))

    def _send(self) -> None:
        while ready := self._scheduler.ready():
            for scheduled in ready:
                call = self._open[scheduled.key]
                self._outputs[scheduled.key] = call.output
                sampling = SamplingParams(call.max_tokens)
                request = EngineRequest(scheduled.key, tuple(call.prompt), sampling, end_id=NO_TOKEN)
                try:
                    self._core.add(request)
                except RequestRejectedError as error:
                    self._end(scheduled.key, ReplayedCall(call.trace, 0, 0, 0, error.message))
                else:
                    call.attainable = self._attainable.request(call.prompt)

    def _step(self) -> None:
        for output in self._core.step():
            call = self._open[output.request_id]
            if not call.started:
                call.started = True
                self._scheduler.on_first_token(output.request_id)
            if output.finish is not None:
                self._finish(output, call)

    def _finish(self, output: EngineOutput, call: _Open) -> None:
        assert output.perf is not None, "the last output of a request carries its figures"
        self._attainable.request([*call.prompt, *call.output[:-1]])
        perf = output.perf
        replayed = ReplayedCall(call.trace, perf.num_input_tokens, perf.num_cached_tokens, call.attainable)
        self._end(output.request_id, replayed)

    def _end(self, key: int, replayed: ReplayedCall) -> None:
        del self._open[key]
        self._outputs.pop(key, None)
        self._scheduler.on_done(key)
        self._done.append(replayed)
        trace = replayed.trace
        if trace is None:
            return
        item = self._live[trace.call.item]
        item.open -= 1
        item.answered.add(trace.call.ordinal)
        if replayed.rejected is not None:
            item.waiting.clear()  # the agent fails there
        self._go_on(item)
