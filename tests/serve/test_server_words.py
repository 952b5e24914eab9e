"""TensorRT-LLM's form of word lists."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter_compiler.serve.model_repository.words import pack_words, unpack_words, word_tokens

words = st.lists(st.lists(st.integers(0, 50_000), min_size=1, max_size=4).map(tuple), max_size=5).map(tuple)


@given(st.lists(words, min_size=1, max_size=4))
def test_unpacking_gives_what_was_packed(entries: list[tuple[tuple[int, ...], ...]]) -> None:
    packed = pack_words(entries)
    assert packed.dtype == np.int32
    assert [unpack_words(row) for row in packed] == entries


def test_the_form_is_tokens_above_and_ends_below() -> None:
    packed = pack_words([((5, 6), (7,)), ()])
    assert packed.tolist() == [[[5, 6, 7], [2, 3, -1]], [[0, 0, 0], [-1, -1, -1]]]


def test_a_word_is_spelled_with_and_without_a_space_before_it() -> None:
    assert word_tokens(["ab", ""], lambda text: [ord(letter) for letter in text]) == ((97, 98), (32, 97, 98))


@pytest.mark.parametrize("ends", [[4, -1, -1], [2, 1, -1], [0, 1, -1]])
def test_ends_that_do_not_fit_are_refused(ends: list[int]) -> None:
    with pytest.raises(ValueError, match="ends of the words"):
        unpack_words(np.array([[1, 2, 3], ends], dtype=np.int32))


def test_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \[2, n\], not \[3, 4\]"):
        unpack_words(np.zeros((3, 4), dtype=np.int32))
