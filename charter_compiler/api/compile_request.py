"""What to compile, and for what."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from charter_compiler.api.agent_output import CallOptions
from charter_compiler.api.engine_target import ConfigOptions
from charter_compiler.api.prediction_details import SizingRequest
from charter_compiler.executor.defaults import LOCAL
from charter_compiler.executor.run.options import RunOptions
from charter_compiler.executor.targets import TargetOptions
from charter_compiler.report.savings import Pricing


@dataclass(frozen=True, slots=True)
class CompileRequest:
    """What to compile, and for what.

    ``inputs`` (JSON Lines) are what the predictions are made over; without them rates come from the templates alone.
    ``block_size`` and ``capacity_blocks`` override the target's. ``allow_effects``: predict although the agent's code,
    which a prediction runs, may act on the outside. ``options`` say how the plan will be run, ``config`` for which
    engines and GPUs configuration is written. ``layout``: prompts may be put into another order, and, with ``wording``,
    labels of one value made one; see ``passes.layout``. ``call_options``: what is rewritten of the calls
    themselves. ``outputs_of``: the rows of an earlier run, whose recorded outputs stand in for the model's.
    ``sizing``: search for the cache's size too. ``pricing``: what the user pays, for the report.
    ``replicas``: of the engine, for which files of routers and deployments are written too; 1 for none.
    """

    entry: str
    inputs: Path | None = None
    target: str = LOCAL
    target_options: TargetOptions = field(default_factory=TargetOptions)
    options: RunOptions = field(default_factory=RunOptions)
    config: ConfigOptions = field(default_factory=ConfigOptions)
    block_size: int | None = None
    capacity_blocks: int | None = None
    limit: int | None = None
    allow_effects: bool = False
    layout: bool = False
    wording: bool = True
    call_options: CallOptions = field(default_factory=CallOptions)
    outputs_of: Path | None = None
    sizing: SizingRequest | None = None
    pricing: Pricing = field(default_factory=Pricing)
    replicas: int = 1
