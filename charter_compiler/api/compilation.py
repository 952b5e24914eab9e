"""What ``compile`` found and decided, and the files that it is written to."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from charter_compiler.analysis.patterns import Pattern
from charter_compiler.analysis.prefix_analyzer import PrefixOpportunity
from charter_compiler.api.environment import describe_environment
from charter_compiler.config.trtllm_config import TRTLLMConfigGenerator
from charter_compiler.diagnostics.errors import OutputError
from charter_compiler.executor.results import write_json
from charter_compiler.ir.nodes import Call
from charter_compiler.plan.execution_plan import ExecutionPlan
from charter_compiler.predict.prediction import Prediction
from charter_compiler.report.html import write_report
from charter_compiler.report.metrics import RunFigures
from charter_compiler.report.model import PassSaving, ReportData
from charter_compiler.tokens.tokenizer import Tokenizer

AS_WRITTEN = "as written"
PLANNED = "planned"


@dataclass(frozen=True, slots=True)
class Rates:
    """Token hit rates and prompt tokens of one way to run; ``None`` where they could not be predicted."""

    hit_rate: float | None = None
    attainable_hit_rate: float | None = None
    prompt_tokens: int | None = None

    @classmethod
    def of(cls, prediction: Prediction) -> Rates:
        return cls(prediction.hit_rate, prediction.attainable_hit_rate, prediction.prompt_tokens)

    def to_json(self) -> dict[str, Any]:
        return {
            "hit_rate": self.hit_rate,
            "attainable_hit_rate": self.attainable_hit_rate,
            "prompt_tokens": self.prompt_tokens,
        }


@dataclass(frozen=True, slots=True)
class Compilation:
    """What the compiler found and decided. ``inputs`` is the number of rows that the rates were predicted over; with 0
    they come from the templates. ``notes`` are lines for the user: what was left out, and why."""

    plan: ExecutionPlan
    calls: tuple[Call, ...]
    opportunities: tuple[PrefixOpportunity, ...]
    patterns: tuple[Pattern, ...]
    tokenizer: Tokenizer
    notes: tuple[str, ...]
    inputs: int = 0
    as_written: Rates = Rates()
    planned: Rates = Rates()
    passes: tuple[PassSaving, ...] = ()

    def prediction_json(self) -> dict[str, Any]:
        """The object in ``DIR/prediction.json``."""
        return {
            "inputs": self.inputs,
            "as_written": self.as_written.to_json(),
            "planned": self.planned.to_json(),
            "passes": [{"name": saving.name, "saved_tokens": saving.saved_tokens} for saving in self.passes],
        }

    def report(self) -> ReportData:
        """The report, with predictions only."""
        figures = [(AS_WRITTEN, self.as_written), (PLANNED, self.planned)] if self.inputs else []
        return ReportData(
            title=f"Compiled: {self.plan.entry}",
            entry=self.plan.entry,
            target=self.plan.target,
            model=self.plan.model,
            runs=tuple(
                RunFigures(
                    label,
                    prompt_tokens=rates.prompt_tokens,
                    predicted_hit_rate=rates.hit_rate,
                    attainable_hit_rate=rates.attainable_hit_rate,
                )
                for label, rates in figures
            ),
            passes=self.passes,
            environment=describe_environment(),
            calls=self.calls,
            count_tokens=lambda text: len(self.tokenizer.encode(text)),
            opportunities=self.opportunities,
            patterns=self.patterns,
            notes=self.notes,
        )

    def write(self, folder: Path) -> tuple[Path, ...]:
        """Write plan, prediction, report, configuration and the agent's sources below ``folder``; returns the paths.

        The sources are copied byte for byte: no pass of this version rewrites them.

        Raises:
            OutputError, ConfigError: something cannot be written.
        """
        plan, prediction, report = folder / "plan.json", folder / "prediction.json", folder / "report.html"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            plan.write_text(self.plan.to_json(), encoding="utf-8")
            agent = tuple(_copy(Path(source.path), folder / "agent") for source in self.plan.sources)
        except OSError as error:
            raise OutputError(
                f"cannot be written: {error.strerror}", place=str(folder), remedy="choose another folder with -o"
            ) from error
        write_json(prediction, self.prediction_json())
        write_report(self.report(), report)
        return (plan, prediction, report, *self._write_config(folder / "config"), *agent)

    def _write_config(self, folder: Path) -> tuple[Path, ...]:
        name = config_name(self.plan.target)
        return () if name is None else TRTLLMConfigGenerator().generate(self.plan).write(folder / name)


def config_name(target: str) -> str | None:
    """Folder of a target's configuration; ``None`` for a target whose engine this version writes none for."""
    scheme = target.partition("://")[0]
    return scheme if scheme in ("local", "triton") else None


def _copy(source: Path, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copyfile(source, folder / source.name))
