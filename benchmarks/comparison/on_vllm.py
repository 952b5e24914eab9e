"""A table of `charter bench` on a real vLLM server on the CPU, in place of the embedded one (``make bench-vllm``).

    python benchmarks/comparison/on_vllm.py chain -o benchmarks/comparison/vllm.jsonl

Servers come from ``.venv-peer``. One is started for each size and switch of its cache, and its cache is emptied before
each run; KV blocks held at the peak are not looked at.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.append(str(HERE.parent / "prediction"))

from vllm_server import convert, reset, serve  # noqa: E402

from charter_compiler.bench.arms import chosen_arms  # noqa: E402
from charter_compiler.bench.cases import all_tables  # noqa: E402
from charter_compiler.bench.rows import append_row, read_rows  # noqa: E402
from charter_compiler.bench.session import run_table  # noqa: E402
from charter_compiler.bench.show import finding_lines, run_line  # noqa: E402
from charter_compiler.bench.summary import summarize  # noqa: E402
from charter_compiler.executor.targets import TargetOptions  # noqa: E402
from charter_compiler.serve.engine.interface import EngineConfig  # noqa: E402
from charter_compiler.tokens.models import find_model  # noqa: E402


class VllmServers:
    """``charter_compiler.bench.engines.Engines``. One server at a time, since each takes a gigabyte and both cores."""

    name = "vllm"
    timed = True

    def __init__(self, python: Path, weights: Path) -> None:
        self._python = python
        self._weights = weights
        self._running: tuple[EngineConfig, str] | None = None
        self._stack = ExitStack()

    @contextmanager
    def cold(self, config: EngineConfig) -> Iterator[tuple[str, TargetOptions]]:
        if self._running is None or self._running[0] != config:
            self.close()
            server = serve(
                self._python,
                self._weights,
                block_size=config.tokens_per_block,
                blocks=config.capacity_blocks,
                reuse=config.enable_block_reuse,
            )
            self._running = (config, self._stack.enter_context(server))
        reset(self._running[1])
        yield self._running[1], TargetOptions()

    def close(self) -> None:
        """End the server that runs."""
        self._running = None
        self._stack.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", choices=list(all_tables()))
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="ROWS.jsonl", help="appended to")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--arms", nargs="+")
    parser.add_argument("--vllm-python", type=Path, default=ROOT / ".venv-peer" / "bin" / "python")
    parser.add_argument("--vllm-weights", type=Path, help="folder of the converted weights (default: made anew)")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the server ends with this program
    table = all_tables()[args.table]
    arms = table.arms if args.arms is None else chosen_arms(args.arms)
    rows = read_rows(args.output)
    with tempfile.TemporaryDirectory() as folder:
        weights = args.vllm_weights or Path(folder) / "weights"
        convert(args.vllm_python, find_model(), weights)
        servers = VllmServers(args.vllm_python, weights)
        try:
            rounds = table.rounds if args.rounds is None else args.rounds
            for row in run_table(replace(table, arms=arms), rounds, servers, Path(folder) / "runs", rows):
                append_row(args.output, row)
                rows.append(row)
                print(run_line(row), file=sys.stderr)
        finally:
            servers.close()
    for case in summarize(rows):
        print(case.case, *finding_lines(case), sep="\n")


if __name__ == "__main__":
    main()
