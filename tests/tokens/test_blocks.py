"""Names of prefixes: block hashes, common prefixes, cache ids."""

from __future__ import annotations

import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from charter_compiler.tokens.blocks import block_hashes, cache_id, common_prefix_length

TOKENS = st.lists(st.integers(0, 3), max_size=12)


@given(TOKENS, TOKENS, st.integers(1, 5))
def test_hashes_are_equal_exactly_as_far_as_full_blocks_are(a: list[int], b: list[int], size: int) -> None:
    first, second = block_hashes(a, size), block_hashes(b, size)
    assert len(first) == len(a) // size
    assert common_prefix_length(first, second) == min(common_prefix_length(a, b), len(a), len(b)) // size


@given(TOKENS, TOKENS)
def test_common_prefix(a: list[int], b: list[int]) -> None:
    length = common_prefix_length(a, b)
    assert a[:length] == b[:length]
    assert length in (len(a), len(b)) or a[length] != b[length]


def test_a_block_is_named_by_all_that_is_before_it() -> None:
    assert block_hashes([1, 2, 3, 4], 2)[1] != block_hashes([9, 9, 3, 4], 2)[1]


@given(st.text())
def test_cache_ids_are_positive_and_fit_63_bits(text: str) -> None:
    assert 0 < cache_id(text) < 2**63


def test_names_are_the_same_in_every_process() -> None:
    code = "from charter_compiler.tokens.blocks import *; print(cache_id('prefix é'), *block_hashes(range(70), 32))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(cache_id("prefix é")), *map(str, block_hashes(range(70), 32))]
    assert cache_id("prefix é") == 5650317501822471965
