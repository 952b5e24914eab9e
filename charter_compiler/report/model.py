"""What a report shows, as plain data. Rendering it is a pure function of it: the same data give the same bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from charter_compiler.analysis.patterns import Pattern
from charter_compiler.ir.nodes import Call
from charter_compiler.report.metrics import RunMetrics


class SharedPrefix(Protocol):
    """What the report reads of a ``PrefixOpportunity``: the constant text, its tokens, the calls that begin with it."""

    @property
    def pattern(self) -> str: ...
    @property
    def prefix(self) -> str: ...
    @property
    def priority(self) -> int: ...
    @property
    def cache_id(self) -> int: ...
    @property
    def nodes(self) -> Sequence[str]: ...
    @property
    def shared_prefix_length(self) -> int: ...


@dataclass(frozen=True, slots=True)
class CallTiming:
    """One call of one item, in seconds from the start of its run; ``first_token`` is ``None`` where it was not seen.

    ``call`` is the call's id, or another name where the call could not be matched to a call site.
    """

    item: int
    call: str
    start: float
    first_token: float | None
    end: float
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    failed: bool = False


@dataclass(frozen=True, slots=True)
class RunTimeline:
    """The calls of one run; ``label`` is that of its ``RunMetrics``."""

    label: str
    timings: tuple[CallTiming, ...]


@dataclass(frozen=True, slots=True)
class OutputDifference:
    """How often two runs answered the same call differently, with greedy decoding and the same prompt tokens."""

    first: str
    second: str
    compared: int
    differing: int


@dataclass(frozen=True, slots=True)
class PassSaving:
    """Prompt tokens that a pass saves, as predicted."""

    name: str
    saved_tokens: int


@dataclass(frozen=True, slots=True)
class ReportData:
    """One report. Everything but the first four fields may be missing; a section without data is left out.

    ``environment`` are facts such as hardware, versions and commit, in the order to show them. ``segment_tokens`` gives
    for a call id the tokens of its top-level segments in the order sent, ``None`` where they depend on the input.
    ``notes`` are sentences for the reader: what was not measured, what limits the figures.
    """

    title: str
    entry: str
    target: str
    model: str | None
    environment: tuple[tuple[str, str], ...] = ()
    runs: tuple[RunMetrics, ...] = ()
    passes: tuple[PassSaving, ...] = ()
    calls: tuple[Call, ...] = ()
    segment_tokens: Mapping[str, Sequence[int | None]] = field(default_factory=dict)
    opportunities: Sequence[SharedPrefix] = ()
    patterns: tuple[Pattern, ...] = ()
    differences: tuple[OutputDifference, ...] = ()
    timelines: tuple[RunTimeline, ...] = ()
    notes: tuple[str, ...] = ()
