"""Why each prompt token was computed: what it had in common with earlier requests, and what ended that.

The prompt tokens of a call are cached; or they were computed before, but *evicted* since, or still being computed by a
request *in flight*; or equal to an earlier prompt's, but short of a whole block (*rounding*, the last token of a prompt
included, which is always computed); or *new*. The first new token is where the prompt differs from every earlier one.
New tokens that stand in a run which an earlier prompt or output had elsewhere are *repeated* (``repeats``).
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from charter_compiler.executor.types import GenerationRequest
from charter_compiler.ir.nodes import Call
from charter_compiler.predict.origin import Origin, Values, character_of, origin_at
from charter_compiler.predict.prefix_index import common_length
from charter_compiler.predict.repeats import RepeatIndex
from charter_compiler.predict.replay import ReplayedCall
from charter_compiler.tokens.tokenizer import Tokenizer

SHOWN = 24
"""Characters of the differing texts that are kept."""


RepeatedRuns = Mapping[int, Sequence[tuple[int, int]]]
"""Start and end of runs of tokens, by the call's key."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The first token that no earlier request has there. ``text`` begins with it, ``other`` with what the request has
    that shares the most; ``with_item`` and ``with_site`` say which that is: no item for a warm-up, neither without one
    that shares anything.
    """

    token: int
    text: str
    other: str
    with_item: int | None
    with_site: str | None
    origin: Origin

    @property
    def cause(self) -> str:
        """In words; a prompt that begins like no earlier one differs by nothing in particular."""
        return str(self.origin) if self.token else "no earlier prompt begins like it"


@dataclass(frozen=True, slots=True)
class CallExplanation:
    """One call. ``cached + evicted + in_flight + rounding + new`` is ``prompt``, in tokens; ``repeated`` of the new
    ones were computed before at another place."""

    item: int | None
    ordinal: int
    site: str
    prompt: int
    cached: int
    evicted: int
    in_flight: int
    rounding: int
    new: int
    difference: Difference | None
    repeated: int = 0


@dataclass(frozen=True, slots=True)
class SiteExplanation:
    """A call site over all items, in tokens. ``causes``: where its prompts first differ from all earlier ones, how many
    calls do there, and how many of their tokens are new; the most tokens first."""

    site: str
    calls: int
    prompt: int
    cached: int
    evicted: int
    in_flight: int
    rounding: int
    new: int
    causes: tuple[tuple[str, int, int], ...]
    repeated: int = 0

    @property
    def wasted(self) -> int:
        """Tokens that are computed although they, or the same run of them elsewhere, had been."""
        return self.evicted + self.in_flight + self.rounding + self.repeated


def explain(
    replayed: Sequence[ReplayedCall],
    calls: Sequence[Call],
    rows: Mapping[int, Mapping[str, Any]],
    repeated: RepeatedRuns,
    tokenizer: Tokenizer,
) -> tuple[CallExplanation, ...]:
    """Each call of a replay that the engine takes, in the order in which they were sent; ``rows`` are the inputs by
    item, ``repeated`` is what ``repeated_runs`` finds."""
    by_key = {call.key: call for call in replayed}
    by_id = {call.id: call for call in calls}
    outputs = outputs_by_item(replayed)
    explained = []
    for call in sorted(replayed, key=lambda each: each.key):
        if call.rejected is not None:
            continue
        found = _explain_call(call, by_key, by_id, rows, outputs, tokenizer)
        runs = repeated.get(call.key, ())
        explained.append(replace(found, repeated=sum(stop - start for start, stop in runs)))
    return tuple(explained)


def outputs_by_item(replayed: Sequence[ReplayedCall]) -> dict[int, list[tuple[int, str, str]]]:
    """Ordinal, site and output of each item's calls."""
    outputs: dict[int, list[tuple[int, str, str]]] = {}
    for call in replayed:
        if call.trace is not None:
            made = call.trace.call
            outputs.setdefault(made.item, []).append((made.ordinal, site_name(call), call.trace.output))
    return outputs


def repeated_runs(replayed: Sequence[ReplayedCall], tokenizer: Tokenizer) -> RepeatedRuns:
    """Start and end of the repeated runs among each call's new tokens, by the call's key. Earlier are the prompts of
    the calls that started before, and their outputs."""
    index = RepeatIndex()
    found = {}
    for call in sorted(replayed, key=lambda each: (each.started_ns, each.key)):
        if call.rejected is not None or call.trace is None:
            continue
        request = call.trace.call.request
        tokens = tokenizer.encode(prompt_text(request, tokenizer)[0])
        found[call.key] = index.runs(tokens, known_tokens(call))
        index.add([*tokens, *tokenizer.encode(call.trace.output)[: request.max_tokens]])
    return found


def known_tokens(call: ReplayedCall) -> int:
    """Leading tokens of the prompt that are not new."""
    return max(call.shared.length, call.cached_tokens, call.attainable_tokens)


def _explain_call(
    call: ReplayedCall,
    by_key: Mapping[int, ReplayedCall],
    by_id: Mapping[str, Call],
    rows: Mapping[int, Mapping[str, Any]],
    outputs: Mapping[int, list[tuple[int, str, str]]],
    tokenizer: Tokenizer,
) -> CallExplanation:
    missing = max(0, call.attainable_tokens - call.cached_tokens)
    flying = missing if missing and _in_flight(call, by_key) else 0
    shared = known_tokens(call)
    rounding = shared - max(call.attainable_tokens, call.cached_tokens)
    made = None if call.trace is None else call.trace.call
    difference = None
    if shared < call.prompt_tokens and made is not None:
        earlier = [(site, text) for ordinal, site, text in outputs[made.item] if ordinal < made.ordinal]
        values = Values(rows.get(made.item, {}), earlier)
        difference = _difference(
            call, shared, by_key, None if made.site is None else by_id.get(made.site.id or ""), values, tokenizer
        )
    return CallExplanation(
        item=None if made is None else made.item,
        ordinal=0 if made is None else made.ordinal,
        site=site_name(call),
        prompt=call.prompt_tokens,
        cached=call.cached_tokens,
        evicted=missing - flying,
        in_flight=flying,
        rounding=rounding,
        new=call.prompt_tokens - shared,
        difference=difference,
    )


def _in_flight(call: ReplayedCall, by_key: Mapping[int, ReplayedCall]) -> bool:
    """Whether the first block that was missing had not yet been computed when the call started."""
    key = call.shared.provider(call.cached_tokens)
    provider = None if key is None else by_key.get(key)
    return provider is not None and provider.computed_ns > call.started_ns


def _difference(
    call: ReplayedCall,
    position: int,
    by_key: Mapping[int, ReplayedCall],
    ir: Call | None,
    values: Values,
    tokenizer: Tokenizer,
) -> Difference:
    assert call.trace is not None, "a warm-up is not explained"
    made = call.trace.call
    text, contents = prompt_text(made.request, tokenizer)
    token = call.shared.other_token
    other_text = "" if token is None else tokenizer.decode([token])
    start = character_of(tokenizer, text, position)
    # Two tokens may begin alike, with a space at least: what differs is behind that.
    cause = start + common_length(text[start:], other_text)
    cause = cause if cause < len(text) else start
    place = None if made.site is None else (_shown(made.site.file), made.site.line)
    nearest = None if call.shared.nearest is None or not call.shared.length else by_key.get(call.shared.nearest)
    other = None if nearest is None or nearest.trace is None else nearest.trace
    return Difference(
        token=position,
        text=text[start : start + SHOWN],
        other=other_text,
        with_item=None if other is None else other.call.item,
        with_site=None if nearest is None else site_name(nearest),
        origin=origin_at(text, cause, ir, contents, values, place),
    )


def _shown(file: str) -> str:
    """The path from the current folder, where the file lies below it."""
    relative = os.path.relpath(file)
    return file if relative.startswith("..") else relative


def prompt_text(request: GenerationRequest, tokenizer: Tokenizer) -> tuple[str, list[str]]:
    """The text that is tokenized, and the contents of its messages in order."""
    if request.prompt is not None:
        return request.prompt, [request.prompt]
    messages = request.messages or ()
    return tokenizer.render_chat(messages), [str(message.get("content") or "") for message in messages]


def site_name(call: ReplayedCall) -> str:
    """The id of a call's site in the IR, else file and line; ``warm-up`` for those."""
    if call.trace is None:
        return "warm-up"
    site = call.trace.call.site
    return "unknown" if site is None else site.label


def by_site(explained: Sequence[CallExplanation]) -> tuple[SiteExplanation, ...]:
    """The calls summed by call site, in the order of the sites' names."""
    groups: dict[str, list[CallExplanation]] = {}
    for call in explained:
        groups.setdefault(call.site, []).append(call)
    return tuple(_sum(site, group) for site, group in sorted(groups.items()))


def _sum(site: str, group: Sequence[CallExplanation]) -> SiteExplanation:
    times: Counter[str] = Counter()
    tokens: Counter[str] = Counter()
    for call in group:
        if call.difference is not None:
            times[call.difference.cause] += 1
            tokens[call.difference.cause] += call.new
    return SiteExplanation(
        site,
        len(group),
        prompt=sum(call.prompt for call in group),
        cached=sum(call.cached for call in group),
        evicted=sum(call.evicted for call in group),
        in_flight=sum(call.in_flight for call in group),
        rounding=sum(call.rounding for call in group),
        new=sum(call.new for call in group),
        repeated=sum(call.repeated for call in group),
        causes=tuple((what, times[what], count) for what, count in tokens.most_common()),
    )
