"""``plan``: how many replicas of a target a run takes, from the models of its cache and its costs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import numpy as np

from charter_compiler.api.calibration import find_calibration
from charter_compiler.api.compile_request import CompileRequest
from charter_compiler.api.compile_target import DescribedTarget, describe_target
from charter_compiler.api.defaults import WINDOW
from charter_compiler.diagnostics.errors import EntryError, InputsError, UsageError
from charter_compiler.executor.defaults import LOCAL
from charter_compiler.executor.entry import Entry, load_entry, package_root, split_entry
from charter_compiler.executor.inputs import read_inputs
from charter_compiler.executor.layout import PromptLayouts
from charter_compiler.executor.run.options import RunOptions
from charter_compiler.executor.sim.address import is_sim
from charter_compiler.executor.targets import TargetOptions, check_target
from charter_compiler.plan.execution_plan import ExecutionPlan
from charter_compiler.predict.control_flow import ItemTrace, trace_agent
from charter_compiler.predict.cost_model import Calibration
from charter_compiler.predict.effects import possible_effects
from charter_compiler.predict.planning import calls_of_entry
from charter_compiler.predict.prediction import Simulation
from charter_compiler.predict.replicas import ReplicaCount, plan_counts
from charter_compiler.predict.row_index import Integers, RowIndex, index_rows
from charter_compiler.predict.schedules import fields_in_order
from charter_compiler.predict.sharding import Floats, Pieces, cut
from charter_compiler.predict.synthetic import SyntheticOutputs
from charter_compiler.serve.engine.costs import Costs

FIRST_ROWS = 4096
"""Rows that the fields which items share are looked for in."""
WEIGHED = 64
"""Rows, spread over the inputs, from which the tokens of an item are learned as a line over the bytes of its row."""


@dataclass(frozen=True, slots=True)
class ReplicaRequest:
    """What to plan for. ``replicas``: the most; ``deadline_s``: seconds that the run may take; ``price_per_hour``: of
    one replica; ``costs``: a calibration that another machine wrote, for a target of that kind; ``plan`` brings its
    layouts and schedule. The others as in ``CompileRequest``."""

    entry: str
    inputs: Path
    replicas: int
    target: str = LOCAL
    target_options: TargetOptions = field(default_factory=TargetOptions)
    options: RunOptions = field(default_factory=RunOptions)
    plan: ExecutionPlan | None = None
    costs: Path | None = None
    deadline_s: float | None = None
    price_per_hour: float | None = None
    window: int = WINDOW
    block_size: int | None = None
    capacity_blocks: int | None = None
    limit: int | None = None
    allow_effects: bool = False


@dataclass(frozen=True, slots=True)
class ReplicaPlan:
    """``counts`` from 1 replica on. ``chosen``: the cheapest that meets the deadline, without a price the one with the
    fewest replicas; ``None`` where none does, or none was asked for. ``fields`` of the inputs are what items are
    grouped by. ``simulated_items`` of ``items`` went through the engine's model."""

    items: int
    fields: tuple[str, ...]
    simulated_items: int
    counts: tuple[ReplicaCount, ...]
    chosen: ReplicaCount | None
    notes: tuple[str, ...]


@dataclass(slots=True)
class RowTracer:
    """The control flow of some rows of a large file."""

    entry: Entry
    index: RowIndex
    outputs: SyntheticOutputs
    layouts: PromptLayouts
    max_tokens: int | None
    seen: set[int] = field(default_factory=set)

    def trace(self, places: Integers) -> list[ItemTrace]:
        """Of the rows at these places."""
        self.seen.update(int(place) for place in places)
        rows = self.index.rows(places)
        return trace_agent(self.entry, rows, self.outputs, max_tokens=self.max_tokens, layouts=self.layouts)


@dataclass(frozen=True, slots=True)
class PreparedRun:
    """What the counts of replicas are simulated on. ``costs`` are in ``simulation``; ``weights`` by row."""

    fields: tuple[str, ...]
    weights: Floats
    pieces: Pieces
    simulation: Simulation
    tracer: RowTracer


def plan_replicas(request: ReplicaRequest, on_step: Callable[[str], None] = lambda step: None) -> ReplicaPlan:
    """Plan a run on 1 to ``replicas`` replicas. The agent's code runs, without a model, over the simulated items. Not
    to be called where an event loop runs.

    Raises:
        UsageError: the target is unknown or states too little, a deadline needs a calibration, or the agent's code may
            act on the outside.
        EntryError, SourceError, InputsError: the entry or its inputs are wrong.
        AgentError: the agent fails on outputs that stand in for a model's.
    """
    run = prepare(request, on_step)
    counts = plan_counts(
        run.pieces,
        run.weights,
        request.replicas,
        request.window,
        run.simulation,
        run.tracer.trace,
        lambda replicas: on_step(f"simulating a replica of {replicas}"),
    )
    chosen = choose(counts, request.deadline_s, request.price_per_hour)
    notes = _notes(request, run.simulation.costs, counts)
    return ReplicaPlan(len(run.weights), run.fields, len(run.tracer.seen), tuple(counts), chosen, tuple(notes))


def prepare(request: ReplicaRequest, on_step: Callable[[str], None] = lambda step: None) -> PreparedRun:
    """Read, weigh and cut the inputs. Raises as ``plan_replicas``."""
    check_target(request.target)
    path = split_entry(request.entry)[0].resolve()
    effects = () if request.allow_effects else possible_effects(path, package_root(path))
    if effects:
        raise UsageError(
            f"to plan is to run the agent, without a model: {effects[0]}", remedy="--allow-effects runs it all the same"
        )
    calls = calls_of_entry(request.entry)
    if not calls:
        raise EntryError("no model call was found in the file of the entry", place=request.entry)
    target = describe_target(_as_compile_request(request))
    options = request.options
    if request.plan is not None:
        options = replace(options, schedule=request.plan.schedule)
    simulation = Simulation(target.tokenizer, target.engine, options, _costs(request, target), target.profile)
    first = [row.values for row in islice(read_inputs(request.inputs), min(FIRST_ROWS, request.limit or FIRST_ROWS))]
    fields = fields_in_order(calls, first)
    on_step("reading the inputs")
    index = index_rows(request.inputs, fields, request.limit)
    layouts = PromptLayouts(() if request.plan is None else request.plan.layouts, calls)
    outputs = SyntheticOutputs(target.tokenizer)
    tracer = RowTracer(load_entry(request.entry), index, outputs, layouts, request.options.max_tokens)
    weights = _weigh(tracer, simulation)
    return PreparedRun(fields, weights, cut(index.groups, weights, request.replicas), simulation, tracer)


def choose(counts: list[ReplicaCount], deadline_s: float | None, price_per_hour: float | None) -> ReplicaCount | None:
    """The cheapest that meets the deadline with twice the standard error of its time added, of equally cheap ones, or
    without a price, the one with the fewest replicas; ``None`` where none does."""
    if deadline_s is None:
        return None
    good = [
        count for count in counts if count.seconds is not None and count.seconds * (1 + 2 * count.error) <= deadline_s
    ]
    return min(good, key=lambda count: (count.price(price_per_hour) or 0.0, count.replicas), default=None)


def _weigh(tracer: RowTracer, simulation: Simulation) -> Floats:
    """About the tokens, of prompts and outputs, of each row's item: a straight line over the bytes of the row."""
    index, prompts = tracer.index, simulation.tokenizer
    places = np.unique(np.linspace(0, len(index) - 1, WEIGHED).astype(np.int64))
    tokens = [
        sum(len(prompts.encode(str(call.call.request.prompt or call.call.request.messages))) for call in trace.calls)
        + sum(len(prompts.encode(call.output)) for call in trace.calls)
        for trace in tracer.trace(places)
    ]
    sizes = index.sizes[places].astype(float)
    if np.ptp(sizes) == 0:
        return np.full(len(index), max(1.0, float(np.mean(tokens))))
    slope, constant = np.polyfit(sizes, tokens, 1)
    weights: Floats = np.maximum(1.0, constant + slope * index.sizes)
    return weights


def _costs(request: ReplicaRequest, target: DescribedTarget) -> Costs | None:
    if request.costs is not None:
        try:
            return Calibration.from_json(json.loads(request.costs.read_text(encoding="utf-8"))).costs
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputsError(
                f"not a calibration: {error}", place=str(request.costs), remedy="charter calibrate --json"
            ) from error
    if is_sim(request.target):
        return Costs()
    kept = find_calibration(request.target, target.model)
    if kept is None and request.deadline_s is not None:
        raise UsageError(
            "seconds are not known of a target that was not calibrated",
            place=request.target,
            remedy="run charter calibrate, or give --costs FILE of a machine like it",
        )
    return None if kept is None else kept.costs


def _as_compile_request(request: ReplicaRequest) -> CompileRequest:
    return CompileRequest(
        request.entry,
        request.inputs,
        request.target,
        request.target_options,
        block_size=request.block_size,
        capacity_blocks=request.capacity_blocks,
    )


def _notes(request: ReplicaRequest, costs: Costs | None, counts: list[ReplicaCount]) -> list[str]:
    notes = []
    if costs is None:
        notes.append("no seconds and no price: the target was not calibrated (charter calibrate, or --costs FILE)")
    elif is_sim(request.target) and request.costs is None:
        notes.append("seconds are those of the simulated target's cost model, a small model on two CPU cores")
    refused = sum(count.refused for count in counts)
    if refused:
        notes.append(f"the engine would refuse {refused} of the simulated calls; they are in no figure")
    return notes
