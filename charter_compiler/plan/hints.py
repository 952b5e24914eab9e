"""Hints: what the compiler knows of the future, in one form that every encoding starts from.

A hint never changes an answer. It speaks about a range of one prompt's tokens, right after the call that computed them;
``charter_compiler.config.hints`` writes it in the words of an engine or a router.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

STEP_PRIORITY = 10
"""What a prefix loses of its priority for each step that its next use is farther ahead."""


class HintAction(StrEnum):
    """What an engine is asked to do with the blocks of a range. The words are those of the KV hint envelope's
    discussion (vLLM issue 51428)."""

    RETAIN = "retain"
    """Keep by priority; may still be evicted."""
    PIN = "pin"
    """Keep until the lease ends."""
    DEMOTE = "demote"
    """Idle for a while but needed again: may go to a colder memory."""
    PREFETCH = "prefetch"
    """Bring back to the fastest memory before the next call, or compute it."""
    RELEASE = "release"
    """Never needed again."""


@dataclass(frozen=True, slots=True)
class RangeEnd:
    """Where a range ends whose length depends on the run: ``offset`` characters into the text ``anchor``, which follows
    the last value in the shared part of this call's prompt."""

    anchor: str
    offset: int


@dataclass(frozen=True, slots=True)
class PrefixFuture:
    """What is known of a shared prefix when a call that begins with it has been answered.

    Args:
        cache_id: of the prefix's constant text.
        tokens: how long its certain constant part is; all of it where ``end`` and ``parameters`` are empty.
        parameters: names whose values are shared too, in the order of the plan's prefix.
        end: how to find the end of the range in a prompt; ``None`` with parameters: it cannot be found.
        to_end: the shared part is this call's whole prompt.
        remaining_calls: calls of the same item that still need it; ``None`` in a loop, whose turns nobody knows.
        steps_to_next: model calls of the item from this one to the next that needs it: 1 is the very next. ``None``:
            none in this item.
        next_call: id of that call.
        output_tokens: at most so many are generated until then, this call's own included; ``None`` if a call between
            has no constant limit.
        after_tools: what tools given to the calls in between may do, before the prefix is needed again.
        other_items: later items of the run need it as well.
    """

    cache_id: int
    tokens: int
    parameters: tuple[str, ...]
    end: RangeEnd | None
    to_end: bool
    remaining_calls: int | None
    steps_to_next: int | None
    next_call: str | None
    output_tokens: int | None
    after_tools: tuple[str, ...]
    other_items: bool

    @property
    def dead(self) -> bool:
        """No call needs it again."""
        return self.remaining_calls == 0 and not self.other_items


@dataclass(frozen=True, slots=True)
class Hint:
    """One action on the range of a prefix. ``priority`` is from 0 to 100, on TensorRT-LLM's scale, where 35 is the
    default. ``future`` is the index of the prefix among the call's futures; ``None``: everything behind the last of
    them, up to the end of the prompt. ``reason`` is for people."""

    action: HintAction
    priority: int
    future: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class CallHints:
    """The hints of one call site.

    Args:
        call: its id.
        futures: of the prefixes that its prompts begin with, shortest first; each holds the one before it.
        hints: what to say of them, in the order of the ranges.
        prefetch: cache ids of prefixes that this call does not begin with and the next one does.
        expected_output_tokens: an upper bound, the call's own limit; ``None`` if it has no constant one.
        output_reused: a later prompt begins with this one and its output, as in a conversation; false: the output's
            own blocks are never needed again.
        step: its place among the model calls of an item, from 0.
        steps: how many there are. Calls in loops count once.
        session: what shares a session id: ``item``, all calls of one item.
    """

    call: str
    futures: tuple[PrefixFuture, ...]
    hints: tuple[Hint, ...]
    prefetch: tuple[int, ...]
    expected_output_tokens: int | None
    output_reused: bool
    step: int
    steps: int
    session: str = "item"

    @property
    def priority(self) -> int:
        """Of scheduling, from 0: calls near the end of an item go first, so that what they hold is released soon."""
        return self.step
