"""Traced calls through the run time's own scheduler and the engine's own core, in virtual time."""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter

from charter_compiler.cache.unbounded import UnboundedCache
from charter_compiler.diagnostics.errors import RequestRejectedError
from charter_compiler.executor.prompts import PromptTokens
from charter_compiler.executor.scheduler.mode import Mode, make_scheduler
from charter_compiler.executor.types import GenerationRequest
from charter_compiler.plan.schedule import DEFAULT_SCHEDULE, Schedule
from charter_compiler.predict.control_flow import ItemTrace, TracedCall
from charter_compiler.predict.expected_items import expected_items
from charter_compiler.predict.prefix_index import NOTHING_SHARED, PrefixIndex, SharedPrefix
from charter_compiler.serve.engine.core import EngineCore
from charter_compiler.serve.engine.costs import Costs
from charter_compiler.serve.engine.interface import Batch, EngineConfig, EngineRequest, SamplingParams
from charter_compiler.serve.engine.null_runner import NullRunner
from charter_compiler.serve.engine.vllm_core import VllmCore
from charter_compiler.tokens.tokenizer import Tokenizer

NO_TOKEN = -1
"""An id that no output holds; it ends an output that is shorter than ``max_tokens``."""


@dataclass(frozen=True, slots=True)
class ReplayedCall:
    """A call as the engine would count it; ``trace`` is ``None`` for a warm-up. ``rejected`` is why the engine would
    refuse it, and then nothing is counted. ``attainable_tokens`` would be cached if the cache never evicted. ``key``
    counts the calls as the agents made them; ``shared`` is what the prompt has in common with those that were sent
    before it, by their keys. In virtual ns: ``started_ns`` when the engine began, ``computed_ns`` when the prompt was
    computed.
    """

    trace: TracedCall | None
    prompt_tokens: int
    cached_tokens: int
    attainable_tokens: int
    rejected: str | None = None
    key: int = 0
    shared: SharedPrefix = NOTHING_SHARED
    started_ns: int = 0
    computed_ns: int = 0


@dataclass(slots=True)
class _Open:
    """A call between submission and end."""

    trace: TracedCall | None
    prompt: list[int]
    output: list[int]
    max_tokens: int
    attainable: int = 0
    shared: SharedPrefix = NOTHING_SHARED
    started: bool = False


@dataclass(slots=True)
class _Item:
    trace: ItemTrace
    waiting: list[TracedCall]
    open: int = 0
    answered: set[int] = field(default_factory=set)


class Replay:
    """One replay, in one virtual time. The engine's iterations are atomic: what arrives in the middle of one waits for
    its end.

    Args:
        tokenizer: the target's.
        engine: the target's sizes.
        mode: how the run will schedule.
        concurrency: items in flight.
        costs: what takes how long.
        profile: whose scheduler and cache rules hold: ``vllm``, else those of the embedded engine, TensorRT-LLM's.
        merge_key: what requests have in common that are answered once; ``None`` for one that is sent.
        schedule: the plan's order, in optimized mode.
        attainable: the cache that never evicts; one of its own if not given.
        constant: prompts whose blocks belong to no item, warmed or not.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        engine: EngineConfig,
        mode: Mode,
        concurrency: int,
        costs: Costs | None = None,
        profile: str | None = None,
        merge_key: Callable[[GenerationRequest], Hashable] = lambda request: None,
        schedule: Schedule = DEFAULT_SCHEDULE,
        attainable: UnboundedCache | None = None,
        constant: Sequence[GenerationRequest] = (),
    ) -> None:
        self._tokenizer = tokenizer
        self._prompts = PromptTokens(tokenizer, engine.tokens_per_block)
        self._make_scheduler = partial(
            make_scheduler, mode, concurrency, engine.capacity_blocks, schedule, engine=profile
        )
        self._scheduler = self._make_scheduler()
        self._capacity = engine.capacity_blocks
        self._constant = constant
        self._foresees = mode is Mode.OPTIMIZED
        self._schedule = DEFAULT_SCHEDULE if mode is Mode.BASELINE else schedule
        self._costs = costs or Costs()
        self._transit = round(self._costs.transit)
        self._outputs: dict[int, Sequence[int]] = {}
        self._engine_time = 0
        self._core = self._make_core(engine, profile)
        self._client_time = 0
        self._sent_until = 0
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._sequence = itertools.count()
        self._attainable = UnboundedCache(engine.tokens_per_block) if attainable is None else attainable
        self._index = PrefixIndex(engine.tokens_per_block)
        self._keys = itertools.count()
        self._merge_key = merge_key
        self._answered: set[Hashable] = set()
        self._behind: dict[Hashable, list[TracedCall]] = {}
        self._leaders: dict[Hashable, int] = {}  # whose call the others wait for
        self.merged = 0
        self._open: dict[int, _Open] = {}
        self._live: dict[int, _Item] = {}
        self._coming: deque[ItemTrace] = deque()
        self._done: list[ReplayedCall] = []

    def run(self, items: Sequence[ItemTrace], warm_ups: Sequence[GenerationRequest] = ()) -> list[ReplayedCall]:
        """The calls in the order in which they end. Warm-ups end before the first item starts, and the scheduler knows
        what the items will need, as in a run that was predicted."""
        constant = self._prompts.blocks_of([*self._constant, *warm_ups])
        expected = expected_items(items, self._prompts, self._capacity, constant) if self._foresees else None
        returns = any(len(item.calls) > 1 for item in items)
        self._scheduler = self._make_scheduler(items_return=returns, expected=expected, constant=constant)
        for request in warm_ups:
            self._submit(None, request, "")
        self._send()
        self._run_out()
        self._coming.extend(self._schedule.arrange(items, attrgetter("values")))
        self._go_on_all()
        self._run_out()
        assert not self._live, "every item of a replay ends"
        assert not self._coming, "every item of a replay starts"
        return self._done

    def _make_core(self, engine: EngineConfig, profile: str | None) -> EngineCore | VllmCore:
        if profile == "vllm":
            return VllmCore(engine, self._outputs, self._advance, lambda: self._engine_time)
        return EngineCore(engine, NullRunner(self._outputs, self._advance), lambda: self._engine_time)

    @property
    def seconds(self) -> float:
        """Virtual time from the first call to the last answer."""
        return self._client_time / 1e9

    # Virtual time

    def _run_out(self) -> None:
        """Until nothing is under way."""
        while self._events or not self._core.idle:
            if self._core.idle:
                self._engine_time = max(self._engine_time, self._events[0][0])
            while self._events and self._events[0][0] <= self._engine_time:
                self._client_time, _, happen = heapq.heappop(self._events)
                happen()
            if not self._core.idle:
                self._step()

    def _advance(self, batch: Batch) -> None:
        self._engine_time += self._costs.of(batch)

    def _at(self, time: int, happen: Callable[[], None]) -> None:
        heapq.heappush(self._events, (time, next(self._sequence), happen))

    # The run time's side

    def _go_on_all(self) -> None:
        while self._coming and self._scheduler.may_start():
            self._start(self._coming.popleft())
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
            if not self._is_merged(call):
                self._submit(call, call.call.request, call.output)
        if not item.open:
            del self._live[item.trace.item]
            self._scheduler.finish_item(item.trace.item)

    def _is_merged(self, call: TracedCall) -> bool:
        """Whether a call gets the answer of an equal one: at once, or with that one's."""
        key = self._merge_key(call.call.request)
        if key is None:
            return False
        if key in self._answered:
            self._at(self._client_time, partial(self._answer, call))
        elif key in self._behind:
            self._behind[key].append(call)
            self._scheduler.hurry(self._leaders[key])
        else:
            self._behind[key], self._leaders[key] = [], call.call.item
            return False
        self.merged += 1
        return True

    def _answer(self, call: TracedCall) -> None:
        item = self._live[call.call.item]
        item.open -= 1
        item.answered.add(call.call.ordinal)
        self._go_on(item)
        self._go_on_all()

    def _answer_equal(self, call: TracedCall, refused: bool) -> None:
        """Those who wait for a call: they get its answer, or the first of them is sent."""
        key = self._merge_key(call.call.request)
        waiting = self._behind.pop(key, [])
        if not refused:
            self._answered.add(key)
            for each in waiting:
                self._answer(each)
        elif waiting:
            self.merged -= 1
            self._behind[key], self._leaders[key] = waiting[1:], waiting[0].call.item
            if waiting[1:]:
                self._scheduler.hurry(self._leaders[key])
            self._submit(waiting[0], waiting[0].call.request, waiting[0].output)

    def _submit(self, trace: TracedCall | None, request: GenerationRequest, output: str) -> None:
        key = next(self._keys)
        prompt = self._prompts.tokens(request)
        assert prompt is not None, "predict_run refuses chats for which there is no template"
        tokens = self._tokenizer.encode(output)[: request.max_tokens]
        self._open[key] = _Open(trace, prompt, tokens, request.max_tokens)
        item, stage = (None, 0) if trace is None else (trace.call.item, trace.call.ordinal)
        self._scheduler.submit(self._prompts.scheduled(key, item, stage, prompt, request.max_tokens))

    def _send(self) -> None:
        for scheduled in self._scheduler.ready():
            call = self._open[scheduled.key]
            call.attainable = self._attainable.request(call.prompt)
            call.shared = self._index.match(call.prompt)
            self._index.add(scheduled.key, call.prompt)
            self._sent_until = max(self._sent_until, self._client_time) + round(self._costs.send)
            self._at(self._sent_until + self._transit, partial(self._arrive, scheduled.key))

    def _on_first_token(self, key: int) -> None:
        self._scheduler.on_first_token(key)
        self._go_on_all()

    def _on_done(self, key: int, replayed: ReplayedCall) -> None:
        call = self._open.pop(key)
        self._scheduler.on_done(key)
        self._done.append(replayed)
        if call.trace is not None:
            item = self._live[call.trace.call.item]
            item.open -= 1
            item.answered.add(call.trace.call.ordinal)
            if replayed.rejected is not None:
                item.waiting.clear()  # the agent fails there
            self._go_on(item)
            self._answer_equal(call.trace, replayed.rejected is not None)
        self._go_on_all()

    # The engine's side

    def _arrive(self, key: int) -> None:
        call = self._open[key]
        self._outputs[key] = call.output
        request = EngineRequest(key, tuple(call.prompt), SamplingParams(call.max_tokens), end_id=NO_TOKEN)
        try:
            self._core.add(request)
        except RequestRejectedError as error:
            refusal = ReplayedCall(call.trace, 0, 0, 0, error.message, key)
            self._at(self._client_time + self._transit, partial(self._on_done, key, refusal))

    def _step(self) -> None:
        for output in self._core.step():
            call, key = self._open[output.request_id], output.request_id
            heard = self._engine_time + self._transit
            if not call.started:
                call.started = True
                self._at(heard, partial(self._on_first_token, key))
            if output.finish is not None:
                assert output.perf is not None, "the last output of a request carries its figures"
                del self._outputs[key]
                stored = [*call.prompt, *call.output[:-1]]
                self._attainable.request(stored)
                self._index.add(key, stored)
                perf = output.perf
                replayed = ReplayedCall(
                    call.trace,
                    perf.num_input_tokens,
                    perf.num_cached_tokens,
                    call.attainable,
                    None,
                    key,
                    call.shared,
                    perf.first_scheduled_time_ns,
                    perf.first_token_time_ns,
                )
                self._at(heard, partial(self._on_done, key, replayed))
