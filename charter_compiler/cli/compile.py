"""``charter compile``: predict, plan, and write plan, report and engine configuration."""

from __future__ import annotations

import argparse
import sys

from rich.console import Console

from charter_compiler.api.agent_output import CallOptions
from charter_compiler.api.compilation import Compilation
from charter_compiler.api.compile import compile_agent
from charter_compiler.api.compile_request import CompileRequest
from charter_compiler.api.engine_target import ConfigOptions
from charter_compiler.api.layout_gate import GateOptions, GateResult, check_layout, require
from charter_compiler.api.prediction_details import SizingRequest
from charter_compiler.api.run_request import RunRequest
from charter_compiler.cli.details import print_details
from charter_compiler.diagnostics.errors import UsageError
from charter_compiler.executor.entry import package_root, split_entry
from charter_compiler.executor.run.options import RunOptions
from charter_compiler.executor.targets import TargetOptions
from charter_compiler.predict.effects import possible_effects
from charter_compiler.report.metrics import count
from charter_compiler.report.pass_text import layout_lines, pass_lines
from charter_compiler.report.savings import Pricing, savings
from charter_compiler.report.terminal import comparison_table, saving_lines, share_lines
from charter_compiler.report.token_shares import site_shares
from charter_compiler.tokens.kv_shape import KVDtype


def run(args: argparse.Namespace) -> int:
    """Compile, write, and say what was found. Returns 0; raises what ``compile_agent`` does."""
    for option in ("keep_wording", "verify"):
        if getattr(args, option) and not args.layout:
            raise UsageError(f"--{option.replace('_', '-')} is about a layout", remedy="give --layout too")
    if args.diff and not (args.layout or args.parallel or args.drop_dead):
        raise UsageError("--diff shows what is rewritten", remedy="give --layout, --parallel or --drop-dead too")
    if args.verify and args.inputs is None:
        raise UsageError("--verify runs the agent over inputs", remedy="give --inputs")
    compilation = compile_agent(
        CompileRequest(
            entry=args.entry,
            inputs=args.inputs,
            target=args.target,
            target_options=TargetOptions(model=args.model, tokenizer=args.tokenizer),
            options=RunOptions(concurrency=args.concurrency, max_tokens=args.max_tokens),
            block_size=args.block_size,
            capacity_blocks=args.capacity_blocks,
            limit=args.limit,
            config=ConfigOptions(
                engines=tuple(args.engine),
                gpu=args.gpu,
                gpus=args.gpus,
                model_files=args.model_files,
                model_path=args.model_path,
                prompt_embedding_table=args.prompt_table,
            ),
            allow_effects=args.allow_effects,
            layout=args.layout,
            wording=not args.keep_wording,
            call_options=CallOptions(parallel=args.parallel, drop_dead=args.drop_dead),
            outputs_of=args.outputs_of,
            sizing=SizingRequest(args.kv_dtype and KVDtype(args.kv_dtype)) if args.size else None,
            pricing=Pricing(args.price_per_hour, args.prices),
            replicas=args.replicas,
        )
    )
    if args.verify:
        print(f"verify: {_verify(args, compilation)}", file=sys.stderr)
    written = compilation.write(args.output)
    print_compilation(Console(), compilation)
    if compilation.details is not None:
        print_details(Console(), compilation.details, explain=args.explain)
    for note in compilation.notes:
        print(f"charter: note: {note}", file=sys.stderr)
    if args.diff:
        for rewrite in compilation.rewrites:
            print(rewrite.diff(), end="")
    for path in written:
        print(path)
    return 0


def _verify(args: argparse.Namespace, compilation: Compilation) -> GateResult:
    """Run both ways. Raises LayoutRefusedError below the threshold, AgentError if the agent may act on the outside."""
    if not compilation.plan.layouts:
        raise UsageError("there is nothing to verify: the layout changes no prompt", remedy="leave --verify out")
    path = split_entry(args.entry)[0].resolve()
    effects = () if args.allow_effects else possible_effects(path, package_root(path))
    if effects:
        raise UsageError(f"--verify runs the agent twice, and {effects[0]}", remedy="give --allow-effects")
    request = RunRequest(
        entry=args.entry,
        inputs=args.inputs,
        output=args.output / "verify.jsonl",
        target=args.target,
        target_options=TargetOptions(model=args.model, tokenizer=args.tokenizer),
        options=RunOptions(concurrency=args.concurrency, max_tokens=args.max_tokens),
        plan=compilation.plan,
        limit=args.limit,
    )
    result = check_layout(request, GateOptions(args.verify, args.metric, args.threshold), args.output / "verify")
    require(result)
    return result


def print_compilation(console: Console, compilation: Compilation) -> None:
    """What was found and what is predicted, short."""
    plan = compilation.plan
    console.print(
        f"{plan.entry} for {plan.target} ({plan.model}): {len(compilation.calls)} calls, "
        f"{len(compilation.opportunities)} shared prefixes, blocks of {plan.block_size} tokens",
        highlight=False,
        soft_wrap=True,
    )
    for prefix in compilation.opportunities:
        kind = "with values known at run time" if prefix.template else "constant"
        console.print(
            f"  {prefix.pattern.replace('_', ' ')}: {prefix.shared_prefix_length} tokens in {len(prefix.nodes)} "
            f"call sites, {kind}, priority {prefix.priority}",
            highlight=False,
            soft_wrap=True,
        )
    for line in pass_lines(compilation.ran):
        console.print(f"  {line}", highlight=False, soft_wrap=True, markup=False)
    if compilation.layout is not None:
        for line in layout_lines(compilation.layout):
            console.print(f"  {line}", highlight=False, soft_wrap=True, markup=False)
    if compilation.inputs:
        report = compilation.report()
        console.print(comparison_table(report.runs, title=f"predicted over {compilation.inputs} rows"))
        for bar in share_lines(site_shares(report.misses)):
            console.print(bar, highlight=False, soft_wrap=True)
        for line in saving_lines(savings(report.runs, report.pricing)):
            console.print(line, highlight=False, soft_wrap=True, markup=False)
    for saving in compilation.passes:
        words = "saved" if saving.saved_tokens >= 0 else "more"
        console.print(
            f"  {saving.name}: {count(abs(saving.saved_tokens))} tokens {words}", highlight=False, soft_wrap=True
        )
