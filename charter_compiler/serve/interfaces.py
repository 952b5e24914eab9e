"""The tensor interfaces that the embedded server offers: those of TensorRT-LLM's Triton models, as package data."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any


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
    """Tensors of one model; an ensemble has steps."""

    name: str
    max_batch_size: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    steps: tuple[Step, ...] = ()


@cache
def interfaces() -> dict[str, Interface]:
    """All of them, by model name, in the order of the data file ``model_repository/tensors.json``."""
    source = files("charter_compiler.serve.model_repository").joinpath("tensors.json")
    models: dict[str, Any] = json.loads(source.read_text(encoding="utf-8"))["models"]
    return {
        name: Interface(
            name=name,
            max_batch_size=model["max_batch_size"],
            inputs=tuple(_tensor(entry) for entry in model["inputs"]),
            outputs=tuple(_tensor(entry) for entry in model["outputs"]),
            steps=tuple(Step(**step) for step in model.get("steps", ())),
        )
        for name, model in models.items()
    }


def _tensor(entry: dict[str, Any]) -> Tensor:
    return Tensor(entry["name"], entry["type"], tuple(entry["dims"]), entry.get("optional", False))
