"""The hints of one prompt: which tokens they speak about, once its text is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from charter_compiler.plan.hints import CallHints, Hint, HintAction, PrefixFuture
from charter_compiler.tokens.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class HintRange:
    """Prompt tokens from ``start`` up to, not including, ``end``, and what is said of them. ``future`` is that of the
    prefix that ends there; ``None`` for the rest of a prompt."""

    start: int
    end: int
    action: HintAction
    priority: int
    reason: str
    future: PrefixFuture | None


@dataclass(frozen=True, slots=True)
class PromptHints:
    """The hints of one request: ranges ascending, side by side; ``hints`` are those of its call site."""

    hints: CallHints
    ranges: tuple[HintRange, ...]
    prompt_tokens: int


def resolve_hints(hints: CallHints, prompt: str, tokens: Sequence[int], tokenizer: Tokenizer) -> PromptHints:
    """The ranges of a prompt.

    A range whose end cannot be found (the text behind it stands there twice, or is not constant) is left out, and so is
    all behind it: nothing is said of tokens that are not known.

    Args:
        prompt: the text as the engine gets it, chat template included.
        tokens: its token ids.
        tokenizer: the one that made them.
    """
    ranges: list[HintRange] = []
    start = 0
    for hint in hints.hints:
        future = None if hint.future is None else hints.futures[hint.future]
        end = len(tokens) if future is None else _end(future, prompt, tokens, tokenizer)
        if end is None:
            break
        if end > start:
            ranges.append(_range(start, end, hint, future))
            start = end
    return PromptHints(hints, tuple(ranges), len(tokens))


def _range(start: int, end: int, hint: Hint, future: PrefixFuture | None) -> HintRange:
    return HintRange(start, end, hint.action, hint.priority, hint.reason, future)


def _end(future: PrefixFuture, prompt: str, tokens: Sequence[int], tokenizer: Tokenizer) -> int | None:
    """In tokens."""
    if not future.parameters:
        return min(future.tokens, len(tokens))
    if future.end is None:
        return len(tokens) if future.to_end else None
    if prompt.count(future.end.anchor) != 1:
        return None
    text = prompt[: prompt.index(future.end.anchor) + future.end.offset]
    own = tokenizer.encode(text)
    return next((i for i, (a, b) in enumerate(zip(own, tokens, strict=False)) if a != b), min(len(own), len(tokens)))
