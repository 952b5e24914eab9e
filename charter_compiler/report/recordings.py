"""Recorded calls of runs, as the report shows them."""

from __future__ import annotations

from pathlib import Path

from charter_compiler.executor.recording import RecordingComparison, read_recording
from charter_compiler.report.model import CallTiming, OutputDifference, RunTimeline


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
