"""The block size is computed from the prefixes, and retention from both."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter_compiler.config.block_size import CANDIDATES, KEPT_REUSE, ConstantPrefix, choose_block_size
from charter_compiler.config.retention import CallRetention, TokenRange, suggest_retention


def prefix(tokens: int, *nodes: str, priority: int = 50) -> ConstantPrefix:
    return ConstantPrefix(tokens, priority, nodes or ("a",))


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [
        ([], 32),
        ([15], 32),  # fills no block of any size
        ([16], 16),
        ([33], 32),
        ([65], 64),
        ([1024], 128),
        ([130], 128),
        ([120], 16),  # 112 at 16, 96 at 32, 64 at 64, 0 at 128
        ([1000], 64),  # 992 at 16, 960 at 64 is more than 95%, 896 at 128 is not
    ],
)
def test_choice(lengths: list[int], expected: int) -> None:
    assert (
        choose_block_size([prefix(length, f"call {n}") for n, length in enumerate(lengths)]).tokens_per_block
        == expected
    )


def test_a_call_counts_with_its_longest_prefix() -> None:
    choice = choose_block_size([prefix(65, "a", "b"), prefix(104, "a"), prefix(40, "a", "b")])
    assert choice.reuse == ((16, 96 + 64), (32, 96 + 64), (64, 64 + 64), (128, 0))
    assert choice.tokens_per_block == 32
    assert "16: 160, 32: 160, 64: 128, 128: 0" in choice.reason


@given(st.lists(st.integers(0, 3000), max_size=6))
def test_the_choice_keeps_what_it_promises(lengths: list[int]) -> None:
    choice = choose_block_size([prefix(length, str(n)) for n, length in enumerate(lengths)])
    reuse = dict(choice.reuse)
    assert reuse[choice.tokens_per_block] >= KEPT_REUSE * max(reuse.values()) or not any(reuse.values())
    assert tuple(reuse) == CANDIDATES


def test_retention_of_nested_prefixes() -> None:
    prefixes = [prefix(104, "a", priority=75), prefix(65, "a", "b", priority=86), prefix(20, "c", priority=90)]
    assert suggest_retention(prefixes, 32) == (
        CallRetention("a", (TokenRange(0, 64, 86), TokenRange(64, 96, 75))),
        CallRetention("b", (TokenRange(0, 64, 86),)),
    )


def test_a_block_is_kept_at_least_as_long_as_those_behind_it() -> None:
    prefixes = [prefix(32, priority=10), prefix(64, priority=90), prefix(96, priority=20), prefix(97, priority=30)]
    (only,) = suggest_retention(prefixes, 32)
    assert only.ranges == (TokenRange(0, 32, 90), TokenRange(32, 64, 90), TokenRange(64, 96, 36))
