"""The sizes that every engine's configuration has: computed where there is something to compute from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from charter_compiler.analysis.sizing import BLOCK_SIZES
from charter_compiler.cache.simulate import Engine
from charter_compiler.config.block_size import ConstantPrefix, choose_block_size
from charter_compiler.config.settings import Overrides, Setting
from charter_compiler.config.target import EngineTarget
from charter_compiler.config.workload import Workload

MEMORY_FRACTION = 0.9
"""TensorRT-LLM's default share of the memory that weights leave, and about vLLM's of all."""
MOST_FRACTION = 0.95
DEFAULT_BATCH = 64
MOST_BATCH = 256
DEFAULT_SEQUENCE = 8192
DEFAULT_NUM_TOKENS = 8192
"""``trtllm-build``'s own limit of tokens in one pass."""
HEADROOM = 1.25
"""Inputs of another day may be longer than those that were seen."""
ROUND = 256
GIB = 1 << 30

SIZES: dict[str, type] = {
    "tokens_per_block": int,
    "max_input_len": int,
    "max_seq_len": int,
    "max_num_tokens": int,
    "max_batch_size": int,
    "memory_fraction": float,
    "host_memory_bytes": int,
    "scheduler_policy": str,
}
"""What can be overridden by hand, in the names and types that ``overrides.yaml`` uses."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Decided sizes, each with its reason. Lengths in tokens; ``memory_fraction`` of what the weights leave (of all
    memory: see ``share_of_all``)."""

    tokens_per_block: Setting
    max_input_len: Setting
    max_seq_len: Setting
    max_num_tokens: Setting
    max_batch_size: Setting
    memory_fraction: Setting
    host_memory_bytes: Setting
    scheduler_policy: Setting


def compute_sizes(
    prefixes: Iterable[ConstantPrefix],
    target: EngineTarget,
    workload: Workload | None,
    overrides: Overrides,
    *,
    engine: Engine = Engine.TRTLLM,
    block_sizes: Sequence[int] = BLOCK_SIZES,
    of_all_memory: bool = False,
) -> Sizes:
    """The sizes for an engine whose cache behaves like ``engine``.

    Args:
        workload: requests that were predicted over inputs; without them only the prefixes are known.
        block_sizes: what the engine takes.
        of_all_memory: the engine's fraction counts from all memory, weights included (vLLM, SGLang).

    Raises:
        ConfigError: the weights do not fit the GPUs.
    """
    block = _block_size(prefixes, target, workload, overrides, engine, block_sizes)
    sequence = _sequence(target, workload, overrides)
    return Sizes(
        tokens_per_block=block,
        max_input_len=_input(sequence, workload, overrides),
        max_seq_len=sequence,
        max_num_tokens=overrides.decide(
            "max_num_tokens",
            max(DEFAULT_NUM_TOKENS, int(block.value)),
            "TensorRT-LLM's own default: longer prompts are computed in parts, which chunked context allows.",
        ),
        max_batch_size=_batch(target, int(sequence.value), overrides),
        memory_fraction=_fraction(target, overrides, of_all_memory),
        host_memory_bytes=_host(target, workload, overrides, engine, int(block.value)),
        scheduler_policy=overrides.decide(
            "scheduler_policy",
            "guaranteed_no_evict",
            "A request that has started is never paused, so that none of its tokens is computed twice.",
        ),
    )


def _block_size(
    prefixes: Iterable[ConstantPrefix],
    target: EngineTarget,
    workload: Workload | None,
    overrides: Overrides,
    engine: Engine,
    sizes: Sequence[int],
) -> Setting:
    capacity = target.capacity_tokens
    simulated = workload.block_size(engine, capacity, sizes) if workload else None
    if workload is None or simulated is None or not any(point.hit_rate for point in simulated.tried):
        choice = choose_block_size(prefixes, sizes)
        reason = choice.reason
        return overrides.decide("tokens_per_block", choice.tokens_per_block, f"{reason[0].upper()}{reason[1:]}.")
    figures = ", ".join(f"{point.size}: {point.hit_rate:.1%}" for point in simulated.tried)
    where = "a cache that never evicts" if capacity is None else f"a cache of {capacity} tokens"
    return overrides.decide(
        "tokens_per_block",
        simulated.tokens_per_block,
        f"Token hit rate by simulation of {len(workload.prompts)} prompts of {workload.inputs} inputs in {where}: "
        f"{figures}; the largest of the best.",
    )


def _sequence(target: EngineTarget, workload: Workload | None, overrides: Overrides) -> Setting:
    context = target.model.context if target.model else None
    if workload is None:
        value = min(DEFAULT_SEQUENCE, context or DEFAULT_SEQUENCE)
        return overrides.decide("max_seq_len", value, "No inputs to compute it from: a default within the context.")
    value = _up(workload.longest_request * HEADROOM)
    bound = "" if context is None else f", within the model's context of {context}"
    return overrides.decide(
        "max_seq_len",
        min(value, context or value),
        f"The longest of {len(workload.prompts)} predicted requests has {workload.longest_request} tokens with its "
        f"answer; a quarter more, in steps of {ROUND}{bound}.",
    )


def _input(sequence: Setting, workload: Workload | None, overrides: Overrides) -> Setting:
    most = int(sequence.value) - 1
    if workload is None:
        return overrides.decide("max_input_len", most, "All but one token of a sequence may be prompt.")
    return overrides.decide(
        "max_input_len",
        min(most, _up(workload.longest_prompt * HEADROOM)),
        f"The longest predicted prompt has {workload.longest_prompt} tokens; a quarter more, in steps of {ROUND}.",
    )


def _up(tokens: float) -> int:
    return -(-int(tokens) // ROUND) * ROUND


def _batch(target: EngineTarget, sequence: int, overrides: Overrides) -> Setting:
    capacity = target.capacity_tokens
    if capacity is None:
        return overrides.decide("max_batch_size", DEFAULT_BATCH, "No GPU and weights to compute it from: a default.")
    fit = capacity // sequence
    return overrides.decide(
        "max_batch_size",
        max(1, min(MOST_BATCH, fit)),
        f"{capacity} tokens of KV fit beside the weights, {fit} requests of {sequence} tokens; at most {MOST_BATCH}.",
    )


def _fraction(target: EngineTarget, overrides: Overrides, of_all: bool) -> Setting:
    memory = target.memory_bytes if of_all else target.free_bytes
    if memory is None:
        return overrides.decide(
            "memory_fraction",
            MEMORY_FRACTION,
            "No GPU and weights to compute it from: about the engines' own default.",
        )
    value = min(MOST_FRACTION, int((1 - target.reserve_bytes / memory) * 100) / 100)
    what = "all memory" if of_all else "what the weights leave"
    return overrides.decide(
        "memory_fraction",
        value,
        f"Of {what}, {memory / 1e9:.1f} GB, {target.reserve_bytes / GIB:.0f} GiB are kept for activations and the "
        "engine itself (assumed, not measured); lower it if other processes use the GPU.",
    )


def _host(target: EngineTarget, workload: Workload | None, overrides: Overrides, engine: Engine, size: int) -> Setting:
    capacity = target.capacity_tokens
    if workload is None or capacity is None or target.model is None:
        return overrides.decide("host_memory_bytes", 0, "No inputs, GPU and weights to compute it from: no offload.")
    choice = workload.host_blocks(engine, size, capacity // size)
    if choice is None:
        return overrides.decide(
            "host_memory_bytes",
            0,
            f"By simulation {capacity} tokens on the GPU keep 95% of what a cache that never evicts would find.",
        )
    if choice.blocks is None:
        return overrides.decide(
            "host_memory_bytes",
            0,
            f"By simulation {capacity} tokens on the GPU do not keep 95% of the attainable hit rate, and no memory of "
            "the host that was tried does (none is, of an engine whose offload is not modelled): no offload.",
        )
    rate = next(point.hit_rate for point in choice.tried if point.size == choice.blocks)
    return overrides.decide(
        "host_memory_bytes",
        choice.blocks * target.model.kv.block_bytes(size),
        f"By simulation {choice.blocks} blocks on the host raise the hit rate to {rate:.1%}, 95% of the attainable.",
    )
