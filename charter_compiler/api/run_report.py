"""What a run was, and the report of one run or several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from charter_compiler.api.environment import describe_environment
from charter_compiler.diagnostics.errors import CharterError
from charter_compiler.executor.metrics import RunMetrics
from charter_compiler.executor.recording import RecordingComparison
from charter_compiler.executor.results import RowError
from charter_compiler.ir.nodes import Call
from charter_compiler.plan.execution_plan import ExecutionPlan
from charter_compiler.predict.explain import by_site
from charter_compiler.predict.planning import Analysis
from charter_compiler.predict.prediction import Prediction
from charter_compiler.report.metrics import RunFigures
from charter_compiler.report.model import ReportData
from charter_compiler.report.notebook import notebook_html
from charter_compiler.report.recordings import difference, site_rates, timeline
from charter_compiler.report.savings import Pricing
from charter_compiler.tokens.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class RunReport:
    """What a run was. ``plan`` is the one that it followed, ``None`` on a target whose tokens and blocks are not known;
    so are ``tokenizer`` and ``analysis``, which is of the ``calls`` as they were sent. ``stopped`` is why it ended
    early, ``None`` if it did not; ``notes`` are lines for the user."""

    entry: str
    model: str | None
    metrics: RunMetrics
    prediction: Prediction | None
    plan: ExecutionPlan | None
    rows: Path
    metrics_file: Path
    recording: Path | None
    interrupted: bool
    stopped: CharterError | None
    first_error: tuple[int, RowError] | None
    notes: tuple[str, ...]
    calls: tuple[Call, ...] = ()
    tokenizer: Tokenizer | None = None
    analysis: Analysis | None = None

    def report(self, pricing: Pricing | None = None) -> ReportData:
        """The report of this run alone.

        Raises:
            InputsError: the recorded calls cannot be read.
        """
        return report_of_runs(f"Run: {self.entry.rpartition(':')[2]}", [(self.metrics.mode, self)], pricing)

    def _repr_html_(self) -> str:
        """The report in a notebook."""
        return notebook_html(self.report())


def report_of_runs(
    title: str,
    runs: Sequence[tuple[str, RunReport]],
    pricing: Pricing | None = None,
    comparison: RecordingComparison | None = None,
    notes: Sequence[str] = (),
) -> ReportData:
    """The report of labelled runs of one agent. Timelines and rates by call site are of the runs that were recorded;
    a simulated one has no timeline, for its times are no engine's. Where tokens go is what was predicted for the last
    run. ``comparison`` is of the first two.

    Raises:
        InputsError: recorded calls cannot be read.
    """
    last = runs[-1][1]
    prediction, analysis, tokenizer = last.prediction, last.analysis, last.tokenizer
    recorded = [(label, report, report.recording) for label, report in runs if report.recording is not None]
    own_notes = dict.fromkeys(note for _, report in runs for note in report.notes)
    return ReportData(
        title=title,
        entry=last.entry,
        target=last.metrics.target,
        model=last.model,
        environment=describe_environment(),
        runs=tuple(RunFigures.from_mapping(label, report.metrics.to_json()) for label, report in runs),
        pricing=pricing or Pricing(),
        misses=() if prediction is None else by_site(prediction.explained),
        views=() if prediction is None else prediction.views,
        block_size=None if last.plan is None else last.plan.block_size,
        capacity_blocks=None if last.plan is None else last.plan.capacity_blocks,
        sites=tuple(
            site
            for label, report, file in recorded
            for site in site_rates(
                label,
                file,
                () if report.prediction is None else report.prediction.sites,
                simulated=report.metrics.simulated,
            )
        ),
        calls=last.calls,
        count_tokens=None if tokenizer is None else lambda text: len(tokenizer.encode(text)),
        opportunities=() if analysis is None else analysis.opportunities,
        patterns=() if analysis is None else analysis.patterns,
        differences=() if comparison is None else (difference(runs[0][0], runs[1][0], comparison),),
        endpoints=last.metrics.endpoints,
        imbalance=last.metrics.imbalance,
        timelines=tuple(timeline(label, file) for label, report, file in recorded if not report.metrics.simulated),
        notes=(*notes, *own_notes),
    )
