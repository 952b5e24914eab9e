"""The `trtllm` profile against TensorRT-LLM's documented behaviour and the scenarios of its own public tests.

Sources, in NVIDIA/TensorRT-LLM: [docs] docs/source/features/kvcache.md; [manager] and [eviction]
cpp/tests/unit_tests/batch_manager/kvCacheManagerTest.cpp and evictionPolicyTest.cpp, by the name of the test. Blocks of
four tokens. There, a request that is removed without an output token stores one token less than here, where an output
of one token is assumed; where that matters the prompt is one token longer.
"""

from __future__ import annotations

import pytest

from charter_compiler.cache.interface import Request
from charter_compiler.cache.retention import BlockRetention, Retention, RetentionRange
from charter_compiler.cache.trtllm_pool import BlockPool
from charter_compiler.cache.trtllm_profile import TrtllmCache, TrtllmLease
from charter_compiler.diagnostics.errors import ContextLengthError

SIZE = 4


def tokens(start: int, stop: int) -> list[int]:
    return list(range(start, stop))


def begin(
    cache: TrtllmCache, prompt: list[int], retention: Retention | None = None, now_ms: float = 0.0, max_tokens: int = 0
) -> TrtllmLease:
    lease = cache.start(Request(prompt, max_tokens=max_tokens, retention=retention, now_ms=now_ms))
    assert lease is not None
    cache.prefilled(lease)
    return lease


def serve(
    cache: TrtllmCache,
    prompt: list[int],
    output: list[int] | None = None,
    retention: Retention | None = None,
    now_ms: float = 0.0,
) -> int:
    """A whole request; the tokens that it reused."""
    lease = begin(cache, prompt, retention, now_ms)
    assert cache.append(lease, output or [])
    cache.finish(lease, now_ms)
    return lease.cached_tokens


def keep(priority: int, duration_ms: float | None = None) -> tuple[RetentionRange, ...]:
    return (RetentionRange(0, None, priority, duration_ms),)


def test_reuse_partial_reuse_and_new_blocks() -> None:
    """[manager] BlockManagerReuseTest: every step's reused tokens and allocated blocks."""
    cache = TrtllmCache(8, SIZE)
    # Blocks [0-3], [4-7], [8, 9]; then the same prompt again: its third block is new, because [8] is the last token.
    assert serve(cache, tokens(0, 9), [9]) == 0
    assert cache.free_blocks == 8
    assert serve(cache, tokens(0, 9), [9]) == 2 * SIZE
    # [8] of [8, 9] is reused by taking the block over; a second request cannot have it then.
    first = begin(cache, tokens(0, 10))
    assert first.cached_tokens == 9
    second = begin(cache, tokens(0, 11))
    assert second.cached_tokens == 2 * SIZE
    assert cache.free_blocks == 8 - 4, "blocks 0 and 1 are shared"
    cache.finish(first)
    cache.finish(second)
    # Fewer tokens: one whole block.
    shorter = begin(cache, tokens(0, 5))
    assert shorter.cached_tokens == SIZE
    # Another end: the longest stored beginning of the third block.
    other = begin(cache, [*tokens(0, 10), 11])
    assert other.cached_tokens == 10


def test_two_requests_that_start_together_share_nothing() -> None:
    """[docs] blocks are stored when they are filled, [manager] BlockManagerReuseTest: nothing before."""
    cache = TrtllmCache(8, SIZE)
    together = [cache.start(Request(tokens(0, 9), max_tokens=0)) for _ in range(2)]
    assert [lease.cached_tokens for lease in together if lease is not None] == [0, 0]
    for lease in together:
        assert lease is not None
        cache.prefilled(lease)
    assert begin(cache, tokens(0, 9)).cached_tokens == 2 * SIZE, "the first to be prefilled is found"
    assert cache.free_blocks == 8 - 2 - 3, "and of the two copies one is kept"


@pytest.mark.parametrize(("copy", "reused"), [(True, 6), (False, 4)])
def test_a_block_in_use_is_copied_or_not_reused(copy: bool, reused: int) -> None:
    """[docs] `copy_on_partial_reuse`: whether a block that others use can be reused in part."""
    cache = TrtllmCache(8, SIZE, copy_on_partial_reuse=copy)
    serve(cache, tokens(0, 8))
    held = begin(cache, tokens(0, 9))
    assert held.cached_tokens == 8
    assert serve(cache, [0, 1, 2, 3, 4, 5, 90, 91, 92]) == reused
    cache.finish(held)
    assert serve(cache, tokens(0, 9)) == 8, "the copied block is still there"


def test_an_unused_leaf_is_taken_over_not_copied() -> None:
    """[manager] BlockManagerReuseTest: a leaf without holders becomes the new request's own."""
    cache = TrtllmCache(8, SIZE)
    serve(cache, tokens(0, 8))
    assert serve(cache, [0, 1, 2, 3, 4, 5, 90, 91, 92]) == 6
    assert serve(cache, tokens(0, 9)) == 6, "[4-7] is gone: [4, 5, 90, 91] took its block"


def test_without_partial_reuse_only_whole_blocks_count() -> None:
    """[docs] `enable_partial_reuse`."""
    cache = TrtllmCache(8, SIZE, partial_reuse=False)
    serve(cache, tokens(0, 11))
    assert serve(cache, tokens(0, 11)) == 8


def test_lower_priorities_go_first() -> None:
    """[manager] BlockManagerBlockPriorityTest, [docs] Retention Policy."""
    cache = TrtllmCache(4, SIZE)
    high_and_low = Retention((RetentionRange(0, 4, 90), RetentionRange(4, 8, 10)), decode_priority=20)
    first = begin(cache, tokens(0, 8), high_and_low)
    second = begin(cache, tokens(8, 16))
    cache.finish(first)
    cache.finish(second)
    assert serve(cache, tokens(16, 24), retention=Retention(keep(20), 20)) == 0
    assert serve(cache, tokens(8, 16)) == 4, "its second block was the oldest of priority 35"
    kept = begin(cache, tokens(0, 8))
    assert kept.cached_tokens == 4, "its block of priority 90 is there, that of priority 10 is not"
    assert begin(cache, tokens(16, 24)).cached_tokens == 0, "priority 20 had to go"


def test_generated_blocks_have_a_priority_of_their_own() -> None:
    """[manager] KVCacheManagerDecodeBlockPriorityTest: the least leaf goes, and a parent only after its child."""
    cache = TrtllmCache(8, SIZE)
    first = begin(cache, tokens(0, 12), Retention(keep(5), decode_priority=90))
    second = begin(cache, tokens(12, 24), Retention(keep(90), decode_priority=5))
    assert cache.append(first, [0])
    assert cache.append(second, [0])
    assert cache.free_blocks == 0
    cache.finish(first)
    cache.finish(second)
    assert serve(cache, tokens(24, 36)) == 0
    assert serve(cache, tokens(0, 12)) == 8


def test_a_priority_with_a_duration_falls_back() -> None:
    """[manager] KVCacheManagerTimedEvictionTest: after 50 ms, 80 for 10 ms is 35, which goes before 50."""
    cache = TrtllmCache(8, SIZE)
    serve(cache, tokens(0, 12), retention=Retention(keep(80, 10.0), 80))
    serve(cache, tokens(12, 24), retention=Retention(keep(50), 80))
    serve(cache, [1] * 12, now_ms=50.0)
    assert serve(cache, tokens(12, 24), now_ms=50.0) == 11


def test_before_its_time_has_passed_it_does_not() -> None:
    """The same as above, 5 ms later."""
    cache = TrtllmCache(6, SIZE)
    serve(cache, tokens(0, 12), retention=Retention(keep(80, 10.0), 80))
    serve(cache, tokens(12, 24), retention=Retention(keep(50), 80))
    serve(cache, tokens(100, 112), now_ms=5.0)
    assert serve(cache, tokens(0, 12), now_ms=5.0) == 11


def test_the_priority_of_generated_blocks_falls_back_too() -> None:
    """[manager] KVCacheManagerDecodeTimedEvictionTest."""
    cache = TrtllmCache(8, SIZE)
    serve(cache, [1, *tokens(1, 12)], [0, 0], Retention(keep(50), 50))
    serve(cache, tokens(0, 12), [0, 0], Retention((), decode_priority=100, decode_duration_ms=20.0))
    serve(cache, [0] * 8, now_ms=50.0)
    assert serve(cache, tokens(0, 12), now_ms=50.0) == 8


def test_evicted_blocks_are_offloaded_and_reused_from_host_memory() -> None:
    """[docs] a block evicted from primary memory stays reusable in secondary memory."""
    cache = TrtllmCache(4, SIZE, host_blocks=4)
    serve(cache, tokens(0, 12))
    serve(cache, tokens(20, 32))
    assert cache.pool.offloaded == 2
    assert cache.totals.evicted == 0
    assert serve(cache, tokens(0, 12)) == 11
    assert cache.pool.onboarded == 2
    without = TrtllmCache(4, SIZE)
    serve(without, tokens(0, 12))
    serve(without, tokens(20, 32))
    assert serve(without, tokens(0, 12)) == 4


def test_host_memory_evicts_by_the_same_order() -> None:
    """[docs] "The eviction scheme is the same for primary and secondary blocks"."""
    cache = TrtllmCache(3, SIZE, host_blocks=1)
    serve(cache, tokens(0, 12))
    serve(cache, tokens(20, 32))
    assert cache.pool.offloaded == 3
    assert cache.totals.evicted == 2, "the end of the first prompt, twice, to make room for what lies before it"
    assert serve(cache, tokens(0, 12)) == 4


def test_low_priorities_are_not_offloaded_and_take_what_hangs_on_them_along() -> None:
    """[manager] the test after KVCacheManagerLeafBlockTest of a block whose child is in secondary memory; [eviction]
    PriorityTest: blocks below the minimum are not offloaded."""
    cache = TrtllmCache(5, SIZE, host_blocks=4)
    ranges = (RetentionRange(0, 4, 35), RetentionRange(4, 8, 10), RetentionRange(8, None, 50))
    serve(cache, tokens(0, 12), retention=Retention(ranges))
    lease = begin(cache, tokens(100, 112), max_tokens=8)
    assert cache.pool.offloaded == 1, "its last block, of priority 50"
    assert cache.append(lease, [112])
    assert cache.pool.offloaded == 1
    assert cache.totals.evicted == 2, "its block of priority 10, and the offloaded one behind it"


def test_a_block_in_host_memory_may_have_a_child_in_primary_memory() -> None:
    """[manager] KVCacheManagerSecondaryBlockPrimaryChildTest."""
    cache = TrtllmCache(4, SIZE, host_blocks=4)
    serve(cache, tokens(0, 12))
    serve(cache, [1, *tokens(1, 12)])
    lease = begin(cache, tokens(0, 4), max_tokens=8)
    assert lease.cached_tokens == 3
    assert cache.append(lease, [4, 5, 6, 7, 0])
    cache.finish(lease)
    assert serve(cache, [*tokens(0, 8), 0, 0]) == 9


def test_the_last_block_allocated_is_the_first_to_go() -> None:
    """[manager] KVCacheManagerLeafBlockTest."""
    cache = TrtllmCache(4, SIZE)
    serve(cache, tokens(0, 4), [0])
    first = begin(cache, [1, 1, 2, 3])
    assert first.cached_tokens == 0
    second = begin(cache, [2, 1, 2, *tokens(3, 12)])
    cache.finish(first)
    cache.finish(second)
    third = begin(cache, [2, 1, 2, *tokens(3, 12)], max_tokens=1)
    assert third.cached_tokens == 11
    assert cache.free_blocks == 1
    assert cache.append(third, [0])
    assert cache.free_blocks == 0


def test_salts_share_nothing() -> None:
    """[docs] KV Cache Salting for Secure Reuse."""
    cache = TrtllmCache(8, SIZE)
    cached = []
    for salt in ("a", "a", "b", None):
        lease = cache.start(Request(tokens(0, 5), salt=salt))
        assert lease is not None
        cache.prefilled(lease)
        cache.finish(lease)
        cached.append(lease.cached_tokens)
    assert cached == [0, 4, 0, 0]


def test_a_request_starts_only_when_all_that_it_may_need_is_free() -> None:
    """The capacity scheduler GUARANTEED_NO_EVICT (docs/source/features/paged-attention-ifb-scheduler.md)."""
    cache = TrtllmCache(4, SIZE)
    running = begin(cache, tokens(0, 4), max_tokens=4)
    assert cache.start(Request(tokens(10, 18), max_tokens=4)) is None
    assert cache.append(running, [1, 2, 3, 4])
    cache.finish(running)
    assert cache.start(Request(tokens(10, 18), max_tokens=4)) is not None
    with pytest.raises(ContextLengthError, match="KV cache of 16 tokens"):
        cache.start(Request(tokens(0, 16), max_tokens=1))


Range = RetentionRange


@pytest.mark.parametrize(
    ("ranges", "size", "length", "expected"),
    [
        ((Range(0, 64, 80), Range(64, 128, 50)), 64, 256, [80, 50, None, None]),
        ((Range(0, 63, 80), Range(63, 127, 30)), 32, 127, [80, 80, 30, 30]),
        ((Range(0, 1, 80), Range(1, 2, 5)), 32, 128, [80, None, None, None]),
        ((Range(0, 128, 80),), 256, 192, [80]),
        ((Range(0, 65, 80), Range(65, 129, 30)), 64, 192, [80, 80, 30]),
        ((Range(0, 64, 80), Range(129, None, 50)), 64, 256, [80, None, None, 50]),
        ((Range(127, 193, 80),), 64, 256, [None, None, 80, 80]),
        ((Range(127, 193, 80),), 64, 32, [None]),
        ((Range(1, None, 80),), 64, 128, [None, 80]),
    ],
)
def test_a_block_has_the_priority_of_its_first_token(
    ranges: tuple[RetentionRange, ...], size: int, length: int, expected: list[int | None]
) -> None:
    """[eviction] KvCacheRetentionConfigTest.BlockConfigTest."""
    assert [one.priority for one in Retention(ranges).of_blocks(length, size)] == expected


@pytest.mark.parametrize(
    "make",
    [
        lambda: Retention((Range(0, None, 80), Range(64, 128, 80))),
        lambda: Range(64, 32, 80),
        lambda: Retention((Range(0, 64, 80), Range(30, 128, 80))),
        lambda: Range(0, 1, 101),
        lambda: Retention(decode_priority=-1),
    ],
)
def test_ranges_that_make_no_sense_are_refused(make: object) -> None:
    """[eviction] KvCacheRetentionConfigTest.InitializeTest."""
    assert callable(make)
    with pytest.raises(ValueError, match=r"range|priority"):
        make()


def test_least_recently_released_first_among_equals() -> None:
    """[eviction] LRUPolicyTest.LRUTest and NumFreeBlocksTest."""
    pool = BlockPool(8, 0, 35)
    root = pool.take(35, None)
    blocks = [pool.take(35, None) for _ in range(2)]
    for number, block in enumerate(blocks):
        pool.attach(block, (number,), root, full=True)
    assert pool.free == 5
    pool.release(blocks[1], 0.0)
    pool.release(blocks[0], 0.0)
    for _ in range(6):
        pool.take(35, None)
    assert [block.parent is None for block in blocks] == [False, True], "blocks never used go first, then the older"


def test_what_no_range_covers_has_no_retention() -> None:
    assert Retention().of_blocks(5, 4) == (BlockRetention(), BlockRetention())
