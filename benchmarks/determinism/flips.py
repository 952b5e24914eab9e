"""How often does the embedded engine answer the same greedy prompt differently when its KV comes from the cache?

    python benchmarks/determinism/flips.py [--documents N] [--max-tokens N] [-o FILE]

Each document is sent twice, alone on a server started for the measurement: first cold (nothing reused), then warm. The
file has a line of conditions and a line a document, with the tokens of both answers; the rate is printed.
"""

from __future__ import annotations

import argparse
import datetime
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx

from charter_compiler.api.environment import describe_environment
from charter_compiler.serve.options import ServerOptions
from charter_compiler.serve.server import ServerHandle, start_server
from charter_compiler.tokens.models import DEFAULT_MODEL, find_model
from charter_compiler.tokens.tokenizer import default_tokenizer

ROOT = Path(__file__).resolve().parents[2]
INPUTS = ROOT / "examples" / "data" / "documents.jsonl"
OUTPUT = Path(__file__).with_name("flips.jsonl")
TIMEOUT = 600.0


@dataclass(frozen=True, slots=True)
class Answer:
    """Output token ids, and how many blocks of the prompt the engine took from its cache."""

    reused_blocks: int
    output_ids: list[int]


@dataclass(frozen=True, slots=True)
class Pair:
    """The same prompt, cold and warm. ``index`` is the line of the document, from 0."""

    index: int
    prompt_tokens: int
    cold: Answer
    warm: Answer

    @property
    def first_difference(self) -> int | None:
        """Index of the first output token that differs; ``None`` where none does."""
        cold, warm = self.cold.output_ids, self.warm.output_ids
        if cold == warm:
            return None
        same = [one == two for one, two in zip(cold, warm, strict=False)]
        return same.index(False) if False in same else len(same)

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "first_difference": self.first_difference}


def prompt(index: int, document: str) -> str:
    """The number at the front keeps documents that begin alike from sharing a block."""
    return f"Document {index}.\n\n{document}\n\nIn short:"


def measure(server: ServerHandle, documents: Sequence[str], max_tokens: int) -> Iterator[Pair]:
    """Send each document cold, then warm, with nothing beside it.

    Raises:
        RuntimeError: the first of two was not cold, or the second not warm.
        httpx.HTTPError: the server does not answer.
    """
    tokenizer = default_tokenizer()
    with httpx.Client(base_url=server.http_url, trust_env=False, timeout=TIMEOUT) as client:
        for index, document in enumerate(documents):
            ids = tokenizer.encode(prompt(index, document))
            cold, warm = (_ask(client, ids, max_tokens) for _ in range(2))
            if cold.reused_blocks or not warm.reused_blocks:
                raise RuntimeError(
                    f"document {index}: {cold.reused_blocks} blocks reused cold, {warm.reused_blocks} warm"
                )
            yield Pair(index, len(ids), cold, warm)


def _ask(client: httpx.Client, ids: list[int], max_tokens: int) -> Answer:
    body = {"input_ids": ids, "input_lengths": len(ids), "request_output_len": max_tokens}
    response = client.post("/v2/models/tensorrt_llm/generate", json=body).raise_for_status().json()
    output = response["output_ids"]
    return Answer(response["kv_cache_reused_blocks"], output if isinstance(output, list) else [output])


def conditions(server: ServerHandle, max_tokens: int) -> dict[str, Any]:
    """Machine, versions, commit, model and sizes of the measurement."""
    return {
        "measured": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": _git("rev-parse", "HEAD"),
        "changed_files": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "environment": dict(describe_environment()),
        "model": DEFAULT_MODEL.name,
        "engine": asdict(server.options.engine),
        "threads": server.options.threads,
        "max_tokens": max_tokens,
    }


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, metavar="N", help="how many (default: all)")
    parser.add_argument("--inputs", type=Path, default=INPUTS, help="JSON lines with a text in 'document'")
    parser.add_argument("--max-tokens", type=int, default=24, metavar="N", help="output tokens (%(default)s)")
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT, metavar="FILE", help="(%(default)s)")
    args = parser.parse_args(argv)
    lines = args.inputs.read_text(encoding="utf-8").splitlines()[: args.documents]
    documents = [json.loads(line)["document"] for line in lines]
    pairs = []
    with (
        start_server(ServerOptions(find_model(), DEFAULT_MODEL.name)) as server,
        args.output.open("w", encoding="utf-8") as file,
    ):
        print(json.dumps(conditions(server, args.max_tokens)), file=file, flush=True)
        for pair in measure(server, documents, args.max_tokens):
            print(json.dumps(pair.to_json()), file=file, flush=True)
            pairs.append(pair)
    print(summary(pairs))
    return 0


def summary(pairs: Sequence[Pair]) -> str:
    """One line: how many of the pairs differ, and where first."""
    places = [pair.first_difference for pair in pairs if pair.first_difference is not None]
    if not pairs:
        return "no documents"
    first = f"; first differing output token, from 0: {sorted(places)}" if places else ""
    return f"warm and cold greedy outputs differ: {len(places)} of {len(pairs)} ({len(places) / len(pairs):.0%}){first}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
