"""What a report shows, as plain data. Rendering it is a pure function of it: the same data give the same bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from charter_compiler.analysis.patterns import Pattern
from charter_compiler.analysis.prefix_analyzer import PrefixOpportunity
from charter_compiler.executor.metrics import EndpointMetrics
from charter_compiler.ir.nodes import Call
from charter_compiler.predict.capacity import CapacityPoint
from charter_compiler.predict.explain import SiteExplanation
from charter_compiler.predict.prompt_view import PromptView
from charter_compiler.report.metrics import RunFigures
from charter_compiler.report.savings import Pricing


@dataclass(frozen=True, slots=True)
class CallTiming:
    """One call of one item, in seconds from the start of its run.

    From ``submitted`` to ``sent`` it waited in Charter's own queue; ``first_token`` is ``None`` where it was not seen.
    ``call`` is the call's id, or file and line where no call site of the IR was found.
    """

    item: int
    call: str
    submitted: float
    sent: float
    first_token: float | None
    end: float
    prompt_tokens: int | None = None
    cached_tokens: int | None = None

    @property
    def queued_s(self) -> float:
        """Seconds in Charter's own queue."""
        return self.sent - self.submitted

    @property
    def ttft_s(self) -> float | None:
        """Seconds from when it was sent to its first token."""
        return None if self.first_token is None else self.first_token - self.sent

    @property
    def latency_s(self) -> float:
        """Seconds from when it was sent to its end."""
        return self.end - self.sent


@dataclass(frozen=True, slots=True)
class RunTimeline:
    """The calls of one run; ``label`` is that of its ``RunFigures``."""

    label: str
    timings: tuple[CallTiming, ...]


@dataclass(frozen=True, slots=True)
class OutputDifference:
    """Two runs call by call, where the earlier outputs of the item were the same in both.

    ``different_prompts`` of the ``compared`` calls sent other prompts (none, if both runs are exact);
    ``different_outputs`` sent the same prompt and got another output. ``first`` and ``second`` are labels of runs.
    """

    first: str
    second: str
    compared: int
    not_compared: int
    different_prompts: int
    different_outputs: int


@dataclass(frozen=True, slots=True)
class SiteRates:
    """One call site in one run. ``predicted`` is its token hit rate before the run; ``cached_tokens`` of its
    ``prompt_tokens`` were measured, or ``simulated``; ``None`` where the target does not report them."""

    run: str
    site: str
    calls: int
    prompt_tokens: int | None
    cached_tokens: int | None
    predicted: float | None
    simulated: bool = False

    @property
    def hit_rate(self) -> float | None:
        if self.cached_tokens is None or not self.prompt_tokens:
            return None
        return self.cached_tokens / self.prompt_tokens


@dataclass(frozen=True, slots=True)
class PassSaving:
    """Prompt tokens that a pass saves, as predicted."""

    name: str
    saved_tokens: int


@dataclass(frozen=True, slots=True)
class ReportData:
    """One report. Everything but the first four fields may be missing; a section without data is left out.

    ``environment`` are facts such as hardware, versions and commit, in the order to show them. ``count_tokens``
    counts the tokens of a text by itself, with the target's tokenizer. ``misses``, ``views`` and ``curve`` are of the
    planned run, as predicted, on a cache of ``capacity_blocks`` blocks of ``block_size`` tokens; ``sites`` are of the
    runs that were measured.
    ``endpoints`` are those of the last run, where it had several, with how far the largest load lies above the mean.
    ``notes`` are sentences for the reader: what was not measured, what limits the figures.
    """

    title: str
    entry: str
    target: str
    model: str | None
    environment: tuple[tuple[str, str], ...] = ()
    runs: tuple[RunFigures, ...] = ()
    passes: tuple[PassSaving, ...] = ()
    pricing: Pricing = field(default_factory=Pricing)
    misses: tuple[SiteExplanation, ...] = ()
    views: tuple[PromptView, ...] = ()
    curve: tuple[CapacityPoint, ...] = ()
    block_size: int | None = None
    capacity_blocks: int | None = None
    sites: tuple[SiteRates, ...] = ()
    calls: tuple[Call, ...] = ()
    count_tokens: Callable[[str], int] | None = None
    opportunities: tuple[PrefixOpportunity, ...] = ()
    patterns: tuple[Pattern, ...] = ()
    differences: tuple[OutputDifference, ...] = ()
    endpoints: tuple[EndpointMetrics, ...] = ()
    imbalance: float | None = None
    timelines: tuple[RunTimeline, ...] = ()
    notes: tuple[str, ...] = ()
