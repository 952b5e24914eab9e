"""The same vLLM with and without Charter: plain concurrent runs of an agent beside ``charter run``, in turn.

Each round is one run of each kind, cache emptied before each, in an order that alternates. Every line is one run.

    python benchmarks/runtime/vllm_comparison.py --part as_written --rounds 2 -o benchmarks/runtime/vllm.jsonl

vLLM's server comes from ``.venv-peer`` (``make test-peer`` sets it up).
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.append(str(HERE.parent / "prediction"))

from plain import plain_run  # noqa: E402
from vllm_server import convert, reset, serve  # noqa: E402

from charter_compiler.api.measured_run import measured_run  # noqa: E402
from charter_compiler.api.run_request import PredictWhen, RunRequest  # noqa: E402
from charter_compiler.executor.run.options import RunOptions  # noqa: E402
from charter_compiler.tokens.models import find_model  # noqa: E402

DOCUMENTS = ROOT / "examples" / "data" / "documents.jsonl"
AS_WRITTEN = f"{ROOT / 'examples' / 'agents' / 'document_processor.py'}:DocumentProcessor.process"
DOCUMENT_FIRST = f"{HERE / 'agents' / 'document_first.py'}:DocumentProcessor.process"
NOTHING_SHARED = f"{HERE / 'agents' / 'nothing_shared.py'}:headline"


@dataclass(frozen=True, slots=True)
class Part:
    """What is compared: the agent that runs plainly and under Charter, whether Charter lays out, and the cache."""

    entry: str
    layout: bool
    blocks: int
    characters: int | None = None


PARTS = {
    "as_written": Part(AS_WRITTEN, layout=True, blocks=256),
    "layout_in_agent": Part(DOCUMENT_FIRST, layout=False, blocks=256),
    "nothing_shared": Part(NOTHING_SHARED, layout=False, blocks=256, characters=600),
    "ample_capacity": Part(AS_WRITTEN, layout=False, blocks=2048, characters=600),
}
"""The last two are to lose nothing: no prompt begins like another, and a cache that holds all prompts at once. Their
documents are cut short, so that many pairs of runs fit into the time."""


@dataclass(frozen=True, slots=True)
class Line:
    """One run. ``wall_s``: the items alone. ``seconds``: with planning and opening the target. ``attainable``: the hit
    rate of the same requests in the same order on an unbounded cache. ``load``: of the machine, before."""

    part: str
    round: int
    run: str
    items: int
    calls: int
    failed: int
    prompt_tokens: int | None
    cached_tokens: int | None
    output_tokens: int | None
    hit_rate: float | None
    attainable: float | None
    wall_s: float
    seconds: float
    load: float
    date: str


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="F.jsonl", help="appended to")
    parser.add_argument("--part", choices=PARTS, nargs="+", required=True, help="several: of one cache size")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--first-round", type=int, default=0, help="number of the first round, to go on with a file")
    parser.add_argument(
        "--only", choices=["plain", "charter"], help="for hit rates, which no load of the machine changes"
    )
    parser.add_argument("--items", type=int, default=16)
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--max-tokens", type=int, default=24)
    parser.add_argument("--block-size", type=int, default=32)
    parser.add_argument("--vllm-python", type=Path, default=ROOT / ".venv-peer" / "bin" / "python")
    parser.add_argument("--vllm-weights", type=Path, help="folder of the converted weights (default: made anew)")
    return parser.parse_args()


def rows_of(part: Part, items: int) -> Iterator[dict[str, str]]:
    with DOCUMENTS.open(encoding="utf-8") as file:
        for text in islice(file, items):
            yield {"document": json.loads(text)["document"].strip()[: part.characters]}


def measure_plain(part: Part, name: str, number: int, target: str, args: argparse.Namespace) -> Line:
    """The agent as it is, with the stock client."""
    load, start = os.getloadavg()[0], time.perf_counter()
    run = plain_run(
        part.entry,
        list(rows_of(part, args.items)),
        target,
        concurrency=args.concurrency,
        max_tokens=args.max_tokens,
    )
    return Line(
        part=name, round=number, run="plain", items=args.items, calls=run.calls, failed=0,
        prompt_tokens=run.prompt_tokens, cached_tokens=run.cached_tokens, output_tokens=run.output_tokens,
        hit_rate=run.cached_tokens / run.prompt_tokens, attainable=None, wall_s=round(run.wall_s, 3),
        seconds=round(time.perf_counter() - start, 3), load=round(load, 2), date=now(),
    )  # fmt: skip


def measure_charter(part: Part, name: str, number: int, target: str, args: argparse.Namespace, folder: Path) -> Line:
    """The same items through ``charter run``."""
    load, start = os.getloadavg()[0], time.perf_counter()
    request = RunRequest(
        entry=part.entry,
        inputs=folder / "in.jsonl",
        output=folder / "out.jsonl",
        target=target,
        options=RunOptions(concurrency=args.concurrency, max_tokens=args.max_tokens),
        predict=PredictWhen.NEVER,
        layout=part.layout,
    )
    report = measured_run(request)
    if report.stopped is not None:
        raise report.stopped
    metrics = report.metrics
    return Line(
        part=name, round=number, run="charter", items=metrics.items, calls=metrics.calls, failed=metrics.failed,
        prompt_tokens=metrics.prompt_tokens, cached_tokens=metrics.cached_tokens, output_tokens=metrics.output_tokens,
        hit_rate=metrics.hit_rate, attainable=metrics.attainable_hit_rate, wall_s=round(metrics.wall_s, 3),
        seconds=round(time.perf_counter() - start, 3), load=round(load, 2), date=now(),
    )  # fmt: skip


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def main() -> None:
    args = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the server ends with this program
    parts = {name: PARTS[name] for name in args.part}
    (blocks,) = {part.blocks for part in parts.values()}
    with tempfile.TemporaryDirectory() as temporary, args.output.open("a", encoding="utf-8") as results:
        folder = Path(temporary)
        weights = args.vllm_weights or folder / "weights"
        convert(args.vllm_python, find_model(), weights)
        start = time.perf_counter()
        with serve(args.vllm_python, weights, block_size=args.block_size, blocks=blocks) as target:
            print(f"server ready after {time.perf_counter() - start:.0f} s", file=sys.stderr)
            plain_run(AS_WRITTEN, [{"document": "Start."}], target, concurrency=1, max_tokens=2)  # the server's own
            for number in range(args.first_round, args.first_round + args.rounds):
                for name, part in parts.items():
                    for line in one_round(part, name, number, target, args, folder):
                        print(json.dumps(asdict(line)), file=results, flush=True)
                        print(line.part, line.round, line.run, f"{line.wall_s:.2f} s", line.hit_rate, file=sys.stderr)


def one_round(
    part: Part, name: str, number: int, target: str, args: argparse.Namespace, folder: Path
) -> Iterator[Line]:
    """Each kind once; every other round the other way round."""
    inputs = "".join(json.dumps(row) + "\n" for row in rows_of(part, args.items))
    (folder / "in.jsonl").write_text(inputs, encoding="utf-8")
    runs: dict[str, Callable[[], Line]] = {
        "plain": partial(measure_plain, part, name, number, target, args),
        "charter": partial(measure_charter, part, name, number, target, args, folder),
    }
    for kind in runs if number % 2 == 0 else reversed(runs):
        if args.only in (None, kind):
            reset(target)
            yield runs[kind]()


if __name__ == "__main__":
    main()
