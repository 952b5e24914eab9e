"""Prefixes: common ones, cache ids."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from charter_compiler.tokens.blocks import cache_id, common_prefix_length

TOKENS = st.lists(st.integers(0, 3), max_size=12)


@given(TOKENS, TOKENS)
def test_common_prefix(a: list[int], b: list[int]) -> None:
    length = common_prefix_length(a, b)
    assert a[:length] == b[:length]
    assert length in (len(a), len(b)) or a[length] != b[length]


@given(st.text())
def test_cache_ids_are_positive_and_fit_63_bits(text: str) -> None:
    assert 0 < cache_id(text) < 2**63


def test_names_are_the_same_in_every_process() -> None:
    assert cache_id("prefix é") == 5650317501822471965
