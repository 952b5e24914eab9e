"""The block manager under random requests: no rule is ever broken, and every reused cell is the right one."""

from __future__ import annotations

import random
from dataclasses import dataclass

import hypothesis.strategies as st
import pytest
from cell_memory import CellMemory
from hypothesis import given, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from charter_compiler.cache.block_keys import root_key
from charter_compiler.cache.events import BlockEvent, EventKind
from charter_compiler.cache.interface import Request
from charter_compiler.cache.invariants import check
from charter_compiler.cache.retention import Retention, RetentionRange
from charter_compiler.cache.trtllm import Allocation, BlockManager
from charter_compiler.cache.trtllm_profile import TrtllmCache
from charter_compiler.cache.unbounded import UnboundedCache
from charter_compiler.diagnostics.errors import ContextLengthError

SIZE, CAPACITY, SEQUENCES = 2, 12, 4
# Three letters and short blocks: prefixes meet often.
prompts = st.lists(st.integers(0, 2), min_size=1, max_size=14)
salts = st.sampled_from([None, None, "a"])
durations = st.sampled_from([None, None, 3.0, 20.0])


@st.composite
def retentions(draw: st.DrawFn) -> Retention | None:
    """Of two ranges at most, and of the output."""
    if draw(st.booleans()):
        return None
    priority = st.sampled_from([0, 20, 35, 70, 100])
    cut = draw(st.integers(1, 8))
    ranges = [RetentionRange(0, cut, draw(priority), draw(durations))]
    if draw(st.booleans()):
        ranges.append(RetentionRange(cut, None, draw(priority), draw(durations)))
    return Retention(tuple(ranges), draw(priority), draw(durations))


@dataclass
class Live:
    allocation: Allocation
    tokens: list[int]
    prompt: int
    limit: int
    computed: int


class Requests(RuleBasedStateMachine):
    """Any interleaving of admission, chunked prefill, decoding, cancellation, pins and time."""

    size, partial = SIZE, False

    def __init__(self) -> None:
        super().__init__()
        self.memory = CellMemory()
        self.reusable: set[int] = set()
        self.manager = BlockManager(
            CAPACITY,
            self.size,
            max_sequences=SEQUENCES,
            partial_reuse=self.partial,
            memory=self.memory,
            on_event=self.take_event,
        )
        self.live: list[Live] = []
        self.now = 0.0

    def take_event(self, event: BlockEvent) -> None:
        if event.kind is EventKind.STORED:
            assert event.block not in self.reusable
            self.reusable.add(event.block)
        else:
            self.reusable.remove(event.block)

    @rule(prompt=prompts, max_tokens=st.integers(1, 12), salt=salts, retention=retentions())
    def admit(self, prompt: list[int], max_tokens: int, salt: str | None, retention: Retention | None) -> None:
        if -(-(len(prompt) + max_tokens) // self.size) > CAPACITY:
            with pytest.raises(ContextLengthError):
                self.manager.admit(prompt, max_tokens)
            return
        expected = len(self.manager.match(prompt, salt))
        allocation = self.manager.admit(prompt, max_tokens, salt=salt, retention=retention, now_ms=self.now)
        if allocation is None:
            assert self.live or self.manager.pins, "a request that fits alone waits for nothing"
            return
        reused = allocation.cached_tokens
        assert expected <= allocation.reused_blocks <= expected + self.partial
        assert 0 <= reused - expected * self.size < self.size
        assert reused < len(prompt)
        assert self.memory.holds(allocation.sequence, prompt[:reused])
        self.live.append(Live(allocation, list(prompt), len(prompt), len(prompt) + max_tokens, reused))

    @precondition(lambda self: self.live)
    @rule(data=st.data(), chunk=st.integers(1, 5), token=st.integers(0, 2))
    def compute(self, data: st.DataObject, chunk: int, token: int) -> None:
        """One iteration of one request: part of its prompt, or its last token."""
        live = data.draw(st.sampled_from(self.live))
        stop = min(live.computed + chunk, live.prompt) if live.computed < live.prompt else live.computed + 1
        self.manager.extend(live.allocation, stop)
        self.memory.compute(live.allocation.sequence, live.tokens, live.computed, stop)
        live.computed = stop
        if stop < live.prompt:
            return
        self.manager.store(live.allocation, live.tokens, stop)
        live.tokens.append(token)
        if len(live.tokens) == live.limit:
            self.end(live)

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        self.end(data.draw(st.sampled_from(self.live)))

    def end(self, live: Live) -> None:
        self.live.remove(live)
        done = live.computed if live.computed >= live.prompt else 0
        self.manager.release(live.allocation, live.tokens, done, now_ms=self.now)

    @precondition(lambda self: len(self.manager.pins) < 2)
    @rule(prompt=prompts, salt=salts)
    def pin(self, prompt: list[int], salt: str | None) -> None:
        path = self.manager.match(prompt, salt)
        if path and self.manager.held_blocks + self.manager.reserved_blocks + len(path) <= CAPACITY:
            self.manager.pin(path, self.now)

    @precondition(lambda self: self.manager.pins)
    @rule()
    def unpin(self) -> None:
        self.manager.unpin(self.manager.pins[0], self.now)

    @rule(time=st.sampled_from([1.0, 10.0]))
    def wait(self, time: float) -> None:
        self.now += time

    @invariant()
    def nothing_is_broken(self) -> None:
        check(self.manager)
        assert self.memory.live <= self.manager.occupied_blocks * self.size <= CAPACITY * self.size
        assert self.reusable == {block.name for block in self.manager.stored()}
        salted = self.manager.roots.get(root_key("a"))
        assert salted is None or salted.children or salted.runners, "the root of a salt of which nothing is left"
        for live in self.live:
            assert self.memory.holds(live.allocation.sequence, live.tokens[: live.computed])
        for block in self.manager.stored():
            if block.idle is not None:
                path: list[int] = []
                node = block
                while node.parent is not None:
                    path[:0] = node.tokens
                    node = node.parent
                assert self.memory.holds(block.idle, path)

    def teardown(self) -> None:
        for live in list(self.live):
            self.end(live)
        for pin in list(self.manager.pins):
            self.manager.unpin(pin, self.now)
        check(self.manager)
        assert self.manager.held_blocks == self.manager.reserved_blocks == 0


class PartialRequests(Requests):
    """The same with partial reuse, in blocks of more tokens."""

    size, partial = 3, True


for machine in (Requests, PartialRequests):
    machine.TestCase.settings = settings(max_examples=100, stateful_step_count=40)
TestRequests = Requests.TestCase
TestPartialRequests = PartialRequests.TestCase


def serial(manager: BlockManager, requests: list[tuple[list[int], list[int]]]) -> list[int]:
    """Reused tokens of each request, one after another."""
    reused = []
    for prompt, output in requests:
        allocation = manager.admit(prompt, len(output))
        assert allocation is not None
        tokens = prompt + output
        manager.extend(allocation, len(tokens) - 1)
        manager.store(allocation, tokens, len(tokens) - 1)
        manager.release(allocation)
        check(manager)
        reused.append(allocation.reused_blocks * manager.tokens_per_block)
    return reused


request_lists = st.lists(st.tuples(prompts, st.lists(st.integers(0, 2), min_size=1, max_size=6)), max_size=25)


@given(request_lists)
def test_unlimited_manager_reuses_what_is_attainable(requests: list[tuple[list[int], list[int]]]) -> None:
    attainable = UnboundedCache(SIZE)
    assert serial(BlockManager(None, SIZE), requests) == [attainable.request(p, o) for p, o in requests]


@given(request_lists, st.integers(10, 20), st.integers(1, 4))
def test_bounded_manager_never_reuses_more(
    requests: list[tuple[list[int], list[int]]], capacity: int, sequences: int
) -> None:
    attainable = UnboundedCache(SIZE)
    bounded = serial(BlockManager(capacity, SIZE, max_sequences=sequences), requests)
    for reused, (prompt, output) in zip(bounded, requests, strict=True):
        assert reused <= attainable.request(prompt, output)


@given(
    st.lists(
        st.tuples(prompts, st.lists(st.integers(0, 2), min_size=1, max_size=6), salts, retentions(), st.integers(0, 9)),
        max_size=25,
    ),
    st.integers(10, 16),
)
def test_the_engine_reuses_what_the_profile_of_tensorrt_llm_does(
    requests: list[tuple[list[int], list[int], str | None, Retention | None, int]], capacity: int
) -> None:
    """One after the other, with retention, durations, salts and partial reuse: ``simulate`` and the engine agree."""
    size, now = 3, 0.0
    engine = BlockManager(capacity, size, partial_reuse=True)
    profile = TrtllmCache(capacity, size)
    for prompt, output, salt, retention, pause in requests:
        now += pause
        lease = profile.start(Request(prompt, len(output), salt, retention, now))
        allocation = engine.admit(prompt, len(output), salt=salt, retention=retention, now_ms=now)
        assert lease is not None
        assert allocation is not None
        assert allocation.cached_tokens == lease.cached_tokens
        profile.prefilled(lease)
        tokens = prompt + output
        engine.store(allocation, tokens, len(prompt) - 1)  # when TensorRT-LLM does: the core stores the last one too
        for index in range(len(output) - 1):
            profile.append(lease, output[index : index + 1])
            engine.extend(allocation, len(prompt) + index + 1)
            engine.store(allocation, tokens, len(prompt) + index + 1)
        profile.finish(lease, now)
        engine.store(allocation, tokens, len(tokens) - 1)
        engine.release(allocation, tokens, len(tokens) - 1, now_ms=now)
        check(engine)


@given(request_lists, st.permutations([10, 11, 12]))
def test_renaming_tokens_changes_nothing(requests: list[tuple[list[int], list[int]]], names: list[int]) -> None:
    renamed = [([names[t] for t in p], [names[t] for t in o]) for p, o in requests]
    assert serial(BlockManager(CAPACITY, SIZE), requests) == serial(BlockManager(CAPACITY, SIZE), renamed)


def test_long_run_leaks_nothing() -> None:
    """Thousands of requests through a small cache: counts stay within it and the eviction queue within its bound."""
    rng = random.Random(7)
    manager = BlockManager(40, 4, max_sequences=8)
    for _ in range(3000):
        prompt = [rng.randrange(3) for _ in range(rng.randrange(1, 60))]
        allocation = manager.admit(prompt, 20)
        assert allocation is not None
        manager.store(allocation, prompt, len(prompt))
        manager.release(allocation)
    check(manager)
    assert manager.held_blocks == 0
    assert len(manager.queue) <= 2 * 40 + 64
