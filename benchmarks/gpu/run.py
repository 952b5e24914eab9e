"""What Charter brings on a GPU: an 8B Llama with random weights behind ``transformers``' continuous batching.

    python benchmarks/gpu/run.py -o benchmarks/gpu/h100.jsonl --budget-s 380
    python benchmarks/gpu/run.py -o tiny.jsonl --shape tiny --device cpu --repeats 1 --rounds 1

Rows are written as they are measured. When the time is over nothing new begins, and what there is is shown.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

import httpx  # noqa: E402
from agents_part import CASES, Agents  # noqa: E402
from raw_rows import Budget, Rows, conditions  # noqa: E402
from summary import text  # noqa: E402
from tables_part import measure_tables, shown  # noqa: E402
from ttft_part import PREFIXES, SHARED_PREFIXES, measure_concurrent, measure_ttft  # noqa: E402

PARTS = ("agents_first_round", "ttft", "concurrent", "agents", "tables")
START_LIMIT = 240.0
"""Seconds until the server answers; a guard."""
START_POLL = 0.25


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="F.jsonl", help="appended to")
    parser.add_argument("--budget-s", type=float, default=380.0, help="seconds for everything, the server's start too")
    parser.add_argument("--shape", default="llama-3-8b")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--repeats", type=int, default=5, help="of each time to the first token, beside one to warm up")
    parser.add_argument("--rounds", type=int, default=3, help="of the agents")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--prefixes", nargs="+", type=int, default=list(PREFIXES))
    parser.add_argument("--commit", help="where the checkout has no history")
    parser.add_argument("--server-args", default="", help="for server.py, in one text")
    return parser.parse_args()


@contextlib.contextmanager
def serving(args: argparse.Namespace, log: Path) -> Iterator[str]:
    """The address of the server, which runs for the length of the context.

    Raises:
        RuntimeError: it does not start; its log is printed.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, str(HERE / "server.py"), "--port", str(port), "--shape", args.shape]
    command += ["--device", args.device, *args.server_args.split()]
    with log.open("w", encoding="utf-8") as file:
        server = subprocess.Popen(
            command,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=os.environ | {"HF_HUB_OFFLINE": "1"},
        )
        try:
            url = f"http://127.0.0.1:{port}"
            if not _answers(url, server):
                print(log.read_text(encoding="utf-8", errors="replace")[-6000:], flush=True)
                raise RuntimeError("the server did not start; the end of its log is above")
            yield url
        finally:
            server.terminate()
            try:
                server.wait(15)
            except subprocess.TimeoutExpired:
                server.kill()


def _answers(url: str, server: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + START_LIMIT
    while time.monotonic() < deadline and server.poll() is None:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{url}/health", timeout=2, trust_env=False).status_code == httpx.codes.OK:
                return True
        time.sleep(START_POLL)
    return False


def measure(args: argparse.Namespace, url: str, rows: Rows, budget: Budget, folder: Path) -> None:
    """The parts, the most telling first: a round of all agents, the times to the first token, the other rounds."""
    agents = Agents(url, args.shape, rows, folder)
    runs = {
        "agents_first_round": lambda: (agents.warm_up(), agents.rounds(args.cases, range(1), budget)),
        "ttft": lambda: measure_ttft(url, args.shape, rows, budget, args.repeats, args.prefixes),
        "concurrent": lambda: measure_concurrent(url, args.shape, rows, budget, args.repeats, SHARED_PREFIXES),
        "agents": lambda: agents.rounds(args.cases, range(1, args.rounds), budget),
        "tables": lambda: measure_tables(url, args.shape, tables_file(args.output), args.rounds, budget, args.commit),
    }
    for part in args.only:
        start = time.monotonic()
        rows.guarded(part, runs[part])
        print(f"{part}: {time.monotonic() - start:.0f} s, {budget.left:.0f} s left", flush=True)


def tables_file(output: Path) -> Path:
    """Beside the other rows, since these have the form of `charter bench`."""
    return output.with_name(f"{output.stem}_tables.jsonl")


def main() -> None:
    args = arguments()
    budget = Budget(args.budget_s)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the server ends with this program
    args.output.parent.mkdir(parents=True, exist_ok=True)
    rows = Rows(args.output)
    head = conditions(args.commit, args.device) | {"shape": args.shape}
    log = args.output.with_suffix(".server.log")
    with tempfile.TemporaryDirectory() as folder, serving(args, log) as url:
        facts = httpx.get(f"{url}/facts", timeout=60, trust_env=False).json()
        rows.write(head | {"start_s": round(args.budget_s - budget.left, 1)} | facts)
        print(f"server ready, {budget.left:.0f} s left: {facts}", flush=True)
        measure(args, url, rows, budget, Path(folder))
    print(text([json.loads(line) for line in args.output.read_text(encoding="utf-8").splitlines()]), flush=True)
    print(shown(tables_file(args.output)), flush=True)


if __name__ == "__main__":
    main()
