"""All the configuration that one plan gives: a folder for each engine, with what it takes of the hints."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from charter_compiler.analysis.sizing import BLOCK_SIZES
from charter_compiler.cache.simulate import Engine
from charter_compiler.config.files import header_of
from charter_compiler.config.hints.capabilities import HintKind, capabilities
from charter_compiler.config.hints.worth import HintedRequest, worth_of
from charter_compiler.config.hosted import hosted_files
from charter_compiler.config.llamacpp import llamacpp_files
from charter_compiler.config.retention import hinted_retention, retention_json
from charter_compiler.config.settings import OVERRIDES_FILE, PRIORITY, Overrides
from charter_compiler.config.sglang import sglang_files
from charter_compiler.config.sizes import SIZES, Sizes, compute_sizes
from charter_compiler.config.target import EngineName, EngineTarget
from charter_compiler.config.trtllm_config import constant_prefixes
from charter_compiler.config.trtllm_engine import engine_files
from charter_compiler.config.trtllm_llmapi import llmapi_files
from charter_compiler.config.vllm import vllm_files
from charter_compiler.config.workload import Workload
from charter_compiler.plan.execution_plan import ExecutionPlan
from charter_compiler.plan.hints import HintAction
from charter_compiler.plan.placement import Group

SGLANG_PAGES = (1, 16, 32, 64)
"""Tokens a page; 1 is SGLang's default."""


@dataclass(frozen=True, slots=True)
class Profile:
    """How an engine's files are made: whose cache rules its sizes are simulated with."""

    files: Callable[[str, EngineTarget, Sizes], Mapping[str, str]]
    cache: Engine = Engine.TRTLLM
    block_sizes: Sequence[int] = BLOCK_SIZES
    of_all_memory: bool = False


PROFILES: dict[EngineName, Profile] = {
    EngineName.ENGINE: Profile(engine_files),
    EngineName.LLMAPI: Profile(llmapi_files),
    EngineName.VLLM: Profile(vllm_files, Engine.VLLM, of_all_memory=True),
    EngineName.SGLANG: Profile(sglang_files, Engine.SGLANG, SGLANG_PAGES, of_all_memory=True),
    EngineName.LLAMACPP: Profile(llamacpp_files),
}
"""Of all engines but hosted ones, which have no sizes of ours."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was predicted over inputs. ``requests`` are those of the planned run, with what the plan says of each;
    ``groups``: of its items, by number, see ``placement.group_of``."""

    workload: Workload | None = None
    requests: tuple[HintedRequest, ...] = ()
    concurrency: int = 1
    groups: Mapping[int, Group] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EngineConfigs:
    """A plan for a target; ``overrides`` are a person's."""

    plan: ExecutionPlan
    target: EngineTarget
    evidence: Evidence = field(default_factory=Evidence)
    overrides: Overrides = field(default_factory=Overrides)

    def files(self, engine: EngineName, announced: Iterable[str] = ()) -> Mapping[str, str]:
        """Text of each of the engine's files by its path below the engine's folder.

        Args:
            announced: action types of the KV hint envelope that the engine says it executes.

        Raises:
            ConfigError: the version or the model's architecture is unknown, or the weights do not fit the GPUs.
        """
        header = header_of(self.plan, self.target)
        if engine is EngineName.HOSTED:
            title = f"{header} Rules as of {self.target.version(engine)}."
            return {**hosted_files(title, self.plan), "hints.json": self._hints(engine, None, announced)}
        profile = PROFILES[engine]
        sizes = compute_sizes(
            constant_prefixes(self.plan),
            self.target,
            self.evidence.workload,
            self.overrides,
            engine=profile.cache,
            block_sizes=profile.block_sizes,
            of_all_memory=profile.of_all_memory,
        )
        files = dict(profile.files(header, self.target, sizes))
        if engine is EngineName.ENGINE:
            size = int(sizes.tokens_per_block.value)
            files["retention.json"] = retention_json(hinted_retention(self.plan.hints, size, self.overrides))
        files["hints.json"] = self._hints(engine, sizes, announced)
        return files

    def _hints(self, engine: EngineName, sizes: Sizes | None, announced: Iterable[str]) -> str:
        """Which kinds of hints the engine takes, and how; what the others would have been worth."""
        found = capabilities(engine, announced)
        left = [one for one in found if one.carrier is None]
        worth = self._worth([one.kind for one in left], sizes)
        value = {
            "about": f"{header_of(self.plan, self.target)} Hints for {engine}.",
            "taken": {str(one.kind): {"carrier": one.carrier, "note": one.note} for one in found if one.carrier},
            "not_taken": {str(one.kind): {"why": one.note, **worth[one.kind]} for one in left},
        }
        return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"

    def _worth(self, kinds: Sequence[HintKind], sizes: Sizes | None) -> dict[HintKind, dict[str, Any]]:
        """Prompt tokens that each hint would have saved, by simulation, at the capacity of the target."""
        actions = {HintKind(action.value): action for action in HintAction}
        found = {kind: _unknown("it speaks of requests, which the cache model does not weigh") for kind in kinds}
        asked = [actions[kind] for kind in kinds if kind in actions]
        size = self.plan.block_size if sizes is None else int(sizes.tokens_per_block.value)
        blocks = self._capacity_blocks(size)
        for action in asked:
            missing = "no inputs to simulate" if not self.evidence.requests else "the cache's capacity is not known"
            found[HintKind(action.value)] = _unknown(missing)
        if self.evidence.requests and blocks is not None:
            concurrency = self.evidence.concurrency
            worth = worth_of(self.evidence.requests, size, blocks, asked, concurrency=concurrency)
            total = sum(len(one.prompt) for one in self.evidence.requests)
            note = f"of {total} prompt tokens, in {blocks} blocks of {size} tokens"
            found |= {HintKind(a.value): {"worth_tokens": n, "worth_note": note} for a, n in worth.items()}
        if HintKind.PREFETCH in found:
            found[HintKind.PREFETCH] = {"worth_tokens": 0, "worth_note": "it saves waiting, not tokens"}
        return found

    def _capacity_blocks(self, size: int) -> int | None:
        """Of the target's GPUs, else of the plan, in blocks of ``size`` tokens."""
        tokens = self.target.capacity_tokens
        if tokens is None and self.plan.capacity_blocks is not None:
            tokens = self.plan.capacity_blocks * self.plan.block_size
        return None if tokens is None else tokens // size


def _unknown(note: str) -> dict[str, Any]:
    return {"worth_tokens": None, "worth_note": note}


def overrides_template(plan: ExecutionPlan) -> str:
    """The file in which a person decides instead; nothing is decided in it."""
    prefixes = "".join(
        f"# {PRIORITY}{p.cache_id}: {p.priority}  # 0 to 100; {' '.join(p.text.split())[:50]!r}\n"
        for p in {p.cache_id: p for p in plan.prefixes}.values()
    )
    names = "".join(f"# {name}: {_EXAMPLES[name]}\n" for name in SIZES)
    return (
        f"# {OVERRIDES_FILE}: values decided by hand. They replace the computed ones in all engines' files, and\n"
        f"# this file is kept when charter compile writes the folder anew.\n{names}{prefixes}"
    )


_EXAMPLES = {
    "tokens_per_block": 32,
    "max_input_len": 8191,
    "max_seq_len": 8192,
    "max_num_tokens": 8192,
    "max_batch_size": 64,
    "memory_fraction": 0.9,
    "host_memory_bytes": 0,
    "scheduler_policy": "guaranteed_no_evict",
}
