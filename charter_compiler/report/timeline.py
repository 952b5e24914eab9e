"""The calls of a run over time, one line an item: where it waits for a first token and where it writes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from charter_compiler.report.metrics import count, seconds
from charter_compiler.report.model import CallTiming, RunTimeline
from charter_compiler.report.prompt_blocks import short_id

WIDTH = 1000
LABEL_WIDTH = 64
LINE_HEIGHT = 18
AXIS_HEIGHT = 26
MAX_ITEMS = 60
"""Items shown of a run; the section says how many there are."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One call, in pixels: ``queued`` from where it was submitted, ``x`` where it was sent, ``split`` where its first
    token came, ``end``. ``color`` counts the call sites of the report in order of appearance; ``timing`` is the call
    itself."""

    queued: float
    x: float
    split: float | None
    end: float
    y: int
    color: int
    timing: CallTiming

    @property
    def title(self) -> str:
        """Its figures, for a pointer that rests on it; the table beside the picture has them too."""
        timing = self.timing
        return (
            f"item {timing.item}, {short_id(timing.call)}: {seconds(timing.latency_s)}, "
            f"first token after: {seconds(timing.ttft_s)}, in Charter's queue before: {seconds(timing.queued_s)}, "
            f"prompt tokens: {count(timing.prompt_tokens)}, cached: {count(timing.cached_tokens)}"
        )


@dataclass(frozen=True, slots=True)
class Tick:
    x: float
    label: str


@dataclass(frozen=True, slots=True)
class Chart:
    label: str
    height: int
    items: tuple[tuple[int, int], ...]
    bars: tuple[Bar, ...]
    ticks: tuple[Tick, ...]
    hidden_items: int


def charts(timelines: Sequence[RunTimeline]) -> tuple[tuple[Chart, ...], tuple[str, ...]]:
    """All runs on one scale, so that lengths compare; and the call sites in the order of their colours."""
    longest = max((timing.end for run in timelines for timing in run.timings), default=0.0) or 1.0
    sites = tuple(dict.fromkeys(timing.call for run in timelines for timing in run.timings))
    return tuple(_chart(run, longest, sites) for run in timelines if run.timings), sites


def _chart(run: RunTimeline, longest: float, sites: Sequence[str]) -> Chart:
    everything = sorted({timing.item for timing in run.timings})
    shown = {item: line for line, item in enumerate(everything[:MAX_ITEMS])}
    scale = (WIDTH - LABEL_WIDTH) / longest
    bars = tuple(
        Bar(
            queued=_pixels(timing.submitted, scale),
            x=_pixels(timing.sent, scale),
            split=None if timing.first_token is None else _pixels(timing.first_token, scale),
            end=_pixels(timing.end, scale),
            y=shown[timing.item] * LINE_HEIGHT,
            color=sites.index(timing.call),
            timing=timing,
        )
        for timing in run.timings
        if timing.item in shown
    )
    step = _step(longest)
    marks = [number * step for number in range(int(longest / step) + 1)]
    return Chart(
        label=run.label,
        height=len(shown) * LINE_HEIGHT + AXIS_HEIGHT,
        items=tuple((item, line * LINE_HEIGHT) for item, line in shown.items()),
        bars=bars,
        ticks=tuple(Tick(_pixels(mark, scale), f"{mark:g} s") for mark in marks),
        hidden_items=len(everything) - len(shown),
    )


def _pixels(time: float, scale: float) -> float:
    return round(LABEL_WIDTH + time * scale, 1)


def _step(longest: float) -> float:
    """1, 2 or 5 times a power of ten, so that about eight marks fit."""
    raw = longest / 8
    power = 10.0 ** math.floor(math.log10(raw))
    return float(next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw))
