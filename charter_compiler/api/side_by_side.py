"""The same agent and inputs as written and optimized, each on an engine that starts cold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from charter_compiler.api.measured_run import RunObserver, RunReport, RunRequest, measured_run
from charter_compiler.diagnostics.errors import UsageError
from charter_compiler.executor.recording import RecordingComparison, compare_recordings, recording_path
from charter_compiler.executor.scheduler import Mode
from charter_compiler.executor.targets import LOCAL


@dataclass(frozen=True, slots=True)
class SideBySide:
    """Two runs, and their calls compared: whether both sent the same prompts, and where the engine answered the same
    prompt differently."""

    baseline: RunReport
    optimized: RunReport
    comparison: RecordingComparison


def run_side_by_side(
    request: RunRequest, folder: Path, observer_of: Callable[[Mode], RunObserver] = lambda mode: RunObserver()
) -> SideBySide:
    """Run baseline, then optimized, each on an embedded server started for it, with recorded calls.

    ``request.output`` and ``options.mode`` are replaced: the runs write to ``baseline.jsonl`` and ``optimized.jsonl``
    in ``folder``, which is created.

    Raises:
        UsageError: the target is not ``local``: of a server that is not started here, the cache is not cold.
        KeyboardInterrupt: a run was interrupted.
        And what ``measured_run`` raises, or reports as the reason why a run ended early.
    """
    if request.target != LOCAL:
        raise UsageError(
            f"baseline and optimized are compared on the target {LOCAL} alone, where both start with an empty cache",
            remedy="run `charter run --mode baseline` and `--mode optimized` on other targets, restarting the server",
        )
    folder.mkdir(parents=True, exist_ok=True)

    def run(mode: Mode) -> RunReport:
        one = replace(
            request,
            output=folder / f"{mode}.jsonl",
            options=replace(request.options, mode=mode),
            target_options=replace(request.target_options, fresh_server=True),
            record=True,
            resume=False,
        )
        report = measured_run(one, observer_of(mode))
        if report.stopped is not None:
            raise report.stopped
        if report.interrupted:
            raise KeyboardInterrupt
        return report

    baseline, optimized = run(Mode.BASELINE), run(Mode.OPTIMIZED)
    comparison = compare_recordings(recording_path(baseline.rows), recording_path(optimized.rows))
    return SideBySide(baseline, optimized, comparison)
