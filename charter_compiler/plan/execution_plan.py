"""What the compiler decided about one agent on one target: the seam between compiler and run time."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from charter_compiler.analysis.prefix_analyzer import PrefixOpportunity
from charter_compiler.cache.interface import FOUND_AT_ONCE
from charter_compiler.diagnostics.errors import PlanError
from charter_compiler.ir.nodes import CallRef, Param, walk
from charter_compiler.passes.template import PlannedLayout
from charter_compiler.plan.codec import decode, encode
from charter_compiler.plan.hints import CallHints
from charter_compiler.plan.schedule import DEFAULT_SCHEDULE, Schedule
from charter_compiler.plan.sources import SourceHash, check_sources, hash_sources
from charter_compiler.tokens.blocks import cache_id

VERSION = 6
"""Grows with every change of the format; a plan of another version is refused, not guessed at."""


@dataclass(frozen=True, slots=True)
class PlannedPrefix:
    """Constant text that several prompts begin with. Lengths in tokens, as ``PrefixOpportunity`` has them.

    ``parameters``: names of the parameters, and ids of the calls, whose values are shared after the text; they are
    known at run time only. Empty where nothing but the text is shared.
    """

    text: str
    cache_id: int
    tokens: int
    aligned_tokens: int
    priority: int
    nodes: tuple[str, ...]
    parameters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ExecutionPlan:
    """A plan. Equal plans have equal JSON, byte for byte.

    ``entry`` is ``file.py:Qualified.name``; ``model`` and ``tokenizer`` (a fingerprint) say what the tokens were
    counted with; ``block_size`` is in tokens, ``capacity_blocks`` ``None`` where the target does not say.
    ``warms`` is false where computing prefixes beforehand saves nothing: the prediction showed it, or the engine's
    rules say so. ``hints`` has one
    entry a call site, in the order of an item: what an engine may be told of the future. ``layouts``: the call sites
    whose prompts are sent in another order than written; empty unless a layout was asked for. ``schedule``: the order
    of calls that was predicted to compute the least. ``group_by``: fields of the inputs; items with the same values of
    them share the start of a prompt, and go to the same endpoint (``plan.placement``), the first field's first.
    """

    entry: str
    target: str
    model: str
    tokenizer: str
    block_size: int
    capacity_blocks: int | None
    sources: tuple[SourceHash, ...]
    prefixes: tuple[PlannedPrefix, ...]
    warms: bool = True
    hints: tuple[CallHints, ...] = ()
    layouts: tuple[PlannedLayout, ...] = ()
    schedule: Schedule = DEFAULT_SCHEDULE
    group_by: tuple[str, ...] = ()

    @property
    def warm_up(self) -> tuple[PlannedPrefix, ...]:
        """The prefixes to compute before the first item: the constant ones, or none if the plan does not warm.

        A warm-up costs its own tokens and lets the first calls start together; what a call site adds to the common
        start costs nothing if its first call computes it.
        """
        return self.constant if self.warms else ()

    @property
    def constant(self) -> tuple[PlannedPrefix, ...]:
        """The prefixes that belong to no item: known now, filling a block, and not just extending another."""
        known = [prefix for prefix in self.prefixes if prefix.aligned_tokens and not prefix.parameters]
        texts = {prefix.text for prefix in known}
        return tuple(
            prefix
            for prefix in known
            if not any(prefix.text != text and prefix.text.startswith(text) for text in texts)
        )

    def to_json(self) -> str:
        """The plan as a file's text: keys sorted, indented, with the format's version."""
        return json.dumps({"version": VERSION, **encode(self)}, indent=2, sort_keys=True, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str, *, place: str = "plan.json") -> ExecutionPlan:
        """A plan from the text of its file; ``place`` names it in errors.

        Raises:
            PlanError: it is not a plan, of another version, or was edited so that it contradicts itself.
        """
        try:
            value: Any = json.loads(text)
        except ValueError as error:
            raise PlanError(f"is not JSON: {error}", place=place, remedy="run charter compile again") from error
        version = value.get("version") if isinstance(value, dict) else None
        if version != VERSION:
            raise PlanError(
                f"has plan version {version!r}; this Charter reads version {VERSION}",
                place=place,
                remedy="run charter compile again",
            )
        try:
            plan = decode(cls, {key: item for key, item in value.items() if key != "version"})
        except PlanError as error:
            raise PlanError(error.message, place=place, remedy="run charter compile again") from error
        for prefix in plan.prefixes:
            if prefix.cache_id != cache_id(prefix.text):
                raise PlanError(
                    f"the cache_id {prefix.cache_id} is not that of its text",
                    place=place,
                    remedy="run charter compile again",
                )
        return plan

    def check_sources(self, root: Path) -> None:
        """Refuse to run when the sources are not those that were compiled. ``root`` is the folder of the paths.

        Raises:
            PlanError: a file changed or is gone.
        """
        check_sources(self.sources, root)


def make_plan(
    *,
    entry: str,
    target: str,
    model: str,
    tokenizer: str,
    block_size: int,
    capacity_blocks: int | None,
    sources: Iterable[Path],
    root: Path,
    opportunities: Iterable[PrefixOpportunity],
    hints: Iterable[CallHints] = (),
    layouts: Iterable[PlannedLayout] = (),
    engine: str | None = None,
) -> ExecutionPlan:
    """The plan of an analysed agent. It warms prefixes until a prediction speaks against it; on an ``engine``
    (``TargetFacts.engine``) where calls that arrive together find each other's blocks, a warm-up only delays them.

    Raises:
        SourceError: a source file cannot be read.
    """
    return ExecutionPlan(
        entry=entry,
        target=target,
        model=model,
        tokenizer=tokenizer,
        block_size=block_size,
        capacity_blocks=capacity_blocks,
        sources=hash_sources(sources, root),
        prefixes=tuple(_prefix(opportunity) for opportunity in opportunities),
        warms=engine not in FOUND_AT_ONCE,
        hints=tuple(hints),
        layouts=tuple(layouts),
    )


def _prefix(opportunity: PrefixOpportunity) -> PlannedPrefix:
    shared = walk(opportunity.template or ())
    names = [part.name if isinstance(part, Param) else part.id for part in shared if isinstance(part, Param | CallRef)]
    return PlannedPrefix(
        text=opportunity.prefix,
        cache_id=opportunity.cache_id,
        tokens=opportunity.shared_prefix_length,
        aligned_tokens=opportunity.aligned_length,
        priority=opportunity.priority,
        nodes=opportunity.nodes,
        parameters=tuple(names),
    )
