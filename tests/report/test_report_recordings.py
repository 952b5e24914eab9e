from __future__ import annotations

from pathlib import Path

from report_sample import call_id

from charter_compiler.executor.calls import CallRecord, CallSite
from charter_compiler.executor.recording import Recorder, compare_recordings
from charter_compiler.executor.types import GenerationRequest, GenerationResult
from charter_compiler.report.model import CallTiming, OutputDifference
from charter_compiler.report.recordings import difference, timeline


def record(item: int | None, ordinal: int, text: str, *, site: CallSite | None = None, prompt: str = "p") -> CallRecord:
    return CallRecord(
        item=item,
        ordinal=ordinal,
        site=site,
        request=GenerationRequest(prompt=prompt),
        result=GenerationResult(text, 1.0, 0.5, prompt_tokens=100, cached_tokens=None, output_tokens=3),
        submitted=1.0,
        sent=1.5,
        first_token=2.0,
        done=2.5,
        attainable_tokens=None,
    )


def write(path: Path, *records: CallRecord) -> Path:
    with Recorder(path) as recorder:
        for entry in records:
            recorder.write(entry)
    return path


def test_timeline_of_a_recording(tmp_path: Path) -> None:
    path = write(
        tmp_path / "calls.jsonl",
        record(None, 0, "warm-up"),
        record(0, 0, "x", site=CallSite("agent.py", 7, call_id(1))),
        record(0, 1, "y", site=CallSite("agent.py", 9)),
        record(1, 0, "z"),
    )
    result = timeline("optimized", path)
    assert result.label == "optimized"
    assert result.timings[0] == CallTiming(0, call_id(1), 1.0, 1.5, 2.0, 2.5, prompt_tokens=100, cached_tokens=None)
    assert [timing.call for timing in result.timings] == [call_id(1), "agent.py:9", "unknown call site"]


def test_difference_of_two_recordings(tmp_path: Path) -> None:
    first = write(tmp_path / "a", record(0, 0, "same"), record(0, 1, "one"), record(1, 0, "x"), record(1, 1, "y"))
    second = write(
        tmp_path / "b",
        record(0, 0, "same"),
        record(0, 1, "other"),
        record(1, 0, "x", prompt="another"),
        record(1, 1, "y"),
    )
    found = difference("baseline", "optimized", compare_recordings(first, second))
    assert found == OutputDifference(
        "baseline", "optimized", compared=3, not_compared=1, different_prompts=1, different_outputs=1
    )
