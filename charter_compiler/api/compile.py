"""``compile``: an entry and a target in; plan, predictions, engine configuration and report out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from charter_compiler.api.agent_output import rewrite_calls, rewrite_sources
from charter_compiler.api.compilation import Compilation, Rates
from charter_compiler.api.compile_request import CompileRequest
from charter_compiler.api.compile_target import describe_target
from charter_compiler.api.engine_target import describe_engine_target
from charter_compiler.api.predicted_passes import predict_passes
from charter_compiler.api.template_rates import template_hit_rate
from charter_compiler.diagnostics.errors import EntryError
from charter_compiler.executor.defaults import LOCAL
from charter_compiler.executor.entry import package_root, split_entry
from charter_compiler.executor.inputs import InputRow, read_inputs
from charter_compiler.executor.targets import check_target
from charter_compiler.ir.nodes import Agent
from charter_compiler.passes.pipeline import run_passes
from charter_compiler.predict.grouping import group_fields
from charter_compiler.predict.layout_of_entry import lay_out_entry, planned_layouts
from charter_compiler.predict.planning import analyse, calls_of_entry, plan_entry


def compile_agent(request: CompileRequest) -> Compilation:
    """Compile an entry for a target. Not to be called where an event loop runs.

    The agent's code runs (without a model) only where inputs are given and a prediction is made.

    Raises:
        UsageError: the target is unknown, or states no block size and none is given.
        EntryError, SourceError, InputsError: the entry or its inputs are wrong, or its file has no model call.
        TargetError: the target does not answer.
        ConfigError: the engines, versions or GPUs that configuration is asked for are not known.
    """
    check_target(request.target)
    calls = calls_of_entry(request.entry)
    path = split_entry(request.entry)[0].resolve()
    if not calls:
        raise EntryError(
            "no model call was found in the file of the entry",
            place=request.entry,
            remedy="see what is found with: charter inspect",
        )
    rows = _read_rows(request)
    target = describe_target(request)
    ran = run_passes(Agent(request.entry, calls))
    layout = lay_out_entry(request.entry, calls, rows, wording=request.wording) if request.layout else None
    sent = calls if layout is None else layout.agent.calls
    analysis = analyse(sent, target.tokenizer, target.engine.tokens_per_block)
    plan = plan_entry(
        request.entry,
        analysis,
        target=request.target,
        model=target.model,
        tokenizer=target.tokenizer,
        block_size=target.engine.tokens_per_block,
        capacity_blocks=target.engine.capacity_blocks,
        layouts=() if layout is None else planned_layouts(layout),
        engine=target.profile,
    )
    plan = replace(plan, group_by=group_fields(sent, [row.values for row in rows]))
    notes: list[str] = []
    local = request.target_options.model if request.target == LOCAL else None
    engine_target, engines = describe_engine_target(request.config, local, notes)
    sources = [Path(source.path) for source in plan.sources]
    rewrites = () if layout is None else rewrite_sources(layout, sources, notes)
    rewrites, said = rewrite_calls(request.call_options, calls, rewrites, sources, notes)
    ran = tuple(replace(one, result=replace(one.result, notes=said.get(one.name, one.result.notes))) for one in ran)
    prediction = predict_passes(request, rows, target, plan, calls, analysis, notes)
    found = Compilation(
        plan=plan,
        root=package_root(path),
        calls=calls,
        opportunities=analysis.opportunities,
        patterns=analysis.patterns,
        tokenizer=target.tokenizer,
        notes=tuple(notes),
        ran=ran,
        layout=layout,
        rewrites=rewrites,
        engine_target=engine_target,
        engines=engines,
        pricing=request.pricing,
        replicas=request.replicas,
    )
    if prediction is None:
        planned = Rates(template_hit_rate(sent, analysis.opportunities, target.tokenizer))
        if layout is None:
            return replace(found, as_written=planned, planned=planned)
        written = analyse(calls, target.tokenizer, target.engine.tokens_per_block).opportunities
        return replace(found, as_written=Rates(template_hit_rate(calls, written, target.tokenizer)), planned=planned)
    return replace(
        found,
        plan=replace(plan, warms=plan.warms and prediction.warms, schedule=prediction.schedule),
        inputs=len(rows),
        as_written=prediction.as_written,
        planned=prediction.planned,
        passes=prediction.passes,
        evidence=prediction.evidence,
        details=prediction.details,
    )


def _read_rows(request: CompileRequest) -> list[InputRow]:
    if request.inputs is None:
        return []
    rows: list[InputRow] = []
    for row in read_inputs(request.inputs):
        if request.limit is not None and len(rows) == request.limit:
            break
        rows.append(row)
    return rows
