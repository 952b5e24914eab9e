"""What ``compile`` found and decided, and the files that it is written to."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from charter_compiler.analysis.gpu_memory import PRICE_CLAIM
from charter_compiler.analysis.patterns import Pattern
from charter_compiler.analysis.prefix_analyzer import PrefixOpportunity
from charter_compiler.api.agent_output import write_agent
from charter_compiler.api.details import Details
from charter_compiler.api.environment import describe_environment
from charter_compiler.config.engines import EngineConfigs, Evidence, overrides_template
from charter_compiler.config.files import write_files
from charter_compiler.config.routers.files import ROUTERS, router_files
from charter_compiler.config.settings import OVERRIDES_FILE, read_overrides
from charter_compiler.config.sizes import SIZES
from charter_compiler.config.target import EngineName, EngineTarget
from charter_compiler.diagnostics.errors import OutputError
from charter_compiler.executor.results import write_json
from charter_compiler.ir.nodes import Call
from charter_compiler.passes.layout import Layout
from charter_compiler.passes.pipeline import Ran
from charter_compiler.passes.source_layout import SourceRewrite
from charter_compiler.plan.execution_plan import ExecutionPlan
from charter_compiler.predict.prediction import Prediction
from charter_compiler.report.files import write_report_files
from charter_compiler.report.metrics import RunFigures
from charter_compiler.report.model import PassSaving, ReportData
from charter_compiler.report.notebook import notebook_html
from charter_compiler.report.savings import Pricing
from charter_compiler.tokens.tokenizer import Tokenizer

AS_WRITTEN = "as written"
PLANNED = "planned"


@dataclass(frozen=True, slots=True)
class Rates:
    """Token hit rates and tokens of one way to run; ``None`` where they could not be predicted. Without inputs there is
    only ``hit_rate``, and it is the one of the templates' constant text."""

    hit_rate: float | None = None
    attainable_hit_rate: float | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None

    @classmethod
    def of(cls, prediction: Prediction) -> Rates:
        return cls(
            prediction.hit_rate, prediction.attainable_hit_rate, prediction.prompt_tokens, prediction.cached_tokens
        )

    @property
    def computed_tokens(self) -> int | None:
        """Prompt tokens that are not taken from the cache."""
        if self.prompt_tokens is None or self.cached_tokens is None:
            return None
        return self.prompt_tokens - self.cached_tokens

    def to_json(self) -> dict[str, Any]:
        """The keys in ``DIR/prediction.json``."""
        return {
            "hit_rate": self.hit_rate,
            "attainable_hit_rate": self.attainable_hit_rate,
            "prompt_tokens": self.prompt_tokens,
        }


@dataclass(frozen=True, slots=True)
class Compilation:
    """What the compiler found and decided. ``root`` is the folder that the agent's imports start from. ``inputs`` is
    the number of rows that the rates were predicted over; with 0 they come from the templates, and there are no
    ``details``. ``notes`` are lines for the user: what was left out, and why. ``ran`` are the passes over calls;
    ``layout`` is what the layout pass did, ``None`` where none was asked for; ``rewrites`` are the sources that it
    changes. Configuration is written of ``engines``, for ``engine_target``, with the ``evidence`` of predicted
    requests; with several ``replicas``, what routers before them take too."""

    plan: ExecutionPlan
    root: Path
    calls: tuple[Call, ...]
    opportunities: tuple[PrefixOpportunity, ...]
    patterns: tuple[Pattern, ...]
    tokenizer: Tokenizer
    notes: tuple[str, ...]
    inputs: int = 0
    as_written: Rates = Rates()
    planned: Rates = Rates()
    passes: tuple[PassSaving, ...] = ()
    ran: tuple[Ran, ...] = ()
    layout: Layout | None = None
    rewrites: tuple[SourceRewrite, ...] = ()
    engine_target: EngineTarget = field(default_factory=EngineTarget)
    engines: tuple[EngineName, ...] = tuple(EngineName)
    evidence: Evidence = field(default_factory=Evidence)
    details: Details | None = None
    pricing: Pricing = field(default_factory=Pricing)
    replicas: int = 1

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
        details = Details((), ()) if self.details is None else self.details
        written, planned = (None, None)
        if details.seconds is not None:
            written, planned = details.seconds.as_written, details.seconds.planned
        figures = [(AS_WRITTEN, self.as_written, written), (PLANNED, self.planned, planned)] if self.inputs else []
        return ReportData(
            title=f"Compiled: {self.plan.entry.rpartition(':')[2]}",
            entry=self.plan.entry,
            target=self.plan.target,
            model=self.plan.model,
            runs=tuple(
                RunFigures(
                    label,
                    prompt_tokens=rates.prompt_tokens,
                    cached_tokens=rates.cached_tokens,
                    predicted_hit_rate=rates.hit_rate,
                    attainable_hit_rate=rates.attainable_hit_rate,
                    predicted_wall_s=time,
                )
                for label, rates, time in figures
            ),
            pricing=self.pricing,
            passes=self.passes,
            misses=details.sites,
            views=details.views,
            curve=details.curve,
            block_size=self.plan.block_size,
            capacity_blocks=self.plan.capacity_blocks,
            environment=describe_environment(),
            calls=self.calls,
            count_tokens=lambda text: len(self.tokenizer.encode(text)),
            opportunities=self.opportunities,
            patterns=self.patterns,
            notes=(*self.notes, *_gpu_notes(details)),
        )

    def _repr_html_(self) -> str:
        """The report in a notebook."""
        return notebook_html(self.report())

    def write(self, folder: Path) -> tuple[Path, ...]:
        """Write plan, prediction, report, configuration and the agent's sources below ``folder``; returns the paths.

        Sources are copied byte for byte, but for those that ``rewrites`` change. Agent and configuration of an
        earlier compilation in the same folder are removed first; ``overrides.yaml`` is a person's, and is kept.

        Raises:
            OutputError, ConfigError: something cannot be written, or would replace files that no compilation wrote.
        """
        config = folder / "config" / config_name(self.plan.target)
        configs = self._configs(config)
        by_hand = _text_of(config / OVERRIDES_FILE) or overrides_template(self.plan)
        self._remove_earlier(folder, [folder / "agent", config])
        plan, prediction, report = folder / "plan.json", folder / "prediction.json", folder / "report.html"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            plan.write_text(self.plan.to_json(), encoding="utf-8")
            agent = write_agent(self.plan, self.root, self.rewrites, self.tokenizer, folder / "agent")
        except OSError as error:
            raise OutputError(
                f"cannot be written: {error.strerror}", place=str(folder), remedy="choose another folder with -o"
            ) from error
        write_json(prediction, self.prediction_json())
        details = self._write_details(folder)
        page, machine = write_report_files(self.report(), report)
        written = write_files(config, {**configs, OVERRIDES_FILE: by_hand})
        return (plan, prediction, *details, page, machine, *written, *agent)

    def _write_details(self, folder: Path) -> tuple[Path, ...]:
        """``details.json``, or none: then one of an earlier compilation is removed."""
        path = folder / "details.json"
        if self.details is None:
            path.unlink(missing_ok=True)
            return ()
        write_json(path, self.details.to_json())
        return (path,)

    def _configs(self, folder: Path) -> dict[str, str]:
        """Configuration of each engine, by path below ``folder``; values decided by hand there count."""
        overrides = read_overrides(folder, SIZES)
        made = EngineConfigs(self.plan, self.engine_target, self.evidence, overrides)
        files = {f"{engine}/{path}": text for engine in self.engines for path, text in made.files(engine).items()}
        if self.replicas > 1:
            files |= {f"{ROUTERS}/{path}": text for path, text in router_files(made, self.replicas).items()}
        return files

    def _remove_earlier(self, folder: Path, owned: Sequence[Path]) -> None:
        # A person may have put overrides.yaml there before the first compilation.
        full = [path for path in owned if path.is_dir() and {one.name for one in path.iterdir()} - {OVERRIDES_FILE}]
        sources = [Path(source.path).resolve() for source in self.plan.sources]
        for path in full:
            if not _is_compiled(folder) or any(source.is_relative_to(path.resolve()) for source in sources):
                raise OutputError(
                    "holds files that charter compile did not write",
                    place=str(path),
                    remedy="choose another folder with -o",
                )
        try:
            for path in full:
                shutil.rmtree(path)
        except OSError as error:
            raise OutputError(
                f"cannot be removed: {error.strerror}", place=str(folder), remedy="choose another folder with -o"
            ) from error


def _gpu_notes(details: Details) -> list[str]:
    """What the cache that was searched for costs on the GPU that was named."""
    memory = None if details.sizing is None else details.sizing.memory
    if memory is None:
        return []
    return [
        f"{memory.gpus} x {memory.gpu.name} would hold the weights and a cache of {memory.blocks:,} blocks, for "
        f"${memory.usd_per_hour:.2f} an hour ({PRICE_CLAIM})"
    ]


def config_name(target: str) -> str:
    """Folder of a target's configuration: its scheme."""
    return target.partition("://")[0]


def _text_of(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


def _is_compiled(folder: Path) -> bool:
    """Whether a compilation was written there, of whatever version: it has a plan."""
    try:
        plan = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(plan, dict) and {"version", "entry", "sources"} <= plan.keys()
