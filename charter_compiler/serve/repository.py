"""Writes the model repository: a ``config.pbtxt`` for each interface, and the Python that Triton loads for it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from charter_compiler.config.hints.envelope import PROTOCOL_VERSION, action_type
from charter_compiler.plan.hints import HintAction
from charter_compiler.serve.interfaces import Interface, Tensor, interfaces
from charter_compiler.serve.machine import machine_id
from charter_compiler.serve.model_repository.kv_report import REPORT
from charter_compiler.serve.options import MARK, ServerOptions, engine_parameters

DECOUPLED = frozenset({"tensorrt_llm", "tensorrt_llm_bls"})
"""Models that may answer a request with many responses. Triton works out for itself that the ensemble then may, too."""

_MODEL_PY = '''"""Loaded by Triton's Python backend, which knows nothing of the environment that started the server."""

import sys

sys.path[:0] = {path!r}

from charter_compiler.serve.model_repository.{name} import TritonPythonModel

__all__ = ["TritonPythonModel"]
'''


def write_repository(
    folder: Path, options: ServerOptions, ports: dict[str, int], *, version: str, fingerprint: str
) -> None:
    """Fill an empty folder with the five models.

    Args:
        ports: what the server will listen on, by ``HTTP``, ``gRPC``, ``metrics``; the models tell it to clients.
        version: Charter's; marks the server as the embedded one.
        fingerprint: of the model's tokenizer.
    """
    for name, interface in interfaces().items():
        model_folder = folder / name
        version_folder = model_folder / "1"
        version_folder.mkdir(parents=True)
        config = model_config(interface, model_parameters(name, options, ports, version, fingerprint))
        text = text_format.MessageToString(config)
        (model_folder / "config.pbtxt").write_text(text, encoding="utf-8")
        if not interface.steps:
            source = _MODEL_PY.format(name=name, path=[entry for entry in sys.path if Path(entry).is_absolute()])
            (version_folder / "model.py").write_text(source, encoding="utf-8")


def model_parameters(
    name: str, options: ServerOptions, ports: dict[str, int], version: str, fingerprint: str
) -> dict[str, str]:
    """The parameters of a model, with TensorRT-LLM's names where it has one."""
    tokenizer = {"tokenizer_dir": str(options.model_path.absolute())}
    if name == "preprocessing":
        return {**tokenizer, "add_special_tokens": "false"}
    if name == "postprocessing":
        return {**tokenizer, "skip_special_tokens": "true"}
    if name == "tensorrt_llm_bls":
        return {"accumulate_tokens": "false", "tensorrt_llm_model_name": "tensorrt_llm"}
    if name == "tensorrt_llm":
        return {
            MARK: version,
            "charter_model_name": options.model_name,
            "charter_tokenizer_fingerprint": fingerprint,
            "charter_machine": machine_id() or "",
            "charter_grpc_port": str(ports["gRPC"]),
            "charter_kv_hints": PROTOCOL_VERSION,
            "charter_kv_hint_actions": ",".join(action_type(action) for action in HintAction),
            "charter_http_port": str(ports["HTTP"]),
            "charter_metrics_port": str(ports["metrics"]),
            "gpt_model_path": str(options.model_path.absolute()),
            "exclude_input_in_output": "true",
            "cancellation_check_period_ms": "50",
            **tokenizer,
            **engine_parameters(options.engine, options.threads),
        }
    return {}


def model_config(interface: Interface, parameters: dict[str, str]) -> Any:
    """The ``ModelConfig`` message of one model."""
    config = model_config_pb2.ModelConfig(name=interface.name, max_batch_size=interface.max_batch_size)
    for tensor in interface.inputs:
        config.input.add(name=tensor.name, data_type=_data_type(tensor), dims=tensor.dims, optional=tensor.optional)
    for tensor in interface.outputs:
        config.output.add(name=tensor.name, data_type=_data_type(tensor), dims=tensor.dims)
    for name in sorted(parameters):
        config.parameters[name].string_value = parameters[name]
    if interface.name == "tensorrt_llm":
        config.output.add(name=REPORT, data_type=model_config_pb2.DataType.Value("TYPE_STRING"), dims=[1])
    if interface.steps:
        config.platform = "ensemble"
        for step in interface.steps:
            entry = config.ensemble_scheduling.step.add(model_name=step.model, model_version=-1)
            entry.input_map.update(step.input_map)
            entry.output_map.update(step.output_map)
        return config
    config.backend = "python"
    config.instance_group.add(count=1, kind=model_config_pb2.ModelInstanceGroup.KIND_CPU)
    if interface.name in DECOUPLED:
        config.model_transaction_policy.decoupled = True
    return config


def _data_type(tensor: Tensor) -> int:
    value: int = model_config_pb2.DataType.Value(f"TYPE_{tensor.type}")
    return value
