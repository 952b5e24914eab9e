"""A real gRPC server in this process that speaks Triton's protocol and does what a test tells it: for what the real
server cannot be made to do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from tritonclient.grpc import model_config_pb2, service_pb2, service_pb2_grpc

from charter_compiler.serve.interfaces import interfaces
from charter_compiler.serve.repository import model_config

Behaviour = Callable[[Any, grpc.ServicerContext], Iterator[Any]]
"""Takes a ``ModelInferRequest``, yields ``ModelStreamInferResponse``."""

LLMAPI_INPUTS = {
    "text_input": "STRING",
    "streaming": "BOOL",
    "sampling_param_max_tokens": "INT32",
    "sampling_param_temperature": "FP32",
    "sampling_param_stop": "STRING",
    "sampling_param_exclude_input_from_output": "BOOL",
    "sampling_param_return_perf_metrics": "BOOL",
    "return_finish_reason": "BOOL",
    "return_stop_reason": "BOOL",
}
LLMAPI_OUTPUTS = (
    "text_output",
    "finish_reason",
    "stop_reason",
    "kv_cache_reused_block",
    "kv_cache_missed_block",
    "kv_cache_hit_rate",
)


def engine_configs(decoupled: bool = True, **parameters: str) -> dict[str, Any]:
    """The engine profile's models; ``parameters`` are those of ``tensorrt_llm``."""
    configs = {name: model_config(interface, {}) for name, interface in interfaces().items()}
    for config in configs.values():
        config.model_transaction_policy.decoupled = decoupled
    for name, value in parameters.items():
        configs["tensorrt_llm"].parameters[name].string_value = value
    configs["tensorrt_llm_bls"].parameters["tensorrt_llm_model_name"].string_value = "tensorrt_llm"
    return configs


def llmapi_configs(decoupled: bool = True) -> dict[str, Any]:
    """The llmapi profile's one model: no batch dimension, one-dimensional inputs."""
    config = model_config_pb2.ModelConfig(name="tensorrt_llm", max_batch_size=0, backend="python")
    for name, kind in LLMAPI_INPUTS.items():
        config.input.add(name=name, data_type=model_config_pb2.DataType.Value(f"TYPE_{kind}"), dims=[-1])
    for name in LLMAPI_OUTPUTS:
        config.output.add(name=name, data_type=model_config_pb2.TYPE_STRING, dims=[-1])
    config.model_transaction_policy.decoupled = decoupled
    return {"tensorrt_llm": config}


def infer_response(text: str | bytes | None = None, *, final: bool = False, **figures: Any) -> Any:
    """A ``ModelInferResponse`` with raw outputs, as Triton sends it. Figures that are strings are sent as such."""
    response = service_pb2.ModelInferResponse(model_name="ensemble")
    response.parameters["triton_final_response"].bool_param = final
    values = {**({} if text is None else {"text_output": text}), **figures}
    for name, value in values.items():
        if isinstance(value, str):
            value = value.encode()
        kind = "BYTES" if isinstance(value, bytes) else "INT64" if name.endswith("_ns") else "INT32"
        response.outputs.add(name=name, datatype=kind, shape=[1])
        if isinstance(value, bytes):
            raw = len(value).to_bytes(4, "little") + value
        else:
            raw = int(value).to_bytes(8 if kind == "INT64" else 4, "little")
        response.raw_output_contents.append(raw)
    return response


def chunk(text: str | bytes | None = None, *, final: bool = False, **figures: Any) -> Any:
    """The same as a message of a stream."""
    return service_pb2.ModelStreamInferResponse(infer_response=infer_response(text, final=final, **figures))


def echo(request: Any, _context: grpc.ServicerContext) -> Iterator[Any]:
    """Sends the prompt back word by word, with figures at the end."""
    words = prompt_of(request).split(" ")
    for index, word in enumerate(words):
        yield chunk(word if index == 0 else f" {word}", num_output_tokens=1)
    yield chunk(final=True, num_input_tokens=len(words), kv_cache_reused_blocks=0)


def prompt_of(request: Any) -> str:
    """The text of a request."""
    return value_of(request, "text_input").decode()


def value_of(request: Any, name: str) -> Any:
    """The first value of an input; KeyError if it was not sent."""
    for tensor in request.inputs:
        if tensor.name == name:
            (_field, values), *_rest = tensor.contents.ListFields()
            return values[0]
    raise KeyError(name)


class ScriptedTriton(service_pb2_grpc.GRPCInferenceServiceServicer):
    """Starts on a free port of the loopback. ``requests`` and ``metadata`` hold what inference calls brought;
    ``cancelled`` is released once for each inference call that ended without its behaviour having ended."""

    def __init__(
        self,
        behaviour: Behaviour = echo,
        configs: dict[str, Any] | None = None,
        *,
        port: int = 0,
        credentials: grpc.ServerCredentials | None = None,
    ) -> None:
        self.behaviour = behaviour
        self.configs = configs or engine_configs()
        self.requests: list[Any] = []
        self.metadata: list[dict[str, str]] = []
        self.cancelled = threading.Semaphore(0)
        self.active = 0
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(max_workers=80)
        self.server = grpc.server(self._pool)
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(self, self.server)
        if credentials is None:
            self.port = self.server.add_insecure_port(f"127.0.0.1:{port}")
        else:
            self.port = self.server.add_secure_port(f"127.0.0.1:{port}", credentials)
        self.server.start()

    @property
    def url(self) -> str:
        return f"127.0.0.1:{self.port}"

    def stop(self) -> None:
        self.server.stop(grace=None).wait()
        self._pool.shutdown()

    def _config(self, name: str, context: grpc.ServicerContext) -> Any:
        if name not in self.configs:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Request for unknown model: '{name}' is not found")
        return self.configs[name]

    def ServerLive(self, request: Any, context: grpc.ServicerContext) -> Any:
        return service_pb2.ServerLiveResponse(live=True)

    def ServerReady(self, request: Any, context: grpc.ServicerContext) -> Any:
        return service_pb2.ServerReadyResponse(ready=True)

    def ServerMetadata(self, request: Any, context: grpc.ServicerContext) -> Any:
        return service_pb2.ServerMetadataResponse(name="scripted", version="1")

    def ModelReady(self, request: Any, context: grpc.ServicerContext) -> Any:
        return service_pb2.ModelReadyResponse(ready=request.name in self.configs)

    def ModelMetadata(self, request: Any, context: grpc.ServicerContext) -> Any:
        config = self._config(request.name, context)
        response = service_pb2.ModelMetadataResponse(name=config.name)
        batch = [-1] if config.max_batch_size else []
        for source, target in ((config.input, response.inputs), (config.output, response.outputs)):
            for tensor in source:
                kind = model_config_pb2.DataType.Name(tensor.data_type).removeprefix("TYPE_")
                datatype = "BYTES" if kind == "STRING" else kind
                target.add(name=tensor.name, datatype=datatype, shape=[*batch, *tensor.dims])
        return response

    def ModelConfig(self, request: Any, context: grpc.ServicerContext) -> Any:
        return service_pb2.ModelConfigResponse(config=self._config(request.name, context))

    def ModelStatistics(self, request: Any, context: grpc.ServicerContext) -> Any:
        response = service_pb2.ModelStatisticsResponse()
        entry = response.model_stats.add(name="ensemble", version="1", inference_count=len(self.requests))
        entry.inference_stats.success.count = len(self.requests)
        return response

    def ModelInfer(self, request: Any, context: grpc.ServicerContext) -> Any:
        return next(iter(self._answer(request, context))).infer_response

    def ModelStreamInfer(self, request_iterator: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        for request in request_iterator:
            yield from self._answer(request, context)

    def _answer(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        with self._lock:
            self.requests.append(request)
            self.metadata.append(dict(context.invocation_metadata()))
            self.active += 1
        ended = False
        try:
            yield from self.behaviour(request, context)
            ended = True
        finally:
            with self._lock:
                self.active -= 1
            if not ended:
                self.cancelled.release()
