"""The block manager under random requests: no rule is ever broken, and every reused cell is the right one."""

from __future__ import annotations

import random
from dataclasses import dataclass

import hypothesis.strategies as st
import pytest
from cell_memory import CellMemory
from hypothesis import given, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from charter_compiler.cache.invariants import check
from charter_compiler.cache.trtllm import Allocation, BlockManager
from charter_compiler.cache.unbounded import UnboundedCache
from charter_compiler.diagnostics.errors import ContextLengthError

SIZE, CAPACITY, SEQUENCES = 2, 12, 4
# Three letters and short blocks: prefixes meet often.
prompts = st.lists(st.integers(0, 2), min_size=1, max_size=14)


@dataclass
class Live:
    allocation: Allocation
    tokens: list[int]
    prompt: int
    limit: int
    computed: int


class Requests(RuleBasedStateMachine):
    """Any interleaving of admission, chunked prefill, decoding and cancellation."""

    def __init__(self) -> None:
        super().__init__()
        self.memory = CellMemory()
        self.manager = BlockManager(CAPACITY, SIZE, max_sequences=SEQUENCES, memory=self.memory)
        self.live: list[Live] = []

    @rule(prompt=prompts, max_tokens=st.integers(1, 12))
    def admit(self, prompt: list[int], max_tokens: int) -> None:
        if -(-(len(prompt) + max_tokens) // SIZE) > CAPACITY:
            with pytest.raises(ContextLengthError):
                self.manager.admit(prompt, max_tokens)
            return
        expected = len(self.manager.match(prompt))
        allocation = self.manager.admit(prompt, max_tokens)
        if allocation is None:
            assert self.live, "a request that fits alone waits for nothing"
            return
        reused = allocation.reused_blocks * SIZE
        assert allocation.reused_blocks == expected
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
        self.manager.release(live.allocation)

    @invariant()
    def nothing_is_broken(self) -> None:
        check(self.manager)
        assert self.memory.live <= self.manager.occupied_blocks * SIZE <= CAPACITY * SIZE
        for live in self.live:
            assert self.memory.holds(live.allocation.sequence, live.tokens[: live.computed])
        for block in self.manager.root.subtree():
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
        check(self.manager)
        assert self.manager.held_blocks == self.manager.reserved_blocks == 0


Requests.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestRequests = Requests.TestCase


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
