"""How large a cache a run needs, by simulating the run at many sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from charter_compiler.analysis.sizing import (
    KEPT,
    BlockCount,
    BlockSizeChoice,
    CapacityChoice,
    best_block_size,
    count_blocks,
    smallest_capacity,
)
from charter_compiler.executor.types import GenerationRequest
from charter_compiler.predict.control_flow import ItemTrace
from charter_compiler.predict.prediction import Simulation, summarize
from charter_compiler.serve.engine.interface import EngineConfig
from charter_compiler.tokens.tokenizer import Tokenizer

CURVE_POINTS = 6


@dataclass(frozen=True, slots=True)
class WorkloadSize:
    """What a run needs. ``blocks``: of prompts and outputs of all its requests. ``capacity``: the smallest that keeps
    ``KEPT`` of the attainable hit rate. ``block_size``: the best at the target's own capacity in tokens, ``None`` where
    a request fits at none."""

    tokens_per_block: int
    attainable_hit_rate: float
    blocks: BlockCount
    capacity: CapacityChoice
    block_size: BlockSizeChoice | None


def size_workload(
    simulation: Simulation, traces: Sequence[ItemTrace], warm_ups: Sequence[GenerationRequest] = ()
) -> WorkloadSize | None:
    """Size the cache for a traced run; ``None`` if the engine would refuse a request even with all the room it asks
    for, or there is no request.

    The run is simulated anew at each size, with its scheduler, whose admission depends on the capacity too.
    """
    engine = simulation.engine

    def rate_with(sizes: EngineConfig) -> float | None:
        replayed = replace(simulation, engine=sizes).run(traces, warm_ups)
        return None if any(call.rejected for call in replayed) else summarize(len(traces), replayed).hit_rate

    blocks = count_blocks(_sequences(simulation.tokenizer, traces, warm_ups), engine.tokens_per_block)
    # Room for everything at once, and for what each request reserves beyond the output that it makes.
    reserve = sum(
        -(-call.call.request.max_tokens // engine.tokens_per_block) for trace in traces for call in trace.calls
    )
    most = max(engine.capacity_blocks, blocks.without_sharing + reserve + 1)
    ample = replace(engine, capacity_blocks=most)
    attainable = _attainable(replace(simulation, engine=ample), traces, warm_ups)
    if attainable is None:
        return None

    def at_capacity(capacity: int) -> float | None:
        return rate_with(replace(engine, capacity_blocks=capacity))

    def at_block_size(size: int, capacity: int) -> float | None:
        return rate_with(replace(engine, tokens_per_block=size, capacity_blocks=capacity))

    tokens = engine.capacity_blocks * engine.tokens_per_block
    return WorkloadSize(
        engine.tokens_per_block,
        attainable,
        blocks,
        smallest_capacity(at_capacity, attainable, most, kept=KEPT),
        best_block_size(at_block_size, tokens),
    )


@dataclass(frozen=True, slots=True)
class CapacityPoint:
    """Simulated hit rates at a capacity in blocks; ``None`` where the engine would refuse a request."""

    blocks: int
    as_written: float | None
    planned: float | None


def capacity_points(
    as_written: tuple[Simulation, Sequence[ItemTrace]],
    planned: tuple[Simulation, Sequence[ItemTrace]],
    warm_ups: Sequence[GenerationRequest] = (),
) -> tuple[CapacityPoint, ...]:
    """Hit rates at capacities that double, up to one that holds everything the planned run stores; ascending.

    Downwards the search ends after ``CURVE_POINTS``, or where the planned run would be refused. Each point is two
    simulated runs.
    """
    size = planned[0].engine.tokens_per_block
    most = count_blocks(_sequences(planned[0].tokenizer, planned[1], warm_ups), size).with_sharing
    points: list[CapacityPoint] = []
    for power in range((max(most, 2) - 1).bit_length(), 0, -1):
        rate = _rate_at(*planned, 1 << power, warm_ups)
        if len(points) == CURVE_POINTS or (points and rate is None):
            break
        points.append(CapacityPoint(1 << power, _rate_at(*as_written, 1 << power, ()), rate))
    return tuple(reversed(points))


def _rate_at(
    simulation: Simulation, traces: Sequence[ItemTrace], blocks: int, warm_ups: Sequence[GenerationRequest]
) -> float | None:
    """``None`` if a request does not fit."""
    sized = replace(simulation, engine=replace(simulation.engine, capacity_blocks=blocks))
    replayed = sized.run(traces, warm_ups)
    return None if any(call.rejected for call in replayed) else summarize(len(traces), replayed).hit_rate


def _attainable(
    simulation: Simulation, traces: Sequence[ItemTrace], warm_ups: Sequence[GenerationRequest]
) -> float | None:
    replayed = simulation.run(traces, warm_ups)
    return None if any(call.rejected for call in replayed) else summarize(len(traces), replayed).attainable_hit_rate


def _sequences(
    tokenizer: Tokenizer, traces: Sequence[ItemTrace], warm_ups: Sequence[GenerationRequest]
) -> list[list[int]]:
    encode: Callable[[str], list[int]] = tokenizer.encode
    found = [_prompt(tokenizer, request) for request in warm_ups]
    for trace in traces:
        for call in trace.calls:
            output = encode(call.output)[: call.call.request.max_tokens]
            found.append([*_prompt(tokenizer, call.call.request), *output[:-1]])
    return found


def _prompt(tokenizer: Tokenizer, request: GenerationRequest) -> list[int]:
    if request.prompt is not None:
        return tokenizer.encode(request.prompt)
    return tokenizer.encode(tokenizer.render_chat(request.messages or ()))
