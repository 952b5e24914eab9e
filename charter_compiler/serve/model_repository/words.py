"""TensorRT-LLM's form of stop and bad words: int32 of shape [2, n], token ids above, the end of each word below.

Row 0 holds the tokens of all words one after the other, padded with 0; row 1 the cumulated lengths, padded with -1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

TokenWords = tuple[tuple[int, ...], ...]


def word_tokens(words: Sequence[str], encode: Callable[[str], list[int]]) -> TokenWords:
    """Token sequences that spell the words: each as it begins a line and as it follows a space, which are different
    tokens. Empty words are left out."""
    spellings = (tuple(encode(text)) for word in words if word for text in (word, f" {word}"))
    return tuple(dict.fromkeys(spellings))


def pack_words(entries: Sequence[TokenWords]) -> NDArray[np.int32]:
    """Words of each batch entry as one int32 array of shape [batch, 2, n]; n is 0 where nobody has words."""
    width = max((sum(len(word) for word in words) for words in entries), default=0)
    packed = np.zeros((len(entries), 2, width), dtype=np.int32)
    packed[:, 1, :] = -1
    for row, words in enumerate(entries):
        flat = [token for word in words for token in word]
        packed[row, 0, : len(flat)] = flat
        packed[row, 1, : len(words)] = np.cumsum([len(word) for word in words])
    return packed


def unpack_words(packed: NDArray[np.int32]) -> TokenWords:
    """Words from an array of shape [2, n].

    Raises:
        ValueError: the shape is another, or the lengths do not fit the tokens.
    """
    if packed.ndim != 2 or packed.shape[0] != 2:
        raise ValueError(f"a word list has the shape [2, n], not {list(packed.shape)}")
    tokens, ends = packed[0].tolist(), [end for end in packed[1].tolist() if end >= 0]
    starts = [0, *ends[:-1]]
    if any(start >= end for start, end in zip(starts, ends, strict=False)) or (ends and ends[-1] > len(tokens)):
        raise ValueError(f"the ends of the words do not fit their tokens: {ends} of {len(tokens)}")
    return tuple(tuple(tokens[start:end]) for start, end in zip(starts, ends, strict=False))
