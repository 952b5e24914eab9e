"""Recorded calls of runs, as the report shows them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from charter_compiler.executor.recording import RecordingComparison, read_recording
from charter_compiler.predict.prediction import SitePrediction
from charter_compiler.report.model import CallTiming, OutputDifference, RunTimeline, SiteRates


def timeline(label: str, recording: Path) -> RunTimeline:
    """The timeline of a recorded run; warm-ups belong to no item and are left out.

    Raises:
        InputsError: the recording cannot be read.
    """
    timings = tuple(
        CallTiming(
            item=call["item"],
            call=call["call"] or "unknown call site",
            submitted=call["submitted_s"],
            sent=call["sent_s"],
            first_token=call["first_token_s"],
            end=call["done_s"],
            prompt_tokens=call["prompt_tokens"],
            cached_tokens=call["cached_tokens"],
        )
        for call in read_recording(recording)
        if call["item"] is not None
    )
    return RunTimeline(label, timings)


def site_rates(
    label: str, recording: Path, predicted: Sequence[SitePrediction], *, simulated: bool = False
) -> tuple[SiteRates, ...]:
    """Predicted and measured (or ``simulated``) hit rates of a recorded run by call site, in the order of the sites'
    first calls; calls that no engine answered are left out.

    Raises:
        InputsError: the recording cannot be read.
    """
    rates = {prediction.site: prediction.hit_rate for prediction in predicted}
    calls: dict[str, list[dict[str, Any]]] = {}
    for call in read_recording(recording):
        if not call["memoized"]:
            name = "warm-up" if call["item"] is None else call["call"] or "unknown call site"
            calls.setdefault(name, []).append(call)
    return tuple(
        SiteRates(
            label,
            site,
            len(group),
            _sum(group, "prompt_tokens"),
            _sum(group, "cached_tokens"),
            rates.get(site),
            simulated,
        )
        for site, group in calls.items()
    )


def _sum(calls: Sequence[dict[str, Any]], key: str) -> int | None:
    values = [call[key] for call in calls]
    return None if None in values else sum(values)


def difference(first: str, second: str, comparison: RecordingComparison) -> OutputDifference:
    """How two recorded runs differ; ``first`` and ``second`` are their labels."""
    return OutputDifference(
        first,
        second,
        compared=comparison.compared,
        not_compared=comparison.not_compared,
        different_prompts=len(comparison.different_prompts),
        different_outputs=len(comparison.different_outputs),
    )
