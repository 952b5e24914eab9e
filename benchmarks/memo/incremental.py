"""A run over many items, and the same run again with a share of them changed: what the memo store saves.

Each round starts an embedded server with an empty cache and uses an empty store. Every line is one run: its figures,
the requests that the server itself counted, and the items whose calls were not answered from the store.

    python benchmarks/memo/incremental.py -o benchmarks/memo/incremental.jsonl
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx

from charter_compiler.api.measured_run import measured_run
from charter_compiler.api.memo import MemoOptions
from charter_compiler.api.run_request import PredictWhen, RunRequest
from charter_compiler.executor.prometheus import parse_metrics
from charter_compiler.executor.recording import read_recording, recording_path
from charter_compiler.executor.run.options import RunOptions
from charter_compiler.serve.options import ServerOptions
from charter_compiler.serve.server import ServerHandle, start_server
from charter_compiler.tokens.models import DEFAULT_MODEL, find_model

ROOT = Path(__file__).parents[2]
AGENT = Path(__file__).parent / "agent.py"
DOCUMENTS = ROOT / "examples" / "data" / "documents.jsonl"
CHARACTERS = 100
"""Of a document: prompts of about 60 tokens."""


@dataclass(frozen=True, slots=True)
class Line:
    """One run. ``requests`` is what the server counted meanwhile; ``seconds`` is of the whole run with the opening of
    the target, ``wall_s`` of its items alone."""

    round: int
    run: str
    items: int
    changed: int
    calls: int
    memoized_calls: int
    requests: int
    other_items_called: int
    changed_items_not_called: int
    failed: int
    prompt_tokens: int | None
    wall_s: float
    seconds: float


def rows(items: int) -> list[str]:
    """So many different documents, cut short: those of the examples, numbered anew each time they come round."""
    with DOCUMENTS.open(encoding="utf-8") as file:
        texts = [json.loads(line)["document"] for line in file]
    return [f"No. {n}. {texts[n % len(texts)][:CHARACTERS]}" for n in range(items)]


def changed(texts: Sequence[str], every: int) -> tuple[list[str], set[int]]:
    """One in ``every`` with other first words, and which they are."""
    which = set(range(0, len(texts), every))
    return [f"Corrected. {text}" if n in which else text for n, text in enumerate(texts)], which


def served_requests(server: ServerHandle) -> int:
    """Requests that the server has answered, by its own counter."""
    text = httpx.get(server.metrics_url, trust_env=False).text
    name = "nv_inference_request_success{"
    counts = parse_metrics(text, place=server.metrics_url).items()
    return round(sum(value for key, value in counts if key.startswith(name) and 'model="ensemble"' in key))


def measure(
    server: ServerHandle, folder: Path, texts: Sequence[str], which: set[int], name: str, number: int, *, memo: bool
) -> Line:
    """One run over ``texts``, of which ``which`` are new."""
    inputs = folder / "in.jsonl"
    inputs.write_text("".join(json.dumps({"document": text}) + "\n" for text in texts), encoding="utf-8")
    request = RunRequest(
        entry=f"{AGENT}:process",
        inputs=inputs,
        output=folder / f"{name}.jsonl",
        target=f"triton://{server.grpc_url}/ensemble",
        options=RunOptions(concurrency=16),
        predict=PredictWhen.NEVER,
        record=True,
        memo=MemoOptions(place=folder / "memo") if memo else None,
    )
    before, start = served_requests(server), time.perf_counter()
    report = measured_run(request)
    seconds = time.perf_counter() - start
    requests = served_requests(server) - before
    if report.stopped is not None:
        raise report.stopped
    called = {
        call["item"]
        for call in read_recording(recording_path(request.output))
        if call["item"] is not None and not call["memoized"]
    }
    metrics = report.metrics
    return Line(
        round=number,
        run=name,
        items=metrics.items,
        changed=len(which),
        calls=metrics.calls,
        memoized_calls=metrics.memoized_calls,
        requests=requests,
        other_items_called=len(called - which),
        changed_items_not_called=len(which - called),
        failed=metrics.failed,
        prompt_tokens=metrics.prompt_tokens,
        wall_s=round(metrics.wall_s, 3),
        seconds=round(seconds, 3),
    )


def one_round(server: ServerHandle, folder: Path, items: int, every: int, number: int) -> list[Line]:
    """A first run, the run again with one in ``every`` items changed, and that one once more with nothing new."""
    first = rows(items)
    second, which = changed(first, every)
    return [
        measure(server, folder, first, set(range(items)), "first", number, memo=True),
        measure(server, folder, second, which, "changed", number, memo=True),
        measure(server, folder, second, set(), "unchanged", number, memo=True),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--items", type=int, default=200)
    parser.add_argument("--every", type=int, default=20, help="one in so many items is changed")
    args = parser.parse_args()
    options = ServerOptions(model_path=find_model(), model_name=DEFAULT_MODEL.name)
    with args.output.open("w", encoding="utf-8") as file:
        for number in range(args.rounds):
            with tempfile.TemporaryDirectory() as folder, start_server(options) as server:
                for line in one_round(server, Path(folder), args.items, args.every, number):
                    file.write(json.dumps(asdict(line)) + "\n")
                    file.flush()
                    print(f"{line.run}: {line.calls} calls, {line.memoized_calls} memoized, {line.wall_s:.2f} s")


if __name__ == "__main__":
    main()
