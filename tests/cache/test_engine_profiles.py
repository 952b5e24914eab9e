"""One scenario a rule of each engine profile, and what all of them have in common. Blocks of two tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from charter_compiler.cache.interface import EngineProfile, Request
from charter_compiler.cache.llamacpp import LlamaCppCache
from charter_compiler.cache.sglang import SglangCache
from charter_compiler.cache.trtllm_profile import TrtllmCache
from charter_compiler.cache.unbounded import UnboundedProfile
from charter_compiler.cache.vllm import VllmCache
from charter_compiler.diagnostics.errors import ContextLengthError

Profile = EngineProfile[Any]


def unbounded(_: int, tokens_per_block: int) -> UnboundedProfile:
    return UnboundedProfile(tokens_per_block)


BOUNDED = [VllmCache, SglangCache, LlamaCppCache, TrtllmCache]
ALL = [*BOUNDED, unbounded]
PREFILL_FIRST = [SglangCache, TrtllmCache, unbounded]


def blocks(names: str) -> list[int]:
    """Two tokens a letter, and one more token."""
    return [token for name in names for token in (ord(name), ord(name))] + [0]


def start(cache: Profile, names: str) -> Any:
    lease = cache.start(Request(blocks(names)))
    assert lease is not None
    cache.prefilled(lease)
    return lease


def serve(cache: Profile, names: str) -> int:
    """A whole request; how many blocks it found."""
    lease = start(cache, names)
    cache.finish(lease)
    return int(lease.cached_tokens) // 2


@pytest.mark.parametrize("make", ALL)
def test_what_was_served_is_found_but_for_the_last_token(make: Callable[[int, int], Profile]) -> None:
    cache = make(20, 2)
    assert serve(cache, "abc") == 0
    assert serve(cache, "abc") == 3
    lease = cache.start(Request(blocks("abc")[:-1]))
    assert lease is not None
    assert lease.cached_tokens in (4, 5), "the last of six tokens is computed"


@pytest.mark.parametrize("make", ALL)
def test_salts_share_nothing(make: Callable[[int, int], Profile]) -> None:
    cache = make(40, 2)
    found = []
    for salt in ("x", "x", "y", None):
        lease = cache.start(Request(blocks("abc"), salt=salt))
        assert lease is not None
        cache.prefilled(lease)
        cache.finish(lease)
        found.append(lease.cached_tokens)
    assert found == [0, 6, 0, 0]


@pytest.mark.parametrize("make", ALL)
def test_what_a_running_request_holds_stays(make: Callable[[int, int], Profile]) -> None:
    cache = make(9, 2)
    held = start(cache, "abc")
    for names in ("xyz", "mno", "pqr"):
        serve(cache, names)
    cache.finish(held)
    assert serve(cache, "abc") == 3


@pytest.mark.parametrize("make", BOUNDED)
def test_a_request_waits_where_running_ones_hold_too_much(make: Callable[[int, int], Profile]) -> None:
    cache = make(7, 2)
    first = start(cache, "abc")
    evicted = cache.totals.evicted
    assert cache.start(Request(blocks("xyz"))) is None
    assert cache.totals.evicted == evicted
    cache.finish(first)
    assert cache.start(Request(blocks("xyz"))) is not None


@pytest.mark.parametrize("make", BOUNDED)
def test_what_can_never_fit_raises(make: Callable[[int, int], Profile]) -> None:
    with pytest.raises(ContextLengthError, match=r"does not fit|do not fit"):
        make(4, 2).start(Request(blocks("abcd")))


@pytest.mark.parametrize("make", PREFILL_FIRST)
def test_requests_that_start_together_share_nothing(make: Callable[[int, int], Profile]) -> None:
    cache = make(20, 2)
    both = [cache.start(Request(blocks("abc"))) for _ in range(2)]
    assert [lease.cached_tokens for lease in both] == [0, 0]
    for lease in both:
        cache.prefilled(lease)
    assert start(cache, "abc").cached_tokens == 6


@pytest.mark.parametrize("make", ALL)
def test_output_is_found_by_the_next_turn(make: Callable[[int, int], Profile]) -> None:
    cache = make(20, 2)
    lease = start(cache, "ab")
    assert cache.append(lease, [7, 8, 8, 9])
    cache.finish(lease)
    turn = cache.start(Request([*blocks("ab"), 7, 8, 8, 9, 5]))
    assert turn is not None
    assert turn.cached_tokens in (8, 9)


@pytest.mark.parametrize("make", ALL)
def test_names_stand_for_tokens(make: Callable[[int, int], Profile]) -> None:
    """A trace gives names of full blocks; the same prompts give the same hits in whole blocks."""
    cache = make(20, 2)
    found = []
    for names in ((1, 2, 3), (1, 2, 3), (1, 2, 4), (5,)):
        lease = cache.start(Request(range(2 * len(names) + 1), names=names))
        assert lease is not None
        cache.prefilled(lease)
        cache.finish(lease)
        found.append(lease.cached_tokens)
    assert found == [0, 6, 4, 0]


def test_vllm_shares_what_is_being_computed() -> None:
    """vLLM offers blocks when their tokens are scheduled, not when they are done."""
    cache = VllmCache(20, 2)
    assert cache.start(Request(blocks("abc"))) is not None
    second = cache.start(Request(blocks("abc")))
    assert second is not None
    assert second.cached_tokens == 6


def test_vllm_frees_the_end_first_and_what_has_no_hash_before_all() -> None:
    cache = VllmCache(1 + 8, 2)
    serve(cache, "abc")
    serve(cache, "xyz")  # one block without a hash goes round; six with
    serve(cache, "mn")  # the one without a hash, the one never used, and the end of the oldest
    assert [serve(cache, names) for names in ("ab", "xyz")] == [2, 3]
    assert cache.totals.evicted == 1


def test_vllm_keeps_copies_and_finds_the_older_one() -> None:
    """A prompt of whole blocks that are all there computes its last block again, into a copy."""
    cache = VllmCache(1 + 6, 2)
    prompt = blocks("abc")[:-1]
    for expected in (0, 4):
        lease = cache.start(Request(prompt))
        assert lease is not None
        assert lease.cached_tokens == expected
        cache.finish(lease)
    assert cache.cached_blocks == 4, "a, b, and c twice"


def test_vllm_computes_a_prompt_in_chunks() -> None:
    cache = VllmCache(20, 2)
    lease = cache.start(Request(blocks("abc")), first_chunk=3)
    assert lease is not None
    assert cache.free_blocks == 19 - 2
    other = cache.start(Request(blocks("abc")))
    assert other is not None
    assert other.cached_tokens == 2, "the block that is full"
    assert cache.append(lease, blocks("abc")[3:])
    assert cache.free_blocks == 19 - 4 - 3, "only the first block is shared: what is computed twice stays twice"


def test_vllm_preempts_when_blocks_run_out() -> None:
    cache = VllmCache(1 + 2, 2)
    lease = cache.start(Request([1, 2, 3]))
    assert lease is not None
    assert cache.append(lease, [4])
    assert not cache.append(lease, [5])


def test_sglang_evicts_whole_leaves() -> None:
    cache = SglangCache(8, 2)
    serve(cache, "abc")
    serve(cache, "abx")  # a and b are split off; c and x are leaves
    serve(cache, "pqrs")  # five pages: the leaf that was touched first goes, and then the next
    assert cache.totals.evicted == 1
    assert serve(cache, "pqrs") == 4
    assert serve(cache, "ab") == 2


def test_sglang_refreshes_the_rest_of_a_node_that_it_splits() -> None:
    cache = SglangCache(9, 2)
    serve(cache, "abc")
    serve(cache, "xyz")
    serve(cache, "ab")  # splits abc; c is refreshed with it
    serve(cache, "mno")
    assert serve(cache, "abc") == 3
    assert serve(cache, "xyz") == 0, "it went whole"


def test_llamacpp_takes_the_slot_that_begins_most_alike() -> None:
    cache = LlamaCppCache(None, 2, slots=2)
    serve(cache, "abc")
    serve(cache, "xyz")
    assert serve(cache, "xyzq") == 3
    assert serve(cache, "abcd") == 3
    assert serve(cache, "m") == 0, "no slot is like it: the one idle longest is overwritten"
    assert serve(cache, "xyz") == 0


def test_llamacpp_shares_nothing_between_slots_and_has_no_more_than_it_has() -> None:
    cache = LlamaCppCache(None, 2, slots=2)
    start(cache, "abc")
    assert start(cache, "abc").cached_tokens == 0
    assert cache.start(Request(blocks("abc"))) is None


def test_llamacpp_reuses_tokens_not_blocks() -> None:
    cache = LlamaCppCache(None, 16, slots=1)
    lease = cache.start(Request([1, 2, 3, 4, 5]))
    assert lease is not None
    cache.finish(lease)
    again = cache.start(Request([1, 2, 3, 9]))
    assert again is not None
    assert again.cached_tokens == 3


def test_llamacpp_puts_prompts_aside_in_ram() -> None:
    without, with_ram = LlamaCppCache(None, 2, slots=1), LlamaCppCache(None, 2, slots=1, ram_blocks=None)
    for cache in (without, with_ram):
        serve(cache, "abc")
        serve(cache, "xyz")
    assert serve(without, "abc") == 0
    assert serve(with_ram, "abc") == 3
    assert serve(with_ram, "xyz") == 3


def test_llamacpp_ram_is_limited_and_the_oldest_goes() -> None:
    cache = LlamaCppCache(None, 2, slots=1, ram_blocks=4)
    for names in ("abc", "xyz", "mno"):
        serve(cache, names)
    assert serve(cache, "abc") == 0
    assert serve(cache, "mno") == 3


def test_llamacpp_empties_idle_slots_where_cells_run_short() -> None:
    cache = LlamaCppCache(8, 2, slots=2)
    serve(cache, "abc")
    serve(cache, "wxyz")
    assert cache.totals.peak <= 8
    assert serve(cache, "wxyz") == 4
    assert serve(cache, "abc") == 0
