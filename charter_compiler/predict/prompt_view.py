"""One prompt of each call site laid open: which tokens are cached, computed, or computed again, and which line of the
source put them there."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Any

from charter_compiler.ir.nodes import Call
from charter_compiler.predict.explain import CallExplanation, RepeatedRuns, outputs_by_item, prompt_text
from charter_compiler.predict.origin import Origin, Values, borders, origin_at
from charter_compiler.predict.replay import ReplayedCall
from charter_compiler.tokens.tokenizer import Tokenizer


class Fate(StrEnum):
    """What becomes of a prompt token."""

    CACHED = "cached"
    EVICTED = "evicted"
    IN_FLIGHT = "in flight"
    ROUNDING = "rounding"
    REPEATED = "repeated"
    NEW = "new"

    @property
    def kind(self) -> str:
        """``cached``; ``wasted`` for what had been computed before; ``computed`` for what had not."""
        return {Fate.CACHED: "cached", Fate.NEW: "computed"}.get(self, "wasted")


@dataclass(frozen=True, slots=True)
class PromptPart:
    """``tokens`` tokens from the ``first`` on that share a fate and an origin."""

    fate: Fate
    first: int
    tokens: int
    text: str
    origin: Origin


@dataclass(frozen=True, slots=True)
class PromptView:
    """A call's prompt from start to end."""

    call: CallExplanation
    parts: tuple[PromptPart, ...]


def view_prompts(
    replayed: Sequence[ReplayedCall],
    explained: Sequence[CallExplanation],
    calls: Sequence[Call],
    rows: Mapping[int, Mapping[str, Any]],
    repeated: RepeatedRuns,
    tokenizer: Tokenizer,
) -> tuple[PromptView, ...]:
    """One prompt of each call site, in the order of their first calls: of those that share a first token with an
    earlier prompt the one in the middle, since a first prompt has nothing to share; otherwise the first."""
    sent = {(call.trace.call.item, call.trace.call.ordinal): call for call in replayed if call.trace is not None}
    outputs = outputs_by_item(replayed)
    by_id = {call.id: call for call in calls}
    sites: dict[str, list[CallExplanation]] = {}
    for each in explained:
        if each.item is not None:
            sites.setdefault(each.site, []).append(each)
    views = []
    for group in sites.values():
        sharing = [each for each in group if each.prompt > each.new]
        chosen = sharing[len(sharing) // 2] if sharing else group[0]
        assert chosen.item is not None, "warm-ups were left out"
        call = sent[chosen.item, chosen.ordinal]
        earlier = [(site, text) for ordinal, site, text in outputs[chosen.item] if ordinal < chosen.ordinal]
        values = Values(rows.get(chosen.item, {}), earlier)
        parts = _parts(call, chosen, by_id.get(chosen.site), repeated[call.key], values, tokenizer)
        views.append(PromptView(chosen, tuple(parts)))
    return tuple(views)


def _parts(
    call: ReplayedCall,
    explained: CallExplanation,
    ir: Call | None,
    repeated: Sequence[tuple[int, int]],
    values: Values,
    tokenizer: Tokenizer,
) -> Iterator[PromptPart]:
    assert call.trace is not None, "a warm-up is not explained"
    made = call.trace.call
    text, contents = prompt_text(made.request, tokenizer)
    starts = [*tokenizer.token_starts(text), len(text)]
    place = None if made.site is None else (made.site.file, made.site.line)
    fates = list(_fates(explained, repeated))
    # A token that reaches over the border of two segments counts to the one that it begins in.
    cuts = {bisect_left(starts, border) for border in borders(text, ir, contents, values)}
    for fate, first, stop in fates:
        inside = sorted({first, stop, *(cut for cut in cuts if first < cut < stop)})
        for start, end in pairwise(inside):
            origin = origin_at(text, starts[start], ir, contents, values, place)
            yield PromptPart(fate, start, end - start, text[starts[start] : starts[end]], origin)


def _fates(call: CallExplanation, repeated: Sequence[tuple[int, int]]) -> Iterator[tuple[Fate, int, int]]:
    """Fate, first token and end, from the start of the prompt to its end; none is empty."""
    position = 0
    for fate, count in (
        (Fate.CACHED, call.cached),
        (Fate.EVICTED, call.evicted),
        (Fate.IN_FLIGHT, call.in_flight),
        (Fate.ROUNDING, call.rounding),
    ):
        if count:
            yield fate, position, position + count
        position += count
    for start, stop in repeated:
        if start > position:
            yield Fate.NEW, position, start
        yield Fate.REPEATED, start, stop
        position = stop
    if position < call.prompt:
        yield Fate.NEW, position, call.prompt
