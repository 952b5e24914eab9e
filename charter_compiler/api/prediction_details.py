"""The details of a predicted run, put together: misses, seconds, and the size of the cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from charter_compiler.analysis.gpu_memory import gpu_named, plan_memory
from charter_compiler.api.details import Seconds, Sizing
from charter_compiler.executor.types import GenerationRequest
from charter_compiler.predict.capacity import size_workload
from charter_compiler.predict.control_flow import ItemTrace
from charter_compiler.predict.cost_model import Calibration
from charter_compiler.predict.prediction import Prediction, Simulation
from charter_compiler.predict.recorded import RecordedLengths, RecordedOutputs, outputs_of_run
from charter_compiler.predict.synthetic import OutputSource, SyntheticOutputs
from charter_compiler.tokens.kv_shape import KVDtype, load_kv_shape
from charter_compiler.tokens.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class SizingRequest:
    """``kv_dtype``: how KV is stored, by default as the model says."""

    kv_dtype: KVDtype | None = None


def output_source(run: Path | None, tokenizer: Tokenizer) -> OutputSource:
    """Synthetic outputs, or those of an earlier run that wrote its rows to ``run``.

    Raises:
        InputsError: nothing of that run was recorded.
    """
    synthetic = SyntheticOutputs(tokenizer)
    return synthetic if run is None else outputs_of_run(run, synthetic)


def note_of_missing(outputs: OutputSource) -> list[str]:
    """What a recorded run did not have."""
    if isinstance(outputs, RecordedOutputs | RecordedLengths) and outputs.missed:
        return [f"{outputs.missed} calls are not in the recorded run: synthetic outputs stand in for theirs"]
    return []


def predicted_seconds(calibration: Calibration | None, written: Prediction, planned: Prediction) -> Seconds | None:
    """The wall times; ``None`` for a target that was not calibrated."""
    if calibration is None or written.seconds is None or planned.seconds is None:
        return None
    return Seconds(written.seconds, planned.seconds, calibration)


def size_cache(
    wanted: SizingRequest,
    simulation: Simulation,
    traces: Sequence[ItemTrace],
    warm_ups: Sequence[GenerationRequest],
    model: Path | None,
    gpu: str | None,
    notes: list[str],
) -> Sizing | None:
    """The cache that a traced run needs; a line in ``notes`` for what is not known.

    Args:
        model: the model's folder, ``config.json`` or GGUF file.
        gpu: a name of ``analysis.gpu_memory.GPUS``.

    Raises:
        UsageError, ModelError: the GPU is unknown, the model does not fit it, or its files tell no KV cache.
    """
    workload = size_workload(simulation, traces, warm_ups)
    if workload is None:
        notes.append("no size of the cache: the engine would refuse a request whatever its capacity")
        return None
    if model is None:
        notes.append("no bytes and no memory of the cache: name the model's files with --model-files")
        return Sizing(workload)
    shape = load_kv_shape(model)
    dtype = wanted.kv_dtype or shape.dtype
    blocks, size = workload.capacity.blocks, workload.tokens_per_block
    memory = None
    if gpu is not None and blocks is not None:
        memory = plan_memory(shape, gpu_named(gpu), blocks, size, dtype=dtype)
    return Sizing(workload, shape.bytes_per_token(dtype), dtype, memory)
