"""What all models need of Triton's Python backend."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from numpy.typing import NDArray

FINAL: int = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL


def parameters(args: Mapping[str, str]) -> dict[str, str]:
    """The model's parameters, from what Triton hands to ``initialize``."""
    config: dict[str, Any] = json.loads(args["model_config"])
    return {name: value["string_value"] for name, value in config.get("parameters", {}).items()}


def inputs_of(request: Any) -> dict[str, NDArray[Any]]:
    """The inputs that a request has."""
    return {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}


def response(tensors: Mapping[str, NDArray[Any]]) -> Any:
    return pb_utils.InferenceResponse(output_tensors=[pb_utils.Tensor(name, array) for name, array in tensors.items()])


def error_response(message: str, *, cancelled: bool = False) -> Any:
    """A response that refuses the request, or says that it was cancelled."""
    code = pb_utils.TritonError.CANCELLED if cancelled else pb_utils.TritonError.INVALID_ARG
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, code))


def texts(values: NDArray[Any]) -> list[str]:
    """Strings of a STRING tensor, in order.

    Raises:
        UnicodeDecodeError: one is not UTF-8.
    """
    return [value.decode("utf-8") for value in values.ravel().tolist()]


def string_array(rows: list[list[str]]) -> NDArray[np.object_]:
    """A STRING tensor of shape [batch, n]."""
    return np.array([[text.encode("utf-8") for text in row] for row in rows], dtype=np.object_)


def stop_request(name: str) -> None:
    """Cancel the running request of that id, in TensorRT-LLM's own way: the id again, with ``stop``. Called by models
    whose caller has gone, for Triton does not pass a cancellation on to the models that are called."""
    required = {"input_lengths": np.int32, "request_output_len": np.int32}
    inputs = [pb_utils.Tensor(tensor, np.ones((1, 1), dtype=kind)) for tensor, kind in required.items()]
    request = pb_utils.InferenceRequest(
        model_name="tensorrt_llm",
        request_id=name,
        inputs=[*inputs, pb_utils.Tensor("stop", np.ones((1, 1), dtype=np.bool_))],
        requested_output_names=[],
    )
    for answer in request.exec(decoupled=True):
        if answer.has_error():
            raise pb_utils.TritonModelException(answer.error().message())
