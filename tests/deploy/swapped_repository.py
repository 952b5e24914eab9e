"""A model repository that was set up for TensorRT-LLM, in the real Triton, its engine swapped.

Of the engine profile the inner model is the embedded one, and the Python of the others too, since theirs comes with
TensorRT-LLM's container. Of the llmapi profile the one model is a stand-in that asks another server: it has the
tensors and the settings of the repository, and real tokens, times and blocks.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from charter_compiler.serve import server as serve
from charter_compiler.serve.engine.interface import EngineConfig
from charter_compiler.serve.interfaces import interfaces
from charter_compiler.serve.options import ServerOptions
from charter_compiler.serve.server import ServerHandle
from charter_compiler.tokens.models import DEFAULT_MODEL

LLMAPI_MODEL = '''"""Stand-in of TensorRT-LLM's 1/model.py: asks {url} for what LLM(...) would compute."""

import sys

sys.path[:0] = {path!r}

from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils
import yaml

from charter_compiler.executor.triton_client_production import ProductionTritonClient

BLOCK = {block}


class TritonPythonModel:
    def initialize(self, args):
        folder = Path(args["model_repository"]) / args["model_version"]
        settings = yaml.safe_load((folder / "model.yaml").read_text())
        assert settings["kv_cache_config"]["enable_block_reuse"] is True
        assert settings["model"] == "/models/weights"
        self.client = ProductionTritonClient({url!r}, "ensemble", 120)

    def execute(self, requests):
        for request in requests:
            tensors = {{tensor.name(): tensor.as_numpy().ravel().tolist() for tensor in request.inputs()}}
            tokens = tensors["sampling_param_max_tokens"][0]
            result = self.client.infer_with_cache(tensors["text_input"][0].decode(), max_tokens=tokens)
            reused = int(result.details["kv_cache_reused_blocks"])
            missed = -(-result.prompt_tokens // BLOCK) - reused
            outputs = [pb_utils.Tensor("text_output", np.array([result.text.encode()], dtype=np.object_))]
            for name, value in (("kv_cache_reused_block", reused), ("kv_cache_missed_block", missed)):
                outputs.append(pb_utils.Tensor(name, np.array([value], dtype=np.int32)))
            response = pb_utils.InferenceResponse(output_tensors=outputs)
            request.get_response_sender().send(response, flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
'''


@contextmanager
def swapped(models: Path, model_path: Path, backend: ServerHandle | None) -> Iterator[ServerHandle]:
    """Triton with the repository of ``models``, the folder that the container mounts as ``/models``. With a
    ``backend`` it is one of the llmapi profile."""
    embedded = serve.write_repository

    def write(folder: Path, *arguments: Any, **keywords: Any) -> None:
        if backend is None:
            embedded(folder, *arguments, **keywords)
            _copy_engine(models / "repository", folder, model_path)
        else:
            shutil.copytree(models / "repository", folder)
            source = LLMAPI_MODEL.format(
                url=backend.grpc_url, path=sys.path, block=backend.options.engine.tokens_per_block
            )
            (folder / "tensorrt_llm" / "1" / "model.py").write_text(source, encoding="utf-8")

    engine = EngineConfig(capacity_blocks=64, max_context=1024, max_running=2)
    options = ServerOptions(model_path=model_path, model_name=DEFAULT_MODEL.name, engine=engine)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(serve, "write_repository", write)
        running = serve.start_server(options)
    with running:
        yield running


def _copy_engine(repository: Path, folder: Path, model_path: Path) -> None:
    for path in repository.glob("*/config.pbtxt"):
        name = path.parent.name
        if name == "tensorrt_llm":
            continue
        text = path.read_text(encoding="utf-8").replace("/models/weights", str(model_path))
        # An ensemble may batch no more than its models do, and the swapped one batches this much.
        text = re.sub(r"max_batch_size: \d+", f"max_batch_size: {interfaces()['tensorrt_llm'].max_batch_size}", text)
        if name == "tensorrt_llm_bls":
            # One process an instance: as many as a batch of the GPU are too many here.
            text = re.sub(r"count: \d+", "count: 1", text)
        (folder / name / "config.pbtxt").write_text(text, encoding="utf-8")
