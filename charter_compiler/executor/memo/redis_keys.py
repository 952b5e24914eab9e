"""How the memo store's keys are called in Redis."""

from __future__ import annotations

# The braces keep all of them in one slot, should a proxy in front of a Cluster ask for that.
PREFIX = "charter:{memo}:1:"
ENTRY = PREFIX + "entry:"
"""A hash an entry: value, checksum, model, written (ms since 1970). It expires by itself too."""
USED = PREFIX + "used"
"""Sorted set of entries by the time of their last use, in ms."""
WRITTEN = PREFIX + "written"
"""Sorted set of entries by the time they were written, in ms."""
SIZES = PREFIX + "sizes"
"""Hash: bytes of each entry."""
BYTES = PREFIX + "bytes"
"""Sum of ``SIZES``."""
CLAIM = PREFIX + "claim:"
"""A hash a claim: holder; ``awaited`` if somebody waits for it."""
RELEASED = PREFIX + "released"
"""Channel on which awaited claims are told, by key, when they are let go."""
