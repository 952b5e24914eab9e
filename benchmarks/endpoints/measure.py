"""One run on one, two and four real embedded servers, each with a small cache and one thread.

64 items of a chain of three calls, 16 documents with four questions each. The servers together always have the same
capacity. Runs on four servers share them: the prompts of each begin with its own name, so that it finds nothing of the
others. Hit rates and counts, no times: other work may go on. `make bench-endpoints` writes the raw results.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any

from workload import BLOCK_SIZE, BLOCKS, DOCUMENTS, IN_FLIGHT, QUESTIONS, write_inputs

from charter_compiler.api.measured_run import RunReport, measured_run
from charter_compiler.api.run_request import RunObserver, RunRequest
from charter_compiler.executor.journal_file import journal_path
from charter_compiler.executor.metrics import Tally
from charter_compiler.executor.run.options import RunOptions
from charter_compiler.plan.placement import Placement
from charter_compiler.serve.engine.interface import EngineConfig
from charter_compiler.serve.options import ServerOptions
from charter_compiler.serve.server import ServerHandle, start_server
from charter_compiler.tokens.models import DEFAULT_MODEL, find_model

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Measured:
    """``killed``: one of the servers is killed after a third of the calls, and started again after half."""

    name: str
    servers: int
    placement: Placement = Placement.PREFIX
    killed: bool = False


RUNS = (
    Measured("one server", 1),
    Measured("two servers, by prefix", 2),
    Measured("four servers, by prefix", 4),
    Measured("four servers, calls in turn", 4, Placement.ROUND_ROBIN),
    Measured("four servers, items by load", 4, Placement.LOAD),
    Measured("four servers, one killed and brought back", 4, killed=True),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="F.jsonl")
    parser.add_argument("--only", default="", help="runs whose name holds this text")
    parser.add_argument(
        "--sim", action="store_true", help="on the engine's model in place of servers, which nobody kills: seconds"
    )
    args = parser.parse_args()
    with args.output.open("w", encoding="utf-8") as results, tempfile.TemporaryDirectory() as folder:
        wanted = [run for run in RUNS if args.only in run.name and not (args.sim and run.killed)]
        for count, runs in groupby(wanted, key=attrgetter("servers")):
            with simulated(count) if args.sim else servers(count) as started:
                for run in runs:
                    line = measure(run, started, write_inputs(run.name, Path(folder)), Path(folder))
                    print(json.dumps(line), file=results, flush=True)
                    shown = (line[key] for key in ("run", "predicted", "measured", "imbalance", "failed"))
                    print(*shown, file=sys.stderr, flush=True)


class Servers:
    """Servers of one size with a thread each. One may be killed, and started again on its ports."""

    def __init__(self, count: int) -> None:
        engine = EngineConfig(tokens_per_block=BLOCK_SIZE, capacity_blocks=BLOCKS // count, max_context=512)
        model = DEFAULT_MODEL.name
        self._options = ServerOptions(find_model(model), model, engine=engine, threads=1, start_timeout=600)
        self._stack = ExitStack()
        self.handles = [self._start(self._options) for _ in range(count)]

    @property
    def targets(self) -> list[str]:
        """As ``charter run`` names them."""
        return [f"triton://{handle.grpc_url}/ensemble" for handle in self.handles]

    def _start(self, options: ServerOptions) -> ServerHandle:
        handle = start_server(options)
        self._stack.callback(handle.stop)
        return handle

    def kill(self) -> None:
        """The first one, without warning."""
        os.kill(self.handles[0].pid, signal.SIGKILL)

    def bring_back(self) -> None:
        """The one that was killed, where it was."""
        gone = self.handles[0]
        gone.wait(60)
        gone.stop()
        self.handles[0] = self._start(replace(self._options, grpc_port=gone.ports["gRPC"]))

    def close(self) -> None:
        self._stack.close()


@contextmanager
def servers(count: int) -> Iterator[Servers]:
    started = Servers(count)
    try:
        yield started
    finally:
        started.close()


class Simulated:
    """The same sizes on the engine's model: a stand-in that computes nothing."""

    def __init__(self, count: int) -> None:
        sizes = f"blocks={BLOCKS // count}&block_size={BLOCK_SIZE}&context=512"
        self.targets = [f"sim://trtllm?{sizes}"] * count


@contextmanager
def simulated(count: int) -> Iterator[Simulated]:
    yield Simulated(count)


class Interrupter(RunObserver):
    """Kills a server and brings it back, by the number of answered calls."""

    def __init__(self, killed: Servers, calls: int) -> None:
        self._servers, self._calls = killed, calls
        self._killed = self._restarted = False
        self.restart: threading.Thread | None = None

    def progress(self, tally: Tally) -> None:
        if not self._killed and tally.calls >= self._calls // 3:
            self._killed = True
            self._servers.kill()
        if not self._restarted and tally.calls >= self._calls // 2:
            self._restarted = True
            self.restart = threading.Thread(target=self._servers.bring_back)
            self.restart.start()


def measure(run: Measured, started: Servers | Simulated, inputs: Path, folder: Path) -> dict[str, Any]:
    request = RunRequest(
        entry=f"{HERE / 'document_desk.py'}:answer",
        inputs=inputs,
        output=folder / "out.jsonl",
        target=",".join(started.targets),
        options=RunOptions(concurrency=IN_FLIGHT // run.servers, placement=run.placement),
    )
    calls = 3 * DOCUMENTS * len(QUESTIONS)
    interrupter = Interrupter(started, calls) if run.killed and isinstance(started, Servers) else None
    report = measured_run(request, interrupter)
    if interrupter is not None and interrupter.restart is not None:
        interrupter.restart.join()
    return figures(run, report, isinstance(started, Simulated), answered_twice(request.output))


def answered_twice(output: Path) -> int:
    """Calls that the journal has more than once."""
    lines = [json.loads(line) for line in journal_path(output).read_text(encoding="utf-8").splitlines()]
    asked = Counter(tuple(line["call"][:2]) for line in lines if "call" in line)
    return sum(count - 1 for count in asked.values())


def figures(run: Measured, report: RunReport, is_simulated: bool, twice: int) -> dict[str, Any]:
    metrics, prediction = report.metrics, report.prediction
    assert report.stopped is None, report.stopped
    return {
        "run": run.name,
        "engine": "simulated" if is_simulated else "embedded server",
        "servers": run.servers,
        "placement": run.placement,
        "blocks_each": BLOCKS // run.servers,
        "block_size": BLOCK_SIZE,
        "in_flight": IN_FLIGHT,
        "items": metrics.items,
        "failed": metrics.failed,
        "calls": metrics.calls,
        "answered_twice": twice,
        "prompt_tokens": metrics.prompt_tokens,
        "cached_tokens": metrics.cached_tokens,
        "predicted": None if prediction is None else prediction.hit_rate,
        "measured": metrics.hit_rate,
        "attainable": metrics.attainable_hit_rate,
        "imbalance": metrics.imbalance,
        "endpoints": [
            {
                "items": each.items,
                "calls": each.calls,
                "tokens": each.tokens,
                "measured": each.hit_rate,
                "predicted": each.predicted_hit_rate,
            }
            for each in metrics.endpoints
        ],
        "came_and_went": sum("went away" in note or "joined" in note for note in report.notes),
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} processors",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


if __name__ == "__main__":
    main()
