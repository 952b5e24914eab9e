"""The block manager's decisions, one scenario a rule. Blocks of two tokens; a prompt is written as its blocks."""

from __future__ import annotations

import pytest
from cell_memory import CellMemory

from charter_compiler.cache.invariants import check
from charter_compiler.cache.trtllm import Allocation, BlockManager
from charter_compiler.cache.unbounded import UnboundedCache
from charter_compiler.diagnostics.errors import ContextLengthError


def blocks(names: str) -> list[int]:
    """Two tokens a letter, and one more token, so that the last block can be reused too."""
    return [token for name in names for token in (ord(name), ord(name))] + [0]


def start(manager: BlockManager, names: str, max_tokens: int = 1) -> Allocation | None:
    """Admit and prefill."""
    prompt = blocks(names)
    allocation = manager.admit(prompt, max_tokens)
    if allocation is not None:
        manager.store(allocation, prompt, len(prompt))
        check(manager)
    return allocation


def serve(manager: BlockManager, names: str) -> int:
    """A whole request with one output token; its reused blocks."""
    allocation = start(manager, names)
    assert allocation is not None
    manager.release(allocation)
    check(manager)
    return allocation.reused_blocks


def cached(manager: BlockManager, names: str) -> int:
    return len(manager.match(blocks(names)))


def test_blocks_are_found_along_the_path_from_the_start() -> None:
    manager = BlockManager(None, 2)
    serve(manager, "abc")
    assert [cached(manager, names) for names in ("abc", "abx", "xbc", "bc", "abcd")] == [3, 2, 0, 0, 3]


def test_the_least_recently_released_goes_first_and_its_end_before_its_start() -> None:
    manager = BlockManager(8, 2)
    serve(manager, "abc")
    serve(manager, "xyz")
    serve(manager, "mn")  # 3 blocks: 6 are cached, so one goes
    assert [cached(manager, names) for names in ("abc", "xyz", "mn")] == [2, 3, 2]
    serve(manager, "pq")
    assert [cached(manager, names) for names in ("abc", "xyz", "mn", "pq")] == [0, 3, 2, 2]


def test_a_hit_makes_a_block_recent_again() -> None:
    manager = BlockManager(8, 2)
    serve(manager, "abc")
    serve(manager, "xyz")
    assert serve(manager, "abc") == 3
    serve(manager, "mn")
    assert [cached(manager, names) for names in ("abc", "xyz")] == [3, 2]


def test_blocks_that_a_running_request_holds_are_not_evicted() -> None:
    manager = BlockManager(8, 2)
    held = start(manager, "abc")
    for names in ("xyz", "mno", "pqr"):
        serve(manager, names)
    assert held is not None
    assert cached(manager, "abc") == 3
    assert cached(manager, "pqr") == 3


def test_reserved_blocks_stay_cached_until_they_are_needed() -> None:
    """A request that may generate much but does not evicts nothing."""
    manager = BlockManager(8, 2)
    serve(manager, "abc")
    allocation = start(manager, "x", max_tokens=9)  # 2 blocks now, 6 in the end
    assert allocation is not None
    assert cached(manager, "abc") == 3
    manager.extend(allocation, 12)
    check(manager)
    assert cached(manager, "abc") == 2


def test_admission_waits_for_what_others_may_still_need() -> None:
    manager = BlockManager(8, 2)
    first = start(manager, "ab", max_tokens=5)  # 5 blocks in all
    assert first is not None
    assert start(manager, "xyz") is None
    assert start(manager, "ab") is not None, "what is held already costs nothing more"
    manager.release(first)
    assert start(manager, "xyz") is not None


def test_what_can_never_fit_raises() -> None:
    with pytest.raises(ContextLengthError, match="KV cache of 16 tokens"):
        BlockManager(8, 2).admit(blocks("abc"), 20)


def test_a_block_computed_twice_is_kept_once() -> None:
    memory = CellMemory()
    manager = BlockManager(10, 2, memory=memory)
    prompts = [blocks("ab"), blocks("abc")]
    both = [manager.admit(prompt, 1) for prompt in prompts]
    for allocation, prompt in zip(both, prompts, strict=True):
        assert allocation is not None
        assert allocation.reused_blocks == 0
        memory.compute(allocation.sequence, prompt, 0, len(prompt))
        manager.store(allocation, prompt, len(prompt))
        check(manager)
    assert manager.cached_blocks == 3
    assert memory.live == 2 * 3 + 1 + 1, "a, b, c, and the last token of each"
    for allocation in both:
        assert allocation is not None
        manager.release(allocation)
    check(manager)
    assert memory.live == 6


def test_a_branch_goes_when_sequences_run_short() -> None:
    manager = BlockManager(100, 2, max_sequences=2)
    serve(manager, "abx")
    serve(manager, "aby")
    serve(manager, "mn")
    assert [cached(manager, names) for names in ("abx", "aby", "mn")] == [2, 3, 2]
    assert manager.counters.evicted == manager.counters.evicted_for_sequences == 1


def test_one_sequence_is_enough_for_one_conversation() -> None:
    manager = BlockManager(100, 2, max_sequences=1)
    assert [serve(manager, names) for names in ("a", "ab", "abc", "x", "abc")] == [0, 1, 2, 0, 0]


def test_requests_wait_for_a_sequence() -> None:
    manager = BlockManager(100, 2, max_sequences=1)
    first = start(manager, "a")
    assert first is not None
    assert start(manager, "b") is None
    manager.release(first)
    assert start(manager, "b") is not None


def test_the_last_sequence_of_a_shared_branch_moves_to_who_reuses_it() -> None:
    """The only free sequence covers a branch below what the request reuses: the branch goes, the prefix stays."""
    manager = BlockManager(100, 2, max_sequences=2)
    held = start(manager, "q")
    serve(manager, "abx")
    assert held is not None
    assert serve(manager, "aby") == 2
    assert [cached(manager, names) for names in ("abx", "aby", "q")] == [2, 3, 1]


def test_unbounded_cache_counts_whole_blocks_before_the_last_token() -> None:
    cache = UnboundedCache(2)
    assert [cache.request(prompt) for prompt in ([1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3, 4, 5], [9, 2, 3, 4])] == [
        0,
        2,
        4,
        0,
    ]
    assert cache.request([7], [8, 9]) == 0
    assert cache.request([7, 8, 9]) == 2, "generated tokens are found too, but for the last"
