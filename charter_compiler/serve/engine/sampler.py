"""Choosing a token from logits: exact greedy, or a seeded draw, with TensorRT-LLM's penalties."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from charter_compiler.serve.engine.guides import Matcher
from charter_compiler.serve.engine.interface import EngineRequest, SamplingParams

Logits = NDArray[np.float32]
Values = NDArray[np.float64]
Ids = NDArray[np.int64]


class Sampler:
    """One request's sampler. Its random numbers depend on the request's seed alone (fresh entropy without one).

    ``matcher`` leaves only the tokens that follow the request's guide, and the end where the output is complete.

    Order, as in TensorRT-LLM's `penaltyKernels.cu`: temperature; repetition, presence and frequency penalties over
    prompt and output; tokens that must not come; then top-k, top-p of what is left, renormalized, and min-p.
    """

    def __init__(self, request: EngineRequest, vocab_size: int, matcher: Matcher | None = None) -> None:
        self._matcher = matcher
        self._request = request
        self._random = np.random.Generator(np.random.PCG64(request.sampling.seed))
        self._counts = np.bincount(request.prompt, minlength=vocab_size) if _penalized(request.sampling) else None
        self._counted = 0

    def choose(self, logits: Logits, output: Sequence[int]) -> int:
        """``logits`` has the shape [vocabulary] and is left as it is; ``output`` are the tokens chosen so far."""
        sampling = self._request.sampling
        banned = self._banned(output)
        if sampling.greedy and self._counts is None and self._matcher is None and not banned:
            return int(logits.argmax())
        scores = logits.astype(np.float64)
        if sampling.temperature:
            scores /= sampling.temperature
        if self._counts is not None:
            self._penalize(scores, output)
        scores[banned] = -np.inf
        if self._matcher is None:
            return int(scores.argmax()) if sampling.greedy else self._draw(scores)
        return self._follow(self._matcher, scores)

    def _follow(self, matcher: Matcher, scores: Values) -> int:
        """A token that follows the guide; the end where none is left."""
        end = self._request.end_id
        assert end is not None
        scores[~matcher.allowed()] = -np.inf
        if np.isneginf(scores.max()):
            return end
        token = int(scores.argmax()) if self._request.sampling.greedy else self._draw(scores)
        if token != end:
            matcher.consume(token)
        return token

    def _banned(self, output: Sequence[int]) -> list[int]:
        """Tokens that would complete a bad sequence, and the end before ``min_tokens``."""
        request = self._request
        banned = [
            bad[-1] for bad in request.bad if len(bad) == 1 or tuple(output[len(output) - len(bad) + 1 :]) == bad[:-1]
        ]
        if request.end_id is not None and len(output) < request.sampling.min_tokens:
            banned.append(request.end_id)
        return banned

    def _penalize(self, scores: Values, output: Sequence[int]) -> None:
        assert self._counts is not None
        for token in output[self._counted :]:
            self._counts[token] += 1
        self._counted = len(output)
        sampling, seen = self._request.sampling, np.flatnonzero(self._counts)
        values = scores[seen]
        factor = sampling.repetition_penalty
        values = np.where(values < 0, values * factor, values / factor)
        scores[seen] = values - sampling.presence_penalty - sampling.frequency_penalty * self._counts[seen]

    def _draw(self, scores: Values) -> int:
        sampling = self._request.sampling
        ids: Ids = np.arange(scores.size) if not sampling.top_k else best(scores, sampling.top_k)
        weights = np.exp(scores[ids] - scores.max())
        if sampling.top_p is not None and sampling.top_p < 1:
            ids, weights = nucleus(ids, weights, sampling.top_p)
        if sampling.min_p:
            likely = weights >= sampling.min_p * weights.max()
            ids, weights = ids[likely], weights[likely]
        cumulative = np.cumsum(weights)
        return int(ids[np.searchsorted(cumulative, self._random.random() * cumulative[-1], side="right")])


def best(scores: Values, count: int) -> Ids:
    """Indices of the ``count`` highest scores, highest first; of equal ones the lower index."""
    if count >= scores.size:
        return np.argsort(-scores, kind="stable")
    threshold = np.partition(scores, -count)[-count]
    candidates = np.flatnonzero(scores >= threshold)
    return candidates[np.argsort(-scores[candidates], kind="stable")][:count]


def nucleus(ids: Ids, weights: Values, top_p: float) -> tuple[Ids, Values]:
    """The fewest of the heaviest entries whose share of the weight reaches ``top_p``; at least one.

    Looks at ever more of the heaviest entries, since a full sort of a vocabulary is slow and rarely needed.
    """
    wanted = top_p * weights.sum()
    count = min(256, weights.size)
    while True:
        order = best(weights, count)
        cumulative = np.cumsum(weights[order])
        if cumulative[-1] >= wanted or count == weights.size:
            keep = order[: min(int(np.searchsorted(cumulative, wanted)) + 1, order.size)]
            return ids[keep], weights[keep]
        count = min(count * 8, weights.size)


def log_probability(logits: Logits, token: int) -> float:
    """Natural logarithm of the model's probability of ``token``, from unchanged ``logits``."""
    scores = logits.astype(np.float64)
    top = scores.max()
    return float(scores[token] - top - np.log(np.exp(scores - top).sum()))


def _penalized(sampling: SamplingParams) -> bool:
    return (sampling.repetition_penalty, sampling.presence_penalty, sampling.frequency_penalty) != (1.0, 0.0, 0.0)
