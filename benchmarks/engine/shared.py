"""What the engine's benchmarks share: conditions, the engine, llama.cpp's own server, and prompts."""

from __future__ import annotations

import contextlib
import datetime
import functools
import json
import os
import random
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

import httpx
from counting import Counted

from charter_compiler.api.environment import describe_environment
from charter_compiler.serve.engine.interface import EngineConfig, EngineRequest, SamplingParams
from charter_compiler.serve.engine.llama_runner import LlamaRunner
from charter_compiler.tokens.models import DEFAULT_MODEL, find_model
from charter_compiler.tokens.tokenizer import default_tokenizer

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = ROOT / "examples" / "data" / "documents.jsonl"
TIMEOUT = 1200.0
# For the engine and for llama.cpp's own server alike: spinning threads cost far more than they save on shared cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def counted(config: EngineConfig, clock: Callable[[], int] = time.monotonic_ns, model: Path | None = None) -> Counted:
    """The engine over the real model, the default one unless another file is given."""
    return Counted(config, LlamaRunner(model or find_model(), config), clock)


def ask(request_id: int, prompt: Sequence[int], max_tokens: int, **extra: Any) -> EngineRequest:
    return EngineRequest(request_id, tuple(prompt), SamplingParams(max_tokens), **extra)


@contextlib.contextmanager
def llama_server(model: Path | None = None, **options: Any) -> Iterator[str]:
    """llama.cpp's own server, from the same wheel; yields its address. ``options`` are ``CommonParams``'s."""
    import xllamacpp  # after the environment is set

    params = xllamacpp.CommonParams()
    params.model.path = str(model or find_model())
    params.port = 0
    params.hostnames = ["127.0.0.1"]
    params.verbosity = -1
    params.warmup = False
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = len(os.sched_getaffinity(0))
    for name, value in options.items():
        setattr(params, name, value)
    server = xllamacpp.Server(params)
    try:
        yield str(server.listening_address)
    finally:
        del server


def complete(url: str, prompt: Sequence[int], max_tokens: int, **options: Any) -> dict[str, Any]:
    """One greedy completion by llama.cpp's own server, with the tokens of its answer."""
    body = {"prompt": list(prompt), "n_predict": max_tokens, "temperature": 0, "return_tokens": True}
    body |= {"ignore_eos": True, "cache_prompt": True, **options}
    answer: dict[str, Any] = _client().post(f"{url}/completion", json=body).raise_for_status().json()
    return answer


@functools.cache
def _client() -> httpx.Client:
    """One for all requests: making one takes processor time that would count against the server."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    return httpx.Client(trust_env=False, timeout=TIMEOUT, limits=limits)


@functools.cache
def documents() -> list[list[int]]:
    """Tokens of the example documents."""
    lines = DOCUMENTS.read_text(encoding="utf-8").splitlines()
    return [default_tokenizer().encode(json.loads(line)["document"]) for line in lines]


def text_tokens(count: int, seed: int) -> list[int]:
    """So many tokens of the example documents, from a place that ``seed`` chooses."""
    rng = random.Random(seed)
    found: list[int] = []
    all_documents = documents()
    while len(found) < count:
        document = rng.choice(all_documents)
        start = rng.randrange(len(document) // 2)
        found += document[start : start + 400]
    return found[:count]


def conditions(config: EngineConfig | None = None, **others: Any) -> dict[str, Any]:
    """Machine, versions, commit, model and sizes of a measurement."""
    sizes = {} if config is None else {"engine": asdict(config)}
    return {
        "measured": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": _git("rev-parse", "HEAD"),
        "changed_files": bool(_git("status", "--porcelain")),
        "environment": dict(describe_environment()),
        "load_average": os.getloadavg()[0],
        "model": DEFAULT_MODEL.name,
        **sizes,
        **others,
    }


def timed(serve: Callable[[], object]) -> dict[str, float]:
    """Wall time, and processor time of this process with all its threads, those of a server in it too: other work on
    the machine lengthens the first much and the second little."""
    started, busy = time.perf_counter(), time.process_time()
    serve()
    return {"seconds": time.perf_counter() - started, "processor_s": time.process_time() - busy}


def write(file: TextIO, line: Mapping[str, Any]) -> None:
    print(json.dumps(line), file=file, flush=True)


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()
