"""Whether a request can be computed at all: checked before it waits for anything."""

from __future__ import annotations

import math
from functools import lru_cache

from charter_compiler.diagnostics.errors import ContextLengthError, RequestRejectedError
from charter_compiler.serve.engine.interface import EngineConfig, EngineRequest, SamplingParams


def validate(request: EngineRequest, config: EngineConfig, vocab_size: int | None) -> None:
    """Raises RequestRejectedError, or ContextLengthError where prompt and ``max_tokens`` exceed the context."""
    if not request.prompt:
        raise RequestRejectedError("the prompt has no tokens", remedy="send at least one token")
    _validate_sampling(request.sampling)
    for kind, sequences in (("stop", request.stop), ("bad", request.bad)):
        if not all(sequences):
            raise RequestRejectedError(f"a {kind} sequence has no tokens", remedy="leave it out")
    if request.drafts and config.reproducible:
        raise RequestRejectedError(
            "drafts are verified together, which a reproducible engine cannot do", remedy="leave draft_input_ids out"
        )
    _validate_ids(request, vocab_size)
    _validate_length(request, config)


def _validate_length(request: EngineRequest, config: EngineConfig) -> None:
    prompt, output = len(request.prompt), request.sampling.max_tokens
    if prompt + output > config.max_context:
        raise ContextLengthError(
            f"{prompt} prompt tokens and {output} output tokens exceed the context of {config.max_context} tokens",
            remedy="shorten the prompt or lower max_tokens",
        )


def _validate_ids(request: EngineRequest, vocab_size: int | None) -> None:
    if vocab_size is None:
        return
    ends = () if request.end_id is None else (request.end_id,)
    for name, ids in (
        ("prompt", request.prompt),
        ("end_id", ends),
        ("bad sequence", sum(request.bad, ())),
        ("drafts", request.drafts),
    ):
        wrong = next((token for token in ids if not 0 <= token < vocab_size), None)
        if wrong is not None:
            raise RequestRejectedError(
                f"token {wrong} in the {name} is not in the vocabulary of {vocab_size}",
                remedy="tokenize with the model's own tokenizer",
            )


@lru_cache(maxsize=256)  # most requests of a client ask for the same
def _validate_sampling(sampling: SamplingParams) -> None:
    rules = (
        ("max_tokens", sampling.max_tokens, sampling.max_tokens >= 1, "at least 1"),
        ("min_tokens", sampling.min_tokens, sampling.min_tokens >= 0, "at least 0"),
        ("temperature", sampling.temperature, _in_range(sampling.temperature, 0, math.inf), "a number of at least 0"),
        ("top_k", sampling.top_k, sampling.top_k is None or sampling.top_k >= 0, "at least 0"),
        ("top_p", sampling.top_p, _in_range(sampling.top_p, 0, 1), "between 0 and 1"),
        ("min_p", sampling.min_p, _in_range(sampling.min_p, 0, 1), "between 0 and 1"),
        ("seed", sampling.seed, sampling.seed is None or sampling.seed >= 0, "at least 0"),
        (
            "repetition_penalty",
            sampling.repetition_penalty,
            sampling.repetition_penalty > 0 and math.isfinite(sampling.repetition_penalty),
            "above 0",
        ),
        ("presence_penalty", sampling.presence_penalty, math.isfinite(sampling.presence_penalty), "a number"),
        ("frequency_penalty", sampling.frequency_penalty, math.isfinite(sampling.frequency_penalty), "a number"),
    )
    for name, value, holds, wanted in rules:
        if not holds:
            raise RequestRejectedError(f"{name} is {value}", remedy=f"it must be {wanted}")


def _in_range(value: float | None, low: float, high: float) -> bool:
    return value is None or (low <= value <= high and math.isfinite(value))
