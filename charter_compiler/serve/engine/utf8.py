"""Streaming text: tokens are held back until their bytes complete a character."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterable


class Utf8Assembler:
    """Groups tokens so that no group ends inside a character.

    ``token_bytes`` gives the bytes of a token. Bytes that are no UTF-8 at all hold nothing back.
    """

    def __init__(self, token_bytes: Callable[[int], bytes]) -> None:
        self._token_bytes = token_bytes
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held: list[int] = []

    def push(self, tokens: Iterable[int]) -> tuple[int, ...]:
        """Add tokens; returns those, held ones first, that end with a whole character. The rest stays held."""
        ready: list[int] = []
        for token in tokens:
            self._held.append(token)
            self._decoder.decode(self._token_bytes(token))
            incomplete, _ = self._decoder.getstate()
            if not incomplete:
                ready += self._held
                self._held.clear()
        return tuple(ready)

    def flush(self) -> tuple[int, ...]:
        """The held tokens, at the end of the output."""
        held = tuple(self._held)
        self._held.clear()
        self._decoder.reset()
        return held
