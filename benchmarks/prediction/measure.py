"""Predicted against measured token hit rate of the example agents, on the embedded server and on a real vLLM.

``make bench-prediction`` runs it. One line of JSON a run goes to ``--output``; ``table.py`` makes the page in docs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from vllm_server import convert, reset, serve

from charter_compiler.api.measured_run import measured_run
from charter_compiler.api.run_request import RunRequest
from charter_compiler.bench.workloads import Agent, example_agents
from charter_compiler.executor.defaults import LOCAL
from charter_compiler.executor.entry import load_entry
from charter_compiler.executor.inputs import read_inputs
from charter_compiler.executor.layout import PromptLayouts
from charter_compiler.executor.run.options import RunOptions
from charter_compiler.executor.scheduler.mode import Mode
from charter_compiler.executor.targets import TargetOptions, engine_config
from charter_compiler.executor.types import GenerationRequest, TargetFacts
from charter_compiler.predict.planning import calls_of_entry
from charter_compiler.predict.prediction import predict_run
from charter_compiler.predict.recorded import outputs_of_run
from charter_compiler.predict.synthetic import SyntheticOutputs
from charter_compiler.serve.engine.interface import EngineConfig
from charter_compiler.tokens.models import find_model
from charter_compiler.tokens.tokenizer import default_tokenizer

BLOCK_SIZE, BLOCKS = 32, 256
AGENTS = example_agents()
BASELINE, OPTIMIZED, LAID_OUT = "baseline", "optimized", "layout"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="F.jsonl", help="appended to")
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--concurrency", type=int, default=4)
    parser.add_argument("--max-tokens", type=int, default=24)
    parser.add_argument("--targets", nargs="*", default=["embedded", "vllm"], choices=["embedded", "vllm"])
    parser.add_argument("--agents", nargs="*", default=list(AGENTS), choices=list(AGENTS))
    modes = [BASELINE, OPTIMIZED, LAID_OUT]
    parser.add_argument("--modes", nargs="*", default=modes, choices=modes, help="as written first")
    parser.add_argument("--vllm-python", type=Path, default=Path(".venv-peer/bin/python"))
    parser.add_argument("--vllm-weights", type=Path, help="folder of the converted weights (default: made anew)")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    chosen = [agent for agent in AGENTS.values() if agent.name in args.agents]
    with tempfile.TemporaryDirectory() as folder, args.output.open("a", encoding="utf-8") as results:
        for name in args.targets:
            with targets(name, args, Path(folder)) as (target, cold):
                for workload in chosen:
                    for mode in args.modes:
                        cold()
                        line = measure(workload, name, target, mode, args, Path(folder))
                        print(json.dumps(line), file=results, flush=True)
                        print(line["agent"], name, mode, line["predicted_hit_rate"], line["hit_rate"], file=sys.stderr)


@contextlib.contextmanager
def targets(name: str, args: argparse.Namespace, folder: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    """The target's name, and what makes its cache empty."""
    if name == "embedded":
        yield LOCAL, lambda: None  # each run starts a server of its own
        return
    weights = args.vllm_weights or folder / "weights"
    convert(args.vllm_python, find_model(), weights)
    with serve(args.vllm_python, weights, block_size=BLOCK_SIZE, blocks=BLOCKS) as target:
        yield target, lambda: reset(target)


def measure(
    workload: Agent, name: str, target: str, mode: str, args: argparse.Namespace, folder: Path
) -> dict[str, Any]:
    """One run: its figures, the prediction before it, one from the outputs of the run as written (where that is another
    one, it was known before too), and one after it with the outputs that it recorded."""
    as_written, output = (folder / f"{workload.name}.{each}.jsonl" for each in (BASELINE, mode))
    scheduled = Mode.BASELINE if mode == BASELINE else Mode.OPTIMIZED
    options = RunOptions(mode=scheduled, concurrency=args.concurrency, max_tokens=args.max_tokens)
    engine = EngineConfig(tokens_per_block=BLOCK_SIZE, capacity_blocks=BLOCKS, max_context=4096)
    request = RunRequest(
        entry=workload.entry,
        inputs=Path(workload.inputs),
        output=output,
        target=target,
        target_options=TargetOptions(fresh_server=True, engine=engine),
        options=options,
        limit=args.rows,
        record=True,
        layout=mode == LAID_OUT,
    )
    report = measured_run(request)
    if report.stopped is not None:
        raise report.stopped
    assert report.prediction is not None, report.notes
    metrics, prediction = report.metrics, report.prediction
    facts = TargetFacts(target, "", engine="vllm" if name == "vllm" else None, max_context=4096)
    calls = calls_of_entry(workload.entry)
    warm_ups = () if report.plan is None else report.plan.warm_up
    if report.plan is not None:
        options = replace(options, schedule=report.plan.schedule)
    layouts = () if report.plan is None else report.plan.layouts
    tokenizer = default_tokenizer()
    rows = [row for row in read_inputs(Path(workload.inputs)) if row.index < args.rows]

    def with_outputs_of(run: Path) -> float:
        return predict_run(
            load_entry(workload.entry),
            rows,
            tokenizer,
            engine_config(facts, BLOCK_SIZE, BLOCKS) if name == "vllm" else engine,
            options,
            warm_ups=tuple(GenerationRequest(prompt=prefix.text, max_tokens=1) for prefix in warm_ups),
            calls=calls,
            layouts=PromptLayouts(layouts, calls),
            outputs=outputs_of_run(run, SyntheticOutputs(tokenizer)),
            profile=facts.engine,
        ).hit_rate

    return {
        "agent": workload.name,
        "target": name,
        "mode": mode,
        "outputs_feed_prompts": workload.feeds,
        "items": metrics.items,
        "failed": metrics.failed,
        "calls": metrics.calls,
        "predicted_calls": prediction.calls,
        "prompt_tokens": metrics.prompt_tokens,
        "predicted_prompt_tokens": prediction.prompt_tokens,
        "cached_tokens": metrics.cached_tokens,
        "predicted_cached_tokens": prediction.cached_tokens,
        "hit_rate": metrics.hit_rate,
        "predicted_hit_rate": prediction.hit_rate,
        "former_run_hit_rate": with_outputs_of(as_written) if mode != BASELINE and as_written.is_file() else None,
        "recorded_hit_rate": with_outputs_of(output),
        "attainable_hit_rate": metrics.attainable_hit_rate,
        "output_tokens": metrics.output_tokens,
        "wall_s": metrics.wall_s,
        "rows": args.rows,
        "concurrency": args.concurrency,
        "max_tokens": args.max_tokens,
        "block_size": BLOCK_SIZE,
        "blocks": BLOCKS,
        "model": "smollm2-135m-instruct",
        "machine": platform.processor() or platform.machine(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


if __name__ == "__main__":
    main()
