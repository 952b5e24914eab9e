"""Where prompt tokens go, ready to be drawn: cached, wasted (computed although they had been), computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from charter_compiler.predict.explain import CallExplanation, Difference, SiteExplanation
from charter_compiler.predict.origin import Origin
from charter_compiler.predict.prompt_view import Fate, PromptPart, PromptView
from charter_compiler.report.prompt_blocks import short_id, visible_space

HEAD, TAIL = 900, 300
"""Characters of a part's text that are shown of a longer one, from its start and its end."""
FATES = {
    Fate.CACHED: "taken from the cache",
    Fate.EVICTED: "computed before, and evicted since",
    Fate.IN_FLIGHT: "being computed by another request at that moment",
    Fate.ROUNDING: "equal to an earlier prompt's, but short of a whole block",
    Fate.REPEATED: "computed before, behind another beginning: only another order of the prompt would reuse them",
    Fate.NEW: "nothing computed before is like them",
}


@dataclass(frozen=True, slots=True)
class Shares:
    """The prompt tokens of a call site; the three kinds add up to ``prompt``."""

    site: str
    calls: int
    prompt: int
    cached: int
    wasted: int
    computed: int

    @property
    def kinds(self) -> tuple[tuple[str, int, float], ...]:
        """Kind, tokens and share from 0 to 1, in the order in which they are drawn."""
        whole = max(self.prompt, 1)
        kinds = (("cached", self.cached), ("wasted", self.wasted), ("computed", self.computed))
        return tuple((name, count, count / whole) for name, count in kinds)

    @property
    def words(self) -> str:
        return ", ".join(f"{share:.0%} {name}" for name, _, share in self.kinds)


@dataclass(frozen=True, slots=True)
class ShownPart:
    """A part of a prompt; ``hidden`` characters between ``head`` and ``tail`` are left out."""

    part: PromptPart
    why: str
    head: str
    hidden: int
    tail: str
    starts_new: bool


@dataclass(frozen=True, slots=True)
class ShownPrompt:
    """``difference`` is the token that parts this prompt from every earlier one; ``None`` where there is none before
    it."""

    call: CallExplanation
    parts: tuple[ShownPart, ...]
    shares: Shares
    difference: Difference | None

    @property
    def file(self) -> str:
        """Of the call site; empty where it is not in the IR."""
        return self.call.site.rpartition(":")[0]


def site_shares(sites: Sequence[SiteExplanation]) -> tuple[Shares, ...]:
    return tuple(
        Shares(site.site, site.calls, site.prompt, site.cached, site.wasted, site.new - site.repeated) for site in sites
    )


def shown_prompt(view: PromptView) -> ShownPrompt:
    call = view.call
    difference = call.difference
    new_at = None if difference is None else difference.token
    tokens = {kind: sum(part.tokens for part in view.parts if part.fate.kind == kind) for kind in _KINDS}
    return ShownPrompt(
        call,
        tuple(_shown(part, part.first == new_at) for part in view.parts),
        Shares(call.site, 1, call.prompt, tokens["cached"], tokens["wasted"], tokens["computed"]),
        difference if difference is not None and difference.token else None,
    )


_KINDS = ("cached", "wasted", "computed")


def _shown(part: PromptPart, starts_new: bool) -> ShownPart:
    text = part.text
    if len(text) <= HEAD + TAIL:
        return ShownPart(part, FATES[part.fate], text, 0, "", starts_new)
    return ShownPart(part, FATES[part.fate], text[:HEAD], len(text) - HEAD - TAIL, text[-TAIL:], starts_new)


def place(origin: Origin) -> str:
    """File and line of what put a token into the prompt; empty where only the value is known."""
    return "" if origin.file is None else f"{origin.file}:{origin.line}"


def inline(text: str) -> str:
    """A text on one line, with signs for the ends of lines, and for all white space where there is nothing else."""
    return visible_space(text) if text.isspace() else text.replace("\n", "↵")


def short_origin(what: str) -> str:
    """``the output of process#1``, without the file and class of the call site."""
    words = what.rpartition(" ")
    return f"{words[0]} {short_id(words[2])}" if "#" in words[2] else what
