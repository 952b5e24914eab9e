"""What a KV cache of a given size needs: which GPUs, how many, and at which price."""

from __future__ import annotations

import math
from dataclasses import dataclass

from charter_compiler.diagnostics.errors import UsageError
from charter_compiler.tokens.kv_shape import KVDtype, KVShape

MEMORY_FRACTION = 0.9
"""Share of a GPU's memory that engines take by default (vLLM's ``gpu_memory_utilization``, TensorRT-LLM's
``free_gpu_memory_fraction``)."""
RESERVE_BYTES = 2 << 30
"""Assumed for activations and the engine itself on each GPU: not measured here; an engine's start-up log tells it."""
PRICE_CLAIM = "list prices of Lambda Cloud as seen in September 2026, a claim that is not checked here"


@dataclass(frozen=True, slots=True)
class GPU:
    """``memory_bytes`` is nominal (1 GB is 10^9 bytes). ``usd_per_hour`` is for one GPU: see ``PRICE_CLAIM``."""

    name: str
    memory_bytes: int
    usd_per_hour: float


GPUS = (
    GPU("a10", 24 * 10**9, 1.29),
    GPU("gh200", 96 * 10**9, 2.29),
    GPU("a100-80gb", 80 * 10**9, 2.79),
    GPU("h100-pcie", 80 * 10**9, 3.29),
    GPU("h100-sxm", 80 * 10**9, 4.29),
    GPU("b200", 180 * 10**9, 6.99),
)


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """A cache on GPUs of one kind. ``gpus`` is a power of two, the tensor-parallel size. ``room_blocks`` is how many
    blocks fit beside the weights; ``blocks`` were asked for. ``usd_per_hour`` is a claim: see ``PRICE_CLAIM``."""

    gpu: GPU
    gpus: int
    tokens_per_block: int
    blocks: int
    block_bytes: int
    room_blocks: int
    weight_bytes: int

    @property
    def kv_bytes(self) -> int:
        return self.blocks * self.block_bytes

    @property
    def usd_per_hour(self) -> float:
        return self.gpus * self.gpu.usd_per_hour


def gpu_named(name: str) -> GPU:
    """The GPU of the table.

    Raises:
        UsageError: there is none of that name.
    """
    for gpu in GPUS:
        if gpu.name == name.lower():
            return gpu
    raise UsageError(f"there is no GPU '{name}' in the table", remedy=f"known are {', '.join(g.name for g in GPUS)}")


def plan_memory(
    shape: KVShape,
    gpu: GPU,
    blocks: int,
    tokens_per_block: int,
    *,
    dtype: KVDtype | None = None,
    weight_bytes: int | None = None,
) -> MemoryPlan:
    """The fewest GPUs on which weights and ``blocks`` KV blocks fit.

    Args:
        dtype: how KV is stored; the model's own by default.
        weight_bytes: size of the weights in memory where their files do not tell it.

    Raises:
        UsageError: the size of the weights is not known, or 64 GPUs do not hold them.
    """
    weights = weight_bytes or shape.weight_bytes
    if weights is None:
        raise UsageError(
            "the size of the weights is not known",
            place=shape.model,
            remedy="give --weight-bytes, or the model's folder",
        )
    usable = int(gpu.memory_bytes * MEMORY_FRACTION) - RESERVE_BYTES
    for gpus in (1 << power for power in range(7)):
        # Each GPU holds its share of the heads; over more GPUs than KV heads every one holds a head of its own.
        copies = max(1, math.ceil(gpus / shape.kv_heads))
        block_bytes = shape.block_bytes(tokens_per_block, dtype) * copies
        room = (gpus * usable - weights) // block_bytes
        if room >= blocks:
            return MemoryPlan(gpu, gpus, tokens_per_block, blocks, block_bytes, room, weights)
    raise UsageError(
        f"{shape.model} and {blocks} blocks of {tokens_per_block} tokens do not fit 64 GPUs of {gpu.name}",
        remedy="choose a larger GPU, FP8, or fewer requests at once",
    )
