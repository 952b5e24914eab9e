"""Names of blocks."""

from __future__ import annotations

import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from charter_compiler.cache.block_keys import chain, root_key
from charter_compiler.tokens.blocks import common_prefix_length

TOKENS = st.lists(st.integers(0, 3), max_size=12)


@given(TOKENS, TOKENS, st.integers(1, 5))
def test_names_are_equal_exactly_as_far_as_full_blocks_are(a: list[int], b: list[int], size: int) -> None:
    first, second = chain(a, size, root_key(None)), chain(b, size, root_key(None))
    assert len(first) == len(a) // size
    assert common_prefix_length(first, second) == min(common_prefix_length(a, b), len(a), len(b)) // size


def test_a_block_is_named_by_all_that_is_before_it() -> None:
    assert chain([1, 2, 3, 4], 2, 0)[1] != chain([9, 9, 3, 4], 2, 0)[1]
    assert chain([1, 2], 2, root_key("a")) != chain([1, 2], 2, root_key("b"))


def test_names_are_the_same_in_every_process() -> None:
    code = "from charter_compiler.cache.block_keys import *; print(*chain(range(70), 32, root_key('salt')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(name) for name in chain(range(70), 32, root_key("salt"))]
