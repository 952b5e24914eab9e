"""What every engine profile answers, and in which order it is asked.

A profile is one engine's bookkeeping of KV blocks: no model, no clock, no thread. Requests run at the same time between
``start`` and ``finish``; what a running request holds is never evicted, and a request finds only what was reusable at
the moment when it started.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from charter_compiler.cache.retention import Retention

FOUND_AT_ONCE = frozenset({"vllm"})
"""Engines in which a prompt finds a block from the moment its tokens are scheduled; in the others when they are
computed. Where several prompts that begin alike arrive together, the former compute their beginning once by
themselves (``cache.vllm`` says after which source)."""


@dataclass(frozen=True, slots=True)
class Request:
    """What the engine is told when a request arrives.

    ``max_tokens`` is what an engine reserves for the output, where it reserves at all. ``salt`` separates tenants: only
    requests with the same one share. ``retention`` is TensorRT-LLM's; other engines ignore it. ``now_ms`` is the time,
    in milliseconds since any start, that durations are counted in. ``names`` stands for the tokens where these are not
    known: a number for each full block of the prompt, which names the block and all before it; ``prompt`` then only
    says how long it is.
    """

    prompt: Sequence[int]
    max_tokens: int = 1
    salt: str | None = None
    retention: Retention | None = None
    now_ms: float = 0.0
    names: Sequence[int] | None = None


@dataclass(slots=True)
class CacheTotals:
    """Totals since the start. ``evicted`` counts blocks whose content was forgotten; ``peak`` is the most blocks that
    were occupied at once, by running requests or by what can be reused."""

    evicted: int = 0
    peak: int = 0


@dataclass(slots=True, eq=False)
class Lease:
    """What one running request holds. ``cached_tokens`` of its prompt were taken from the cache when it started;
    ``length`` tokens of it are there, or are being computed."""

    cached_tokens: int
    length: int


LeaseT = TypeVar("LeaseT", bound=Lease)


class EngineProfile(Protocol[LeaseT]):
    """One engine's KV cache. Not thread-safe. A lease belongs to the profile that made it, until ``finish``."""

    totals: CacheTotals

    def start(self, request: Request) -> LeaseT | None:
        """Look the prompt up, hold what is found, and take blocks for the rest, evicting where none is free. None, and
        nothing changes, where blocks are short: ask again when another request has ended.

        Raises:
            ContextLengthError: it can never fit, not even alone.
        """

    def prefilled(self, lease: LeaseT) -> None:
        """The prompt has been computed: where the engine waits for that, its blocks become reusable now."""

    def append(self, lease: LeaseT, tokens: Sequence[int]) -> bool:
        """Generated tokens whose KV is being computed; the last token of an output never is. False, and nothing
        changes, where blocks are short: the caller must end another request, or preempt this one with ``finish``."""

    def finish(self, lease: LeaseT, now_ms: float = 0.0) -> None:
        """The request ended or was preempted. What can be reused stays; the rest is free at once."""
