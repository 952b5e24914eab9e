"""A real vLLM server on loopback for the length of a context, from the peer environment of ``make test-peer``."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

MODEL = "smollm2-135m-instruct"
START_LIMIT = 600.0
"""Seconds; a guard against waiting for ever."""


def convert(python: Path, gguf: Path, folder: Path) -> None:
    """The weights as vLLM reads them, unless they lie there already."""
    if not (folder / "tokenizer.json").is_file():
        script = Path(__file__).parent / "hf_weights.py"
        subprocess.run([python, script, gguf, folder], check=True, env=os.environ | {"HF_HUB_OFFLINE": "1"})


@contextlib.contextmanager
def serve(python: Path, weights: Path, *, block_size: int, blocks: int, reuse: bool = True) -> Iterator[str]:
    """The target of a running server: greedy where a request does not say, cache resets allowed; without ``reuse`` its
    prefix caching is off.

    Raises:
        RuntimeError: it does not start; the message has the end of its log.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [python, "-m", "vllm.entrypoints.openai.api_server", "--model", weights, "--served-model-name", MODEL]
    command += ["--host", "127.0.0.1", "--port", str(port), "--enforce-eager", "--dtype", "float32"]
    command += [
        "--max-model-len",
        str(min(4096, block_size * (blocks - 1))),  # one block is vLLM's own, for nothing
        "--block-size",
        str(block_size),
        "--num-gpu-blocks-override",
        str(blocks),
    ]
    command += ["--enable-prompt-tokens-details", "--override-generation-config", '{"temperature": 0}']
    command += ["--enable-prefix-caching" if reuse else "--no-enable-prefix-caching"]
    environment = os.environ | {
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_SERVER_DEV_MODE": "1",  # for /reset_prefix_cache
    }
    with tempfile.TemporaryFile("w+", errors="replace") as log:
        server = subprocess.Popen(
            [str(part) for part in command], env=environment, stdout=log, stderr=log, start_new_session=True
        )
        try:
            _wait(server, port, log.fileno())
            yield f"openai://127.0.0.1:{port}/v1?model={MODEL}"
        finally:
            server.terminate()
            try:
                server.wait(30)
            except subprocess.TimeoutExpired:
                server.kill()


def reset(target: str) -> None:
    """Empty the server's prefix cache, so that a run starts cold."""
    port = target.partition("127.0.0.1:")[2].partition("/")[0]
    httpx.post(f"http://127.0.0.1:{port}/reset_prefix_cache", timeout=60, trust_env=False).raise_for_status()


def _wait(server: subprocess.Popen[bytes], port: int, log: int) -> None:
    deadline = time.monotonic() + START_LIMIT
    while time.monotonic() < deadline:
        if server.poll() is not None:
            break
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"http://127.0.0.1:{port}/health", timeout=5, trust_env=False).status_code == 200:
                return
        time.sleep(2)
    size = os.fstat(log).st_size
    tail = os.pread(log, 3000, max(0, size - 3000)).decode(errors="replace")
    print(tail, file=sys.stderr)
    code = server.poll()
    what = f"did not start within {START_LIMIT:.0f} s" if code is None else f"ended with {code} before it was ready"
    raise RuntimeError(f"vLLM {what}; the end of its log is above")
