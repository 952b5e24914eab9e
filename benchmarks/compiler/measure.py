"""The compiler itself: start-up, front end, simulation and scheduler, and how each grows with its input.

    python benchmarks/compiler/measure.py -o benchmarks/compiler/results.jsonl [--rounds N] [--short]

Repetitions are interleaved: each round measures every case once. The first line holds the conditions, each other line
is one measurement, with the failed ones. ``processor_s`` is the time that the processor worked for it, ``wall_s`` what
a clock saw. ``benchmarks/page/page.py`` makes medians and spreads of them.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import json
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from subjects import schedule_calls, trace_lines, write_project

from charter_compiler.api.simulation import SimulationRequest, simulate_trace
from charter_compiler.bench.conditions import conditions
from charter_compiler.cache.simulate import Engine
from charter_compiler.cache.trace import parse_trace
from charter_compiler.executor.entry import load_entry
from charter_compiler.executor.inputs import read_inputs
from charter_compiler.executor.run.options import RunOptions
from charter_compiler.executor.scheduler.mode import Mode
from charter_compiler.parser.ast_parser import AgentASTParser
from charter_compiler.parser.files import python_files, read_source
from charter_compiler.predict.planning import calls_of_entry
from charter_compiler.predict.prediction import predict_run
from charter_compiler.serve.engine.interface import EngineConfig
from charter_compiler.tokens.tokenizer import default_tokenizer

ROOT = Path(__file__).resolve().parents[2]
ENTRY = f"{ROOT / 'examples/agents/document_processor.py'}:DocumentProcessor.process"
DOCUMENTS = ROOT / "examples" / "data" / "documents.jsonl"
SEED = 20
ENGINE = "EngineConfig() as it is: 256 blocks of 32 tokens"
PACKAGES = ("jinja2", "rich")
"""Of this environment, as code that no agent is in."""
Case = Callable[[], dict[str, Any]]


def timed(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What ``work`` says, and the time that this process took for it."""
    wall, processor = time.perf_counter(), time.process_time()
    facts = work()
    return {
        **facts,
        "processor_s": round(time.process_time() - processor, 4),
        "wall_s": round(time.perf_counter() - wall, 4),
    }


def command(*arguments: str) -> dict[str, Any]:
    """A process from start to end."""
    before, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, timeout=60, cwd=ROOT)
    wall = time.perf_counter() - wall
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"processor_s": round(used, 4), "wall_s": round(wall, 4)}


def plain_parse(folder: Path) -> dict[str, Any]:
    files = [path for path, _ in python_files([folder])]
    for path in files:
        ast.parse(read_source(path))
    return {"files": len(files), "lines": sum(path.read_bytes().count(b"\n") for path in files)}


def front_end(folder: Path) -> dict[str, Any]:
    parsed = AgentASTParser().parse_paths([folder])
    return {**plain_counts(folder), "calls": len(parsed.calls), "failed_files": len(parsed.failed)}


def plain_counts(folder: Path) -> dict[str, Any]:
    files = [path for path, _ in python_files([folder])]
    return {"files": len(files), "lines": sum(path.read_bytes().count(b"\n") for path in files)}


def peak_memory(folder: Path) -> dict[str, Any]:
    """Of a process that only parses, in MiB."""
    # VmHWM begins anew with the program; ru_maxrss would begin with that of this process.
    code = (
        "import sys;from charter_compiler.parser.ast_parser import AgentASTParser;"
        "AgentASTParser().parse_paths(sys.argv[1:]);"
        "print(next(int(l.split()[1])//1024 for l in open('/proc/self/status') if l.startswith('VmHWM')))"
    )
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *([str(folder)] if folder.is_dir() else [])],
        capture_output=True, text=True, check=True, timeout=300, cwd=ROOT,
    )  # fmt: skip
    return {"peak_mib": int(result.stdout)}


def prediction(items: int) -> dict[str, Any]:
    rows = list(islice(read_inputs(DOCUMENTS), items))
    found = predict_run(
        load_entry(ENTRY), rows, default_tokenizer(), EngineConfig(), RunOptions(mode=Mode.OPTIMIZED, max_tokens=24),
        calls=calls_of_entry(ENTRY),
    )  # fmt: skip
    assert found.problem is None, found.problem
    return {"items": items, "calls": found.calls, "prompt_tokens": found.prompt_tokens}


def cases(folder: Path, short: bool) -> Iterator[tuple[str, str, Case]]:
    """Benchmark, case and work."""
    yield "start-up", "python alone", lambda: command("-c", "pass")
    yield "start-up", "charter --help", lambda: command("-m", "charter_compiler.cli.main", "--help")
    if not short:
        yield "start-up", "charter run --help", lambda: command("-m", "charter_compiler.cli.main", "run", "--help")
    projects = [write_project(folder, size, SEED) for size in ((40,) if short else (50, 100, 200, 400))]
    specs = [] if short else [importlib.util.find_spec(name) for name in PACKAGES]
    installed = [Path(spec.origin).parent for spec in specs if spec is not None and spec.origin is not None]
    for project in (*projects, *installed):
        yield "ast.parse", project.name, lambda project=project: timed(lambda: plain_parse(project))
        yield "front end", project.name, lambda project=project: timed(lambda: front_end(project))
        yield "memory", project.name, lambda project=project: plain_counts(project) | peak_memory(project)
    if not short:
        yield "memory", "nothing parsed", lambda: peak_memory(folder / "none")
    for items in (2,) if short else (8, 16, 32):
        yield "prediction", f"{items} documents", lambda items=items: timed(lambda: prediction(items))
    requests = 500 if short else 10_000
    trace = parse_trace(iter(trace_lines(requests, SEED)), 16, "generated")
    blocks = sum(json.loads(line)["input_length"] // 16 for line in trace_lines(requests, SEED))
    engines = (Engine.VLLM, Engine.TRTLLM, Engine.SGLANG, Engine.LLAMACPP)
    for engine in engines[:1] if short else engines:

        def simulated(engine: Engine = engine) -> dict[str, Any]:
            found = simulate_trace(trace, SimulationRequest(engine, 4096))
            return {"requests": requests, "blocks": blocks, "hit_rate": found.hit_rate}

        yield "simulation", str(engine), lambda work=simulated: timed(work)
    for mode in Mode:
        for items in (50,) if short else (1000, 4000):
            yield (
                "scheduler",
                f"{mode}, {items} items",
                lambda mode=mode, items=items: timed(lambda: {"calls": schedule_calls(items, mode)}),
            )


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--short", action="store_true", help="small inputs, to see that it runs")
    args = parser.parse_args(argv)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as scratch, args.output.open("w", encoding="utf-8") as out:
        out.write(json.dumps(conditions(seed=SEED, engine=ENGINE)) + "\n")
        measured = list(cases(Path(scratch), args.short))
        for number in range(args.rounds):
            for benchmark, case, work in measured:
                try:
                    facts = work()
                except Exception as error:  # noqa: BLE001  # a failed measurement is a line too
                    facts = {"error": f"{type(error).__name__}: {error}"}
                line = {"benchmark": benchmark, "case": case, "round": number, **facts}
                out.write(json.dumps(line) + "\n")
                out.flush()
                print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
