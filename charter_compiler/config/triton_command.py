"""The command that serves a TensorRT-LLM model repository inside its container, over as many GPUs as there are ranks.

As TensorRT-LLM's own ``scripts/launch_triton_server.py`` puts it together (release 1.2); that script leaves the server
in the background and ends, so that a container whose command it is would end, too.
"""

from __future__ import annotations

from charter_compiler.config.render import comment
from charter_compiler.config.target import MODELS

REPOSITORY = f"{MODELS}/repository"
INNER = "tensorrt_llm"


def triton_script(title: str, ranks: int) -> str:
    """``tritonserver.sh``: one ``tritonserver`` a rank under ``mpirun``. The first serves; the others load the inner
    model alone and compute their share of it."""
    text = "#!/bin/sh\n" + comment(f"{title} Run inside the container, with this folder mounted at {MODELS}.")
    if ranks > 1:
        text += comment(f"{ranks} ranks, a GPU each; all but the first load {INNER} alone, and answer nobody.")
    processes = [_rank(rank) for rank in range(ranks)]
    return text + "set -eu\nexec mpirun --allow-run-as-root \\\n  " + " : \\\n  ".join(processes) + "\n"


def _rank(rank: int) -> str:
    options = [f"--model-repository={REPOSITORY}"]
    if rank:
        options += ["--model-control-mode=explicit", f"--load-model={INNER}"]
    # Without a prefix of its own the Python models of two ranks would share memory.
    options += ["--disable-auto-complete-config", f"--backend-config=python,shm-region-prefix-name=prefix{rank}_"]
    return " ".join(["-n 1 tritonserver", *options])
