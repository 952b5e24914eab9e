"""What a simulated model says: common words, as many as were asked for, the same for the same prompt."""

from __future__ import annotations

from collections.abc import Sequence

from charter_compiler.tokens.tokenizer import Tokenizer

_PASSAGE = (
    " the first part of this answer says what was asked and the second part says what was found in the text and by whom"
    " so that a reader who has little time can stop there while one who wants to know more may go on to the end of it"
)


class SimOutputs:
    """Windows of one passage. Of such words nearly all are one token each in today's vocabularies."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._passage = tokenizer.encode(_PASSAGE)

    def of(self, prompt: Sequence[int], length: int) -> list[int]:
        """``length`` tokens, chosen by the prompt's."""
        passage = self._passage
        start = sum(prompt) % len(passage)
        turns = -(-(start + length) // len(passage))
        return (passage * turns)[start : start + length]

    def text(self, tokens: Sequence[int]) -> str:
        """The tokens' text."""
        return self._tokenizer.decode(tokens)
