"""Prefixes: how far two token sequences agree, and the ``cache_id`` of a text."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

HASH_BYTES = 8


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
