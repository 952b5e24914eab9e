"""What a memo store is. ``sqlite_store`` keeps it on this machine; a shared one implements the same protocol."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Protocol

from charter_compiler.diagnostics.errors import MemoError

KEY_BYTES = 32


class CorruptEntryError(MemoError):
    """An entry is there, and is not what was written."""


@dataclass(frozen=True, slots=True)
class MemoEntry:
    """An answer. Token counts are ``None`` where the target did not report them; the prompt is not stored. ``stop``: as
    in ``GenerationResult``."""

    text: str
    finish_reason: str | None
    prompt_tokens: int | None
    output_tokens: int | None
    stop: str | None = None

    def to_bytes(self) -> bytes:
        value = asdict(self)
        if self.stop is None:  # as entries were before there was the field
            del value["stop"]
        return json.dumps(value, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> MemoEntry:
        """Raises ValueError or TypeError where it is not what ``to_bytes`` wrote."""
        return cls(**json.loads(data))


def checksum(key: bytes, value: bytes) -> bytes:
    """SHA-256 over both, so that an entry which lies under another's key is corrupt too."""
    return hashlib.sha256(key + value).digest()


@dataclass(frozen=True, slots=True)
class MemoLimits:
    """``max_bytes``: of the entries; beyond it those that were used longest ago go. ``max_age_s``: seconds since an
    entry was written, after which it is not used any more."""

    max_bytes: int = 1 << 30
    max_age_s: float = 30 * 86400.0


@dataclass(frozen=True, slots=True)
class MemoStats:
    """``entries`` and ``bytes`` are of the whole store, ``models`` has the entries of each model; ``oldest`` and
    ``newest`` are seconds since 1970, ``None`` in an empty store."""

    place: str
    entries: int
    bytes: int
    oldest: float | None
    newest: float | None
    models: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class MemoCheck:
    """What ``verify`` found. ``damage`` is what the store says of itself where it is damaged as a whole."""

    entries: int
    corrupt: int
    damage: str | None = None


class MemoStore(Protocol):
    """Keys are 32 bytes (``keys.MemoKeys``). Many processes may use one store at once; one instance is used by one
    thread at a time. Every method raises ``MemoError`` where the store cannot be read or written."""

    def get(self, key: bytes) -> MemoEntry | None:
        """The entry, or ``None`` where there is none or it is too old.

        Raises:
            CorruptEntryError: there is one, and its checksum is wrong.
        """

    def put(self, key: bytes, model: str, entry: MemoEntry) -> None:
        """Write an entry, in the place of one that is there. ``model`` is for ``stats`` alone."""

    def stats(self) -> MemoStats:
        """What is stored."""

    def clear(self, older_than_s: float = 0.0) -> int:
        """Erase what was written longer ago than that; returns the number of entries."""

    def verify(self) -> MemoCheck:
        """Look at every entry; nothing is changed."""

    def close(self) -> None:
        """Idempotent."""
