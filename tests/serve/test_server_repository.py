"""The model repository as written, read back by Triton's own schema."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from charter_compiler.serve.engine.interface import EngineConfig
from charter_compiler.serve.interfaces import interfaces
from charter_compiler.serve.model_repository.kv_report import REPORT
from charter_compiler.serve.options import MARK, ServerOptions, engine_config
from charter_compiler.serve.repository import write_repository

PORTS = {"HTTP": 1, "gRPC": 2, "metrics": 3}


@pytest.fixture
def configs(tmp_path: Path) -> dict[str, Any]:
    options = ServerOptions(Path("/models/a b.gguf"), "a", engine=EngineConfig(capacity_blocks=77), threads=3)
    write_repository(tmp_path, options, PORTS, version="1.2.3", fingerprint="f00")
    return {
        path.parent.name: text_format.Parse(path.read_text(encoding="utf-8"), model_config_pb2.ModelConfig())
        for path in tmp_path.glob("*/config.pbtxt")
    }


def test_the_five_models_have_the_tensors_of_tensorrt_llm(configs: dict[str, Any]) -> None:
    assert set(configs) == {"preprocessing", "tensorrt_llm", "postprocessing", "ensemble", "tensorrt_llm_bls"}
    for name, interface in interfaces().items():
        config = configs[name]
        kind = model_config_pb2.DataType.Name
        assert config.max_batch_size == interface.max_batch_size
        assert [(t.name, kind(t.data_type), tuple(t.dims), t.optional) for t in config.input] == [
            (t.name, f"TYPE_{t.type}", t.dims, t.optional) for t in interface.inputs
        ]
        own = [(REPORT, "TYPE_STRING", (1,))] if name == "tensorrt_llm" else []
        assert [(t.name, kind(t.data_type), tuple(t.dims)) for t in config.output] == [
            *((t.name, f"TYPE_{t.type}", t.dims) for t in interface.outputs),
            *own,
        ]


def test_the_ensemble_passes_tensors_of_one_type_along(configs: dict[str, Any]) -> None:
    """Triton refuses an ensemble in which a tensor changes its type on the way."""
    kinds: dict[str, set[int]] = {}
    for tensor in [*configs["ensemble"].input, *configs["ensemble"].output]:
        kinds.setdefault(tensor.name, set()).add(tensor.data_type)
    for step in configs["ensemble"].ensemble_scheduling.step:
        model = configs[step.model_name]
        for tensors, names in ((model.input, step.input_map), (model.output, step.output_map)):
            types = {tensor.name: tensor.data_type for tensor in tensors}
            for own, theirs in names.items():
                kinds.setdefault(theirs, set()).add(types[own])
    assert {name: types for name, types in kinds.items() if len(types) > 1} == {}


def test_the_engine_reads_its_sizes_back(configs: dict[str, Any]) -> None:
    parameters = {name: value.string_value for name, value in configs["tensorrt_llm"].parameters.items()}
    assert engine_config(parameters) == EngineConfig(capacity_blocks=77)
    assert parameters["charter_threads"] == "3"
    assert parameters["gpt_model_path"] == "/models/a b.gguf"
    assert parameters[MARK] == "1.2.3"
    assert parameters["charter_tokenizer_fingerprint"] == "f00"


def test_models_that_stream_are_decoupled(configs: dict[str, Any]) -> None:
    decoupled = {name for name, config in configs.items() if config.model_transaction_policy.decoupled}
    assert decoupled == {"tensorrt_llm", "tensorrt_llm_bls"}
