"""The same agent and inputs as written, optimized and laid out, each on an engine that starts cold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from charter_compiler.api.measured_run import measured_run
from charter_compiler.api.run_report import RunReport, report_of_runs
from charter_compiler.api.run_request import RunObserver, RunRequest
from charter_compiler.diagnostics.errors import UsageError
from charter_compiler.executor.defaults import LOCAL
from charter_compiler.executor.recording import RecordingComparison, compare_recordings, recording_path
from charter_compiler.executor.scheduler.mode import Mode
from charter_compiler.plan.execution_plan import ExecutionPlan
from charter_compiler.report.model import ReportData
from charter_compiler.report.notebook import notebook_html
from charter_compiler.report.savings import Pricing

BASELINE, OPTIMIZED, LAID_OUT = str(Mode.BASELINE), str(Mode.OPTIMIZED), "laid_out"

LABELS = {
    BASELINE: "as written (baseline)",
    OPTIMIZED: "exact passes",
    LAID_OUT: "with layout",
}
NOTES = (
    "Each run had an embedded server of its own, which started with an empty cache. "
    "The engine's prefix cache was on in all.",
    f"{LABELS[OPTIMIZED]}: every prompt was sent token for token as written.",
    f"{LABELS[LAID_OUT]}: the same values and instructions in another order.",
)


@dataclass(frozen=True, slots=True)
class SideBySide:
    """Two runs, and their calls compared: whether both sent the same prompts, and where the engine answered the same
    prompt differently. ``laid_out`` is a third, whose prompts are other ones."""

    baseline: RunReport
    optimized: RunReport
    comparison: RecordingComparison
    laid_out: RunReport | None = None

    @property
    def reports(self) -> tuple[RunReport, ...]:
        """The runs in their order."""
        found = (self.baseline, self.optimized, self.laid_out)
        return tuple(report for report in found if report is not None)

    def report(self, title: str, pricing: Pricing | None = None, notes: Sequence[str] = ()) -> ReportData:
        """The report of all runs.

        Raises:
            InputsError: recorded calls cannot be read.
        """
        labelled = list(zip(LABELS.values(), self.reports, strict=False))
        return report_of_runs(title, labelled, pricing, self.comparison, (*NOTES[: len(labelled)], *notes))

    def _repr_html_(self) -> str:
        """The report in a notebook."""
        return notebook_html(self.report(f"Side by side: {self.baseline.entry.rpartition(':')[2]}"))


def run_side_by_side(
    request: RunRequest,
    folder: Path,
    observer_of: Callable[[str], RunObserver] = lambda name: RunObserver(),
    layout_plan: ExecutionPlan | None = None,
) -> SideBySide:
    """Run baseline, then optimized, then, if a plan with a layout is given, laid out; each on an embedded server
    started for it, with recorded calls.

    ``request.output`` and ``options.mode`` are replaced: the runs write to ``baseline.jsonl``, ``optimized.jsonl`` and
    ``laid_out.jsonl`` in ``folder``, which is created; the observer is asked for by these names.

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

    def run(name: str, mode: Mode, plan: ExecutionPlan | None, layout: bool = False) -> RunReport:
        one = replace(
            request,
            output=folder / f"{name}.jsonl",
            options=replace(request.options, mode=mode),
            plan=plan,
            layout=layout,
            target_options=replace(request.target_options, fresh_server=True),
            record=True,
            explain=True,
            resume=False,
        )
        report = measured_run(one, observer_of(name))
        if report.stopped is not None:
            raise report.stopped
        if report.interrupted:
            raise KeyboardInterrupt
        return report

    baseline = run(BASELINE, Mode.BASELINE, request.plan)
    optimized = run(OPTIMIZED, Mode.OPTIMIZED, request.plan)
    comparison = compare_recordings(recording_path(baseline.rows), recording_path(optimized.rows))
    if layout_plan is None or not layout_plan.layouts:
        return SideBySide(baseline, optimized, comparison)
    return SideBySide(baseline, optimized, comparison, run(LAID_OUT, Mode.OPTIMIZED, layout_plan, layout=True))
