"""Stop texts, as OpenAI and Anthropic define them: the answer ends before one. Pure.

TensorRT-LLM compares stop words as tokens and leaves them at the end of the answer.
"""

from __future__ import annotations

from collections.abc import Sequence


class StopCutter:
    """Takes an answer piece by piece; holds back what may be the beginning of a stop text. ``found`` is the one that
    came first, ``None`` while none did."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""
        self.found: str | None = None

    def feed(self, piece: str) -> str:
        """The text that can be given out."""
        if self.found is not None:
            return ""
        text, self._held = self._held + piece, ""
        places = [(place, stop) for stop in self._stops if (place := text.find(stop)) >= 0]
        if places:
            place, self.found = min(places)
            return text[:place]
        held = max((_overlap(text, stop) for stop in self._stops), default=0)
        if held:
            text, self._held = text[:-held], text[-held:]
        return text

    def rest(self) -> str:
        """What was held back, at the end of the answer."""
        text, self._held = self._held, ""
        return text


def _overlap(text: str, stop: str) -> int:
    """Characters at the end of ``text`` that a stop text begins with."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:n])), 0)
