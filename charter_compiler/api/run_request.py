"""What to run, and who is told how it goes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from pathlib import Path

from charter_compiler.api.memo import MemoOptions
from charter_compiler.executor.defaults import LOCAL
from charter_compiler.executor.inputs import InputRow, read_inputs
from charter_compiler.executor.metrics import Tally
from charter_compiler.executor.redis_address import RedisAddress
from charter_compiler.executor.run.options import RunOptions
from charter_compiler.executor.targets import OpenTarget, TargetOptions
from charter_compiler.plan.execution_plan import ExecutionPlan


class PredictWhen(StrEnum):
    """When the agent's control flow may run once more, without a model, for the prediction."""

    PURE = "pure"
    """If no effect on the outside is seen in its code."""
    ALWAYS = "always"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What to run.

    Args:
        entry: ``path/to/file.py:Qualified.name``.
        inputs: JSON Lines.
        output: rows go there, ``OUTPUT.metrics.json`` and the journal beside it, with ``record`` the calls too.
        journal: the server that keeps the journal instead, so that any machine may resume the run.
        target: as ``executor.targets`` names it; several with commas, or a file of them (``executor.fleet.addresses``).
        plan: the plan to follow; made for the target if there is none.
        limit: only so many rows from the start of the inputs.
        layout: send prompts in the order that the layout pass finds, in baseline mode too.
        wording: the layout may change words, see ``passes.layout``; for a plan that is made here.
        explain: the prediction says where each prompt token goes, for the report.
        resume: go on with the journal.
        hints: send the plan's hints beside the calls, in optimized mode, where the target takes some.
        log: the structured log goes there, see ``executor.call_log``.
        memo: answer repeated calls from the memo store and keep answers there, in optimized mode; ``None`` for neither.
    """

    entry: str
    inputs: Path
    output: Path
    target: str = LOCAL
    target_options: TargetOptions = field(default_factory=TargetOptions)
    options: RunOptions = field(default_factory=RunOptions)
    plan: ExecutionPlan | None = None
    predict: PredictWhen = PredictWhen.PURE
    limit: int | None = None
    record: bool = False
    layout: bool = False
    wording: bool = True
    explain: bool = False
    resume: bool = False
    journal: RedisAddress | None = None
    memo: MemoOptions | None = None
    hints: bool = False
    log: Path | None = None


class RunObserver:
    """Told how a run goes; this one ignores it. Every method is called in the thread of the event loop."""

    def opening(self, target: str) -> None:
        """The target is being connected to, or started."""

    def opened(self, target: OpenTarget) -> None:
        """It answers."""

    def predicting(self, items: int) -> None:
        """The prediction is being made."""

    def running(self, items: int) -> None:
        """The first item is about to start."""

    def progress(self, tally: Tally) -> None:
        """A call was answered, or an item finished."""

    def interrupted(self, times: int) -> None:
        """Ctrl-C was pressed, so often: the first time the running items finish, the second time they do not."""

    def finished(self) -> None:
        """No more items run."""


def metrics_path(output: Path) -> Path:
    """Where the figures of a run lie."""
    return output.with_name(output.name + ".metrics.json")


def rows_of(request: RunRequest) -> Iterator[InputRow]:
    """Of the inputs, as many as the request wants. Raises InputsError."""
    return islice(read_inputs(request.inputs), request.limit)
