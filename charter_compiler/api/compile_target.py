"""What the target of a compilation serves: model, tokenizer and sizes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from charter_compiler.api.compile_request import CompileRequest
from charter_compiler.diagnostics.errors import UsageError
from charter_compiler.executor.defaults import LOCAL
from charter_compiler.executor.targets import OpenTarget, engine_config, open_target, served_tokenizer
from charter_compiler.serve.discovery import find_here
from charter_compiler.serve.engine.interface import EngineConfig
from charter_compiler.tokens.tokenizer import Tokenizer, load_tokenizer


@dataclass(frozen=True, slots=True)
class DescribedTarget:
    """What a plan must know of a target. ``profile``: whose cache rules hold (``TargetFacts.engine``)."""

    model: str
    tokenizer: Tokenizer
    engine: EngineConfig
    profile: str | None = None


def describe_target(request: CompileRequest) -> DescribedTarget:
    """Tokenizer and sizes of the target. The embedded server need not run: what it would be started with counts."""
    if request.target == LOCAL:
        info = find_here()
        if info is not None:
            served = served_tokenizer(info, request.target_options.tokenizer)
            described = DescribedTarget(info.model, _require_tokenizer(served, request), info.engine)
        else:
            model = request.target_options.model
            described = DescribedTarget(str(model), load_tokenizer(model), request.target_options.engine)
    else:
        described = asyncio.run(_ask_target(request))
    engine = replace(
        described.engine,
        tokens_per_block=request.block_size or described.engine.tokens_per_block,
        capacity_blocks=request.capacity_blocks or described.engine.capacity_blocks,
    )
    return replace(described, engine=engine)


def _require_tokenizer(tokenizer: Tokenizer | None, request: CompileRequest) -> Tokenizer:
    if tokenizer is None:
        raise UsageError(
            "the target does not say which tokenizer it has", place=request.target, remedy="give --tokenizer"
        )
    return tokenizer


async def _ask_target(request: CompileRequest) -> DescribedTarget:
    async with open_target(request.target, request.target_options) as target:
        tokenizer = _require_tokenizer(target.tokenizer, request)
        engine = target.engine or _engine_from(request, target)
        return DescribedTarget(target.facts.model, tokenizer, engine, target.facts.engine)


def _engine_from(request: CompileRequest, target: OpenTarget) -> EngineConfig:
    if request.block_size is None or request.capacity_blocks is None:
        raise UsageError(
            "the target states neither block size nor capacity",
            place=request.target,
            remedy="give --block-size and --capacity-blocks",
        )
    return engine_config(target.facts, request.block_size, request.capacity_blocks)
