"""Names of full blocks: each covers its own tokens and all before them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence


def root_key(salt: str | None) -> int:
    """What the first block's name is chained to; requests of different salts share nothing."""
    if not salt:
        return 0
    return int.from_bytes(hashlib.blake2b(salt.encode("utf-8", "surrogatepass"), digest_size=7).digest(), "little") + 1


def chain(tokens: Sequence[int], size: int, parent: int) -> list[int]:
    """A 64-bit name for each full block of ``tokens``; ``parent`` is the name of the block before, or ``root_key``.

    Python's own hash of a tuple of integers: one call in C a block, the same in every process of one Python version.
    Two different prefixes share a name with a chance of 2**-64 a pair: less than one in a million for five million
    blocks. It resists no attacker, which a model of a cache need not.
    """
    data = tuple(tokens)
    keys = []
    for start in range(0, len(data) - size + 1, size):
        parent = hash((parent, data[start : start + size]))
        keys.append(parent)
    return keys
