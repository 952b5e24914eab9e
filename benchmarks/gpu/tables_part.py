"""Tables of ``charter bench`` on the server: the agents, ways to run and figures of the embedded server, at sizes that
keep a GPU busy. ``charter_compiler.bench`` does the runs; here are only the sizes, and how the cache is emptied."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
from raw_rows import ROOT, Budget

sys.path.insert(0, str(ROOT))

from charter_compiler.bench.arms import AS_WRITTEN, BASELINES, EXACT, LAYOUT, NO_CACHE, PREFILL, TUNED
from charter_compiler.bench.cases import Case, Table, all_tables
from charter_compiler.bench.rows import SESSION, append_row, read_rows
from charter_compiler.bench.session import run_table
from charter_compiler.bench.show import finding_lines, run_line
from charter_compiler.bench.summary import summarize
from charter_compiler.bench.workloads import example_agents
from charter_compiler.diagnostics.errors import UsageError
from charter_compiler.executor.targets import TargetOptions
from charter_compiler.serve.engine.interface import EngineConfig
from charter_compiler.tokens.models import DEFAULT_MODEL

AT_ONCE = 16
ALL_BLOCKS = 4096
"""What the server has, for cases without pressure: more than all of their prompts need together."""
PRESSURES = (1.2, 2.5, 8.0)
WITHOUT_SEARCH = (NO_CACHE, PREFILL, AS_WRITTEN, LAYOUT)


def tables() -> tuple[Table, ...]:
    """In the order of their worth, since time may end before the last."""
    agents = example_agents()
    chain, shapes = agents["document_processor"], all_tables()["shapes"]
    return (
        Table(
            "chain",
            "three dependent calls on each document of 900 tokens; the cache holds seven documents",
            (Case("900 tokens a document", chain, AT_ONCE, text_tokens=900, pressure=7),),
            BASELINES,
        ),
        Table(
            "chain-long",
            "the same on documents of 3,000 tokens",
            (Case("3,000 tokens a document", chain, 10, text_tokens=3000, pressure=7),),
            (NO_CACHE, PREFILL, AS_WRITTEN, EXACT, LAYOUT),
        ),
        Table(
            "delta",
            "one call an item; prompts differ in a few tokens",
            (
                Case("350 tokens", agents["delta_processor"], 40, concurrency=AT_ONCE, blocks=ALL_BLOCKS),
                Case("900 tokens, answers of 2", agents["claims_desk"], 40, 2, concurrency=AT_ONCE, blocks=ALL_BLOCKS),
            ),
            WITHOUT_SEARCH,
        ),
        Table(
            "pressure",
            "the chain, at capacities that are a multiple of what its largest call needs",
            tuple(Case(f"{x:g} times", chain, AT_ONCE, text_tokens=900, pressure=x) for x in PRESSURES),
            (AS_WRITTEN, TUNED, LAYOUT),
        ),
        Table(
            "shapes",
            shapes.about,
            tuple(replace(case, items=8, blocks=ALL_BLOCKS) for case in shapes.cases),
            WITHOUT_SEARCH,
        ),
    )


class GpuServer:
    """``charter_compiler.bench.engines.Engines``: one server, which stays; its cache is set to size and emptied."""

    name = "transformers, paged"
    timed = True

    def __init__(self, url: str, model: str) -> None:
        self._url = url
        self._target = f"openai://{url.removeprefix('http://')}/v1?model={model}"

    @contextmanager
    def cold(self, config: EngineConfig) -> Iterator[tuple[str, TargetOptions]]:
        """See ``Engines``. Blocks leave the cache in vLLM's order.

        Raises:
            UsageError: partial reuse, which this engine does not have.
        """
        if config.enable_partial_reuse:
            raise UsageError("this engine reuses whole blocks", remedy="choose other cases")
        body = {"blocks": config.capacity_blocks, "sharing": config.enable_block_reuse, "eviction": "lru"}
        httpx.post(f"{self._url}/reset", json=body, timeout=120, trust_env=False).raise_for_status()
        yield self._target, TargetOptions(tokenizer=DEFAULT_MODEL.name)


def measure_round(url: str, model: str, output: Path, budget: Budget, folder: Path, commit: str | None = None) -> None:
    """One round of every table, appended to ``output``, until time is over. ``commit``: where there is no history."""
    engine, longest = GpuServer(url, model), 5.0
    for table in tables():
        with closing(run_table(table, 1, engine, folder / table.name, read_rows(output))) as runs:
            left = budget.left
            for row in runs:
                append_row(output, row | {"commit": commit} if commit and row["kind"] == SESSION else row)
                print(run_line(row), f"({budget.left:.0f} s left)", flush=True)
                longest, left = max(longest, left - budget.left), budget.left
                if not budget.allows(longest):
                    print(f"no time for the rest of {table.name}", flush=True)
                    return


def measure_tables(url: str, model: str, output: Path, rounds: int, budget: Budget, commit: str | None) -> None:
    """Each round in a process of its own, so that what a process learns or leaves behind is part of the spread."""
    for _ in range(rounds):
        command = [sys.executable, __file__, "--url", url, "--model", model, "-o", str(output)]
        command += ["--budget-s", f"{budget.left:.0f}", *(["--commit", commit] if commit else [])]
        subprocess.run(command, check=True)


def shown(output: Path) -> str:
    """What the rows say, by case."""
    return "\n".join(
        line for case in summarize(read_rows(output)) for line in (f"{case.table}: {case.case}", *finding_lines(case))
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True, help="of server.py")
    parser.add_argument("--model", required=True)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="ROWS.jsonl", help="appended to")
    parser.add_argument("--budget-s", type=float, default=300.0)
    parser.add_argument("--commit")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure_round(args.url, args.model, args.output, Budget(args.budget_s), Path(folder), args.commit)


if __name__ == "__main__":
    main()
