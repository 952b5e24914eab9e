"""Triton's tensors as Python values, both ways. Pure; knows tritonclient's protobuf and nothing of models.

Inputs go as typed ``contents``: every text model's inputs are a handful of scalars and strings, for which the raw
encoding saves nothing. Outputs come as raw bytes from Triton and may come typed from others; both are read.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from tritonclient.grpc import service_pb2
from tritonclient.utils import deserialize_bytes_tensor

from charter_compiler.diagnostics.errors import RequestRejectedError, TargetProtocolError

CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""Where protobuf keeps the values of each of Triton's data types."""

RAW_TYPES = {
    "BOOL": np.bool_,
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "UINT8": np.uint8,
    "UINT16": np.uint16,
    "UINT32": np.uint32,
    "UINT64": np.uint64,
    "FP16": np.float16,
    "FP32": np.float32,
    "FP64": np.float64,
}


def add_input(request: Any, name: str, datatype: str, shape: Sequence[int], values: Sequence[Any]) -> None:
    """Append an input tensor to a ``ModelInferRequest``; strings become UTF-8.

    Raises:
        RequestRejectedError: a value does not fit the data type.
    """
    field = CONTENTS.get(datatype)
    if field is None:
        raise RequestRejectedError(f"input {name!r} has the type {datatype}, which a text client cannot send")
    tensor = request.inputs.add(name=name, datatype=datatype, shape=shape)
    try:
        encoded = [value.encode() if isinstance(value, str) else value for value in values]
        getattr(tensor.contents, field).extend(encoded)
    except (TypeError, ValueError) as error:
        raise RequestRejectedError(f"{name} = {values[0]!r} does not fit {datatype}", remedy="correct it") from error


def outputs_of(response: Any, place: str) -> dict[str, list[Any]]:
    """The output tensors of a ``ModelInferResponse`` as flat lists; strings stay bytes. Types that no text client
    needs are left out.

    Raises:
        TargetProtocolError: a tensor's bytes do not fit its data type.
    """
    values: dict[str, list[Any]] = {}
    raw = response.raw_output_contents
    if raw and len(raw) != len(response.outputs):
        raise TargetProtocolError(
            f"the server announced {len(response.outputs)} tensors and sent {len(raw)}", place=place
        )
    for index, tensor in enumerate(response.outputs):
        if not raw:
            field = CONTENTS.get(tensor.datatype)
            if field is not None:
                values[tensor.name] = list(getattr(tensor.contents, field))
            continue
        try:
            if tensor.datatype == "BYTES":
                values[tensor.name] = list(deserialize_bytes_tensor(raw[index]))
            elif tensor.datatype in RAW_TYPES:
                values[tensor.name] = np.frombuffer(raw[index], dtype=RAW_TYPES[tensor.datatype]).tolist()
        except (ValueError, struct.error) as error:
            raise TargetProtocolError(f"output {tensor.name!r} is not valid {tensor.datatype}", place=place) from error
    return values


def as_int(value: Any) -> int | None:
    """``value`` as an integer, from a number or from a string that holds one (the llmapi model sends some so)."""
    number = as_float(value)
    return None if number is None else int(number)


def as_float(value: Any) -> float | None:
    """``value`` as a finite number; ``None`` for anything else."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def as_text(value: Any) -> str | None:
    """``value`` as text; ``None`` for an empty one and for Python's ``None`` as the llmapi model spells it."""
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return None if text in {"", "None"} else text


def empty_infer_request(model: str, request_id: str) -> Any:
    """A ``ModelInferRequest`` without inputs."""
    return service_pb2.ModelInferRequest(model_name=model, id=request_id)
