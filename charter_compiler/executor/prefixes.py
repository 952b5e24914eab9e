"""Prefixes that a client has been told of: names by content, the check of prompts against them, counts. No I/O.

No engine takes a client's cache id; engines find blocks by their tokens. A ``cache_id`` here is a promise that the
caller makes of a prompt ("it starts with that prefix"), and what breaks the promise is worth knowing: it is why the
cache was missed.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from charter_compiler.diagnostics.errors import RequestRejectedError
from charter_compiler.executor.types import GenerationResult
from charter_compiler.tokens.blocks import cache_id as cache_id_of
from charter_compiler.tokens.blocks import common_prefix_length
from charter_compiler.tokens.codec import Tokenizer

EXCERPT = 24
"""Characters shown of a text on either side of a mismatch."""


class PrefixMismatchWarning(UserWarning):
    """A prompt does not start with the prefix that its ``cache_id`` names."""


@dataclass(frozen=True, slots=True)
class PrefixMismatch:
    """Where a prompt leaves its prefix. ``position`` counts tokens with a tokenizer and characters without one
    (``unit``), from 0; ``expected`` and ``found`` are the prefix's and the prompt's text there."""

    cache_id: int
    position: int
    unit: str
    expected: str
    found: str

    def __str__(self) -> str:
        found = repr(self.found) if self.found else "the end of the prompt"
        return (
            f"the prompt leaves the prefix {self.cache_id} at {self.unit} {self.position}: "
            f"{self.expected!r} expected, {found} found"
        )


@dataclass(frozen=True, slots=True)
class PrefixStats:
    """Calls that named a prefix. ``matched``: their prompts started with it; ``hits``: of these, calls for which the
    server reported cached tokens; ``cached_tokens``: the sum of what it reported."""

    calls: int = 0
    matched: int = 0
    hits: int = 0
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class WarmedPrefix:
    """A prefix that was sent to the server; ``tokens`` as the server counted them, ``None`` where it did not."""

    text: str
    tokens: int | None
    result: GenerationResult


@dataclass(frozen=True, slots=True)
class PrefixUse:
    """How one prompt stands to the prefix it names; ``mismatch`` only where it breaks its promise."""

    details: Mapping[str, Any]
    mismatch: PrefixMismatch | None = None


class PrefixRegistry:
    """The prefixes of one client. Safe to use from many threads."""

    def __init__(self, tokenizer: Tokenizer | None = None) -> None:
        self._tokenizer = tokenizer
        self._lock = threading.Lock()
        self._texts: dict[int, str] = {}
        self._tokens: dict[int, Sequence[int]] = {}
        self._stats: dict[int, PrefixStats] = {}

    def register(self, text: str) -> int:
        """Make a prefix known; returns its ``cache_id``. Doing it again changes nothing.

        Raises:
            RequestRejectedError: the text is empty.
        """
        if not text:
            raise RequestRejectedError("an empty prefix shares nothing", remedy="leave it out")
        name = cache_id_of(text)
        tokens = self._tokenizer.encode(text) if self._tokenizer is not None else ()
        with self._lock:
            self._texts.setdefault(name, text)
            self._tokens.setdefault(name, tokens)
            self._stats.setdefault(name, PrefixStats())
        return name

    def use(self, prompt: str, cache_id: int | None) -> PrefixUse:
        """Compare a prompt with the prefix it names.

        ``details["prefix"]`` is ``matched``, ``mismatched`` or ``unregistered`` (a prefix that this client was never
        given: the call goes ahead unchecked). With a tokenizer, ``prefix_tokens`` and ``prefix_shared_tokens`` tell
        how many of the prefix's tokens the prompt has: where text follows without a break, the token at the seam joins
        it, which costs the last block at most and is no mismatch.
        """
        if cache_id is None:
            return PrefixUse({})
        with self._lock:
            text = self._texts.get(cache_id)
            tokens = self._tokens.get(cache_id, ())
        if text is None:
            return PrefixUse({"prefix": "unregistered"})
        details: dict[str, Any] = {"prefix": "matched"}
        prompt_tokens: Sequence[int] = ()
        shared = 0
        if self._tokenizer is not None:
            prompt_tokens = self._tokenizer.encode(prompt)
            shared = common_prefix_length(tokens, prompt_tokens)
            details |= {"prefix_tokens": len(tokens), "prefix_shared_tokens": shared}
        if prompt.startswith(text):
            return PrefixUse(details)
        if self._tokenizer is not None and shared < len(tokens):
            mismatch = PrefixMismatch(
                cache_id,
                shared,
                "token",
                self._tokenizer.decode(tokens[shared : shared + 1]),
                self._tokenizer.decode(prompt_tokens[shared : shared + 1]),
            )
        else:
            at = next((i for i, (a, b) in enumerate(zip(text, prompt, strict=False)) if a != b), len(prompt))
            mismatch = PrefixMismatch(cache_id, at, "character", text[at : at + EXCERPT], prompt[at : at + EXCERPT])
        return PrefixUse(details | {"prefix": "mismatched", "prefix_mismatch": str(mismatch)}, mismatch)

    def count(self, use: PrefixUse, result: GenerationResult) -> None:
        """Count a finished call; one with an unregistered prefix is not counted."""
        if result.cache_id is None or use.details.get("prefix") == "unregistered":
            return
        matched = use.mismatch is None
        cached = (result.cached_tokens or 0) if matched else 0
        with self._lock:
            old = self._stats[result.cache_id]
            self._stats[result.cache_id] = PrefixStats(
                old.calls + 1, old.matched + matched, old.hits + (cached > 0), old.cached_tokens + cached
            )

    def stats(self) -> dict[int, PrefixStats]:
        """Counts of each registered prefix, by ``cache_id``."""
        with self._lock:
            return dict(self._stats)
