"""What vLLM itself says of generated arguments and envelopes. Runs with the peer's Python (``make test-peer``).

``vllm_peer.py parse ARGUMENTS.json``: a list of argument lists through the parser of ``vllm serve``; for each one line,
``{"parsed": {...}}`` or ``{"error": ...}``.

``vllm_peer.py hints ENVELOPES.jsonl MODEL``: each envelope is decoded with vLLM's own ``KvHintsEnvelope``, sent with a
request to an engine with that model in this process, and read from the scheduler's ``Request.kv_hints``; one line each.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from parsed_arguments import print_parsed

os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")  # the scheduler must be in this process to be looked at


def parse(path: Path) -> None:
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    print_parsed(path, lambda: make_arg_parser(FlexibleArgumentParser(prog="vllm serve")))


def hints(path: Path, model: str) -> None:
    import msgspec
    from vllm import LLM, SamplingParams
    from vllm.v1.kv_hints import KvHintsEnvelope

    llm = LLM(model=model, enforce_eager=True, max_model_len=512, num_gpu_blocks_override=64)
    engine = llm.llm_engine
    scheduler: Any = engine.engine_core.engine_core.scheduler
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
        envelope = msgspec.json.decode(line, type=KvHintsEnvelope, strict=True)
        name = f"request-{number}"
        given = engine.add_request(name, "The cat sat.", SamplingParams(max_tokens=1), kv_hints=envelope)
        (request,) = [one for key, one in scheduler.requests.items() if key in (name, given) or key.startswith(name)]
        reached = request.kv_hints
        while engine.has_unfinished_requests():
            engine.step()
        print(json.dumps({"type": type(reached).__name__, "kv_hints": msgspec.to_builtins(reached)}), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "parse":
        parse(Path(sys.argv[2]))
    else:
        hints(Path(sys.argv[2]), sys.argv[3])
