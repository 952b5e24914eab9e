"""Outputs that stand in for the model's: of the predicted length, plausible text, the same in every prediction."""

from __future__ import annotations

import random
from typing import Protocol

from charter_compiler.executor.types import GenerationRequest
from charter_compiler.predict.shapes import Shape, json_text
from charter_compiler.tokens.tokenizer import Tokenizer

# Common words: with a space before them, nearly all are one token each in the vocabularies of today's models.
_TEXT = """
the of and to in for is on that by this with it not or be are from at as your all have new more an was we will home
can us about if page my has search free but our one other do no information time they site he up may what which their
news out use any there see only so his when contact here business who web also now help get view online first been
would how were services some these click its like service than find price date back top people had list name just over
state year day into email two health world next used go work last most products music buy data make them should
product system post her city add policy number such please available copyright support message after best
"""
_WORDS = _TEXT.split()


class OutputSource(Protocol):
    """Where a prediction takes outputs from."""

    def text(self, item: int, ordinal: int, request: GenerationRequest, shape: Shape | None = None) -> str:
        """The output of an item's call; the same whenever it is asked for. ``shape`` is what the agent's code can
        parse, ``None`` for plain text."""


class SyntheticOutputs:
    """``max_tokens`` tokens of seeded text a call: agents usually ask for about as much as they mean to get. JSON of at
    most that length where a shape is asked for; longer only if the shape does not fit."""

    def __init__(self, tokenizer: Tokenizer, seed: int = 0) -> None:
        self._tokenizer = tokenizer
        self._seed = seed

    def text(self, item: int, ordinal: int, request: GenerationRequest, shape: Shape | None = None) -> str:
        """See ``OutputSource``."""
        seed = f"{self._seed}/{item}/{ordinal}"
        if shape is not None:
            return json_text(shape, self._tokenizer, request.max_tokens, seed, _words)
        chosen = random.Random(seed)  # noqa: S311  text to fill a prompt, not a secret
        words = "".join(f" {chosen.choice(_WORDS)}" for _ in range(request.max_tokens))
        return self._tokenizer.decode(self._tokenizer.encode(words)[: request.max_tokens])


def _words(chosen: random.Random, count: int) -> str:
    return " ".join(chosen.choice(_WORDS) for _ in range(count))
