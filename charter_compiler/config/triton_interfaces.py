"""The Triton models of TensorRT-LLM: tensors, parameters and ensemble steps, as package data.

The embedded server offers the five of the ``engine`` profile too; ``llmapi`` is the newer profile's only one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

LLMAPI = "llmapi"
"""Name of the newer profile's model in the data file; in a repository it is called ``tensorrt_llm``."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """``type`` in Triton's configuration spelling (``STRING``, ``INT32``); ``dims`` without the batch dimension, -1
    for any size."""

    name: str
    type: str
    dims: tuple[int, ...]
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """One step of an ensemble; the maps go from the model's tensor to the ensemble's."""

    model: str
    input_map: dict[str, str]
    output_map: dict[str, str]


@dataclass(frozen=True, slots=True)
class Interface:
    """Tensors of one model, and the names of its parameters; an ensemble has steps."""

    name: str
    backend: str
    max_batch_size: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    parameters: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()


@cache
def all_interfaces() -> dict[str, Interface]:
    """By model name, in the order of the data file ``triton_interfaces.json``."""
    source = files("charter_compiler.config").joinpath("triton_interfaces.json")
    models: dict[str, Any] = json.loads(source.read_text(encoding="utf-8"))["models"]
    return {
        name: Interface(
            name=name,
            backend=model["backend"],
            max_batch_size=model["max_batch_size"],
            inputs=tuple(_tensor(entry) for entry in model["inputs"]),
            outputs=tuple(_tensor(entry) for entry in model["outputs"]),
            parameters=tuple(model["parameters"]),
            steps=tuple(Step(**step) for step in model.get("steps", ())),
        )
        for name, model in models.items()
    }


@cache
def engine_interfaces() -> dict[str, Interface]:
    """Those of the ``engine`` profile."""
    return {name: one for name, one in all_interfaces().items() if name != LLMAPI}


def _tensor(entry: dict[str, Any]) -> Tensor:
    return Tensor(entry["name"], entry["type"], tuple(entry["dims"]), entry.get("optional", False))
