"""The hints of one prompt: which tokens they speak about, once its text is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from charter_compiler.plan.hints import STEP_PRIORITY, CallHints, Hint, HintAction, PrefixFuture
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


def resolve_hints(
    hints: CallHints, prompt: str, tokens: Sequence[int], tokenizer: Tokenizer, *, rank: int = 0
) -> PromptHints:
    """The ranges of a prompt.

    A range whose end cannot be found (the text behind it stands there twice, or is not constant) is left out, and so is
    all behind it: nothing is said of tokens that are not known.

    Args:
        prompt: the text as the engine gets it, chat template included.
        tokens: its token ids.
        tokenizer: the one that made them.
        rank: how many items in flight are older than this one. Where not all fit, every item in flight would lose its
            prefix just before it is needed again (they take turns): so the older ones are kept, and end the sooner.
    """
    ranges: list[HintRange] = []
    start = 0
    for hint in hints.hints:
        future = None if hint.future is None else hints.futures[hint.future]
        end = len(tokens) if future is None else _end(future, prompt, tokens, tokenizer)
        if end is None:
            break
        if end > start:
            ranges.append(HintRange(start, end, hint.action, _ranked(hint, rank), hint.reason, future))
            start = end
    return PromptHints(hints, tuple(ranges), len(tokens))


def _ranked(hint: Hint, rank: int) -> int:
    """Only what belongs to the item gives way; never to another number of steps."""
    if hint.action not in (HintAction.RETAIN, HintAction.DEMOTE):
        return hint.priority
    return hint.priority - min(rank, STEP_PRIORITY - 1)


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
