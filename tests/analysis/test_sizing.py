"""Searches for a cache's size, and what it needs of GPUs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter_compiler.analysis.gpu_memory import MEMORY_FRACTION, RESERVE_BYTES, gpu_named, plan_memory
from charter_compiler.analysis.sizing import best_block_size, count_blocks, smallest_capacity
from charter_compiler.diagnostics.errors import UsageError
from charter_compiler.tokens.kv_shape import KVDtype, KVShape

LLAMA_8B = KVShape("llama-8b", 32, 8, 2 * 32 * 8 * 128, KVDtype.BFLOAT16, weight_bytes=16 * 10**9)


@given(st.integers(1, 500), st.integers(1, 1000))
def test_the_smallest_capacity_is_found_where_the_rate_grows(needed: int, most: int) -> None:
    choice = smallest_capacity(lambda blocks: 0.5 if blocks >= needed else 0.1, 0.5, most)
    assert choice.blocks == (needed if needed <= most else None)


def test_every_larger_capacity_that_was_tried_keeps_the_rate() -> None:
    rates = {64: 0.5, 32: 0.2, 16: 0.5}
    choice = smallest_capacity(lambda blocks: rates.get(blocks, 0.3), 0.5, 64)
    assert choice.blocks == 64, "16 holds by luck, 32 does not"


def test_capacities_that_the_engine_refuses_do_not_hold() -> None:
    choice = smallest_capacity(lambda blocks: 0.5 if blocks >= 12 else None, 0.5, 64)
    assert choice.blocks == 12
    assert min(point.size for point in choice.tried) == 12


def test_blocks_with_and_without_sharing() -> None:
    count = count_blocks([[1, 2, 3, 4, 5], [1, 2, 3, 4, 6], [1, 2, 9]], 2)
    assert count.without_sharing == 3 + 3 + 2
    assert count.with_sharing == 2 + 2 + 1


def test_the_block_size_with_the_best_rate_and_the_larger_of_equals() -> None:
    rates = {16: 0.6, 32: 0.5999, 64: 0.4, 128: None}
    capacities = []

    def rate_at(size: int, blocks: int) -> float | None:
        capacities.append(size * blocks)
        return rates[size]

    choice = best_block_size(rate_at, 4096)
    assert choice is not None
    assert choice.tokens_per_block == 32
    assert [point.size for point in choice.tried] == [16, 32, 64]
    assert set(capacities) == {4096}
    assert best_block_size(lambda size, blocks: None, 4096) is None


def test_gpus_are_added_until_weights_and_blocks_fit() -> None:
    gpu = gpu_named("A10")
    usable = gpu.memory_bytes * MEMORY_FRACTION - RESERVE_BYTES
    one = plan_memory(LLAMA_8B, gpu, 100, 32)
    assert (one.gpus, one.usd_per_hour) == (1, 1.29)
    assert one.room_blocks == (usable - 16 * 10**9) // one.block_bytes
    assert plan_memory(LLAMA_8B, gpu, one.room_blocks, 32).gpus == 1
    two = plan_memory(LLAMA_8B, gpu, one.room_blocks + 1, 32)
    assert (two.gpus, two.usd_per_hour) == (2, 2.58)
    assert plan_memory(LLAMA_8B, gpu, one.room_blocks + 1, 32, dtype=KVDtype.FP8).gpus == 1


def test_kv_heads_are_copied_over_more_gpus_than_there_are() -> None:
    latent = KVShape("latent", 61, 1, 61 * 576, KVDtype.BFLOAT16, weight_bytes=100 * 10**9)
    plan = plan_memory(latent, gpu_named("h100-sxm"), 1, 32)
    assert plan.gpus == 2
    assert plan.block_bytes == 2 * latent.block_bytes(32)


def test_what_does_not_fit_or_is_not_known_is_an_error() -> None:
    with pytest.raises(UsageError, match="there is no GPU 'abacus'"):
        gpu_named("abacus")
    with pytest.raises(UsageError, match="do not fit 64 GPUs"):
        plan_memory(LLAMA_8B, gpu_named("a10"), 10**9, 32)
    with pytest.raises(UsageError, match="the size of the weights is not known"):
        plan_memory(KVShape("m", 1, 1, 8, KVDtype.FP8), gpu_named("a10"), 1, 32)
