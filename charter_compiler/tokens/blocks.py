"""Names for token prefixes: chained block hashes, common prefixes, and the ``cache_id`` of a text."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

HASH_BYTES = 8


def block_hashes(tokens: Sequence[int], block_size: int) -> tuple[int, ...]:
    """One 64-bit hash for each full block of ``tokens``; a block's hash covers every token before it too.

    Two sequences have equal hashes at index ``i`` exactly when their first ``(i + 1) * block_size`` tokens are equal
    (but for a collision of blake2b cut to 64 bits). Stable across processes and machines.
    """
    full = len(tokens) // block_size
    data = np.asarray(tokens[: full * block_size], dtype="<u4").tobytes()
    width = block_size * 4
    hashes = []
    parent = b""
    for index in range(full):
        parent = hashlib.blake2b(parent + data[index * width : (index + 1) * width], digest_size=HASH_BYTES).digest()
        hashes.append(int.from_bytes(parent, "little"))
    return tuple(hashes)


def common_prefix_length(a: Sequence[int], b: Sequence[int]) -> int:
    """How many leading tokens the two have in common."""
    limit = min(len(a), len(b))
    return next((index for index in range(limit) if a[index] != b[index]), limit)


def cache_id(prefix_text: str) -> int:
    """The name of a prefix by content: a positive 63-bit hash of its text, the same in every process.

    No engine takes it as a key; analyzer and client compute it alike and so speak of the same prefix.
    """
    digest = hashlib.blake2b(prefix_text.encode("utf-8", "surrogatepass"), digest_size=HASH_BYTES).digest()
    return int.from_bytes(digest, "little") % (2**63 - 1) + 1
