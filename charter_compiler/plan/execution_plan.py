"""What the compiler decided about one agent on one target: the seam between compiler and run time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from charter_compiler.analysis.patterns import Pattern, PatternKind
from charter_compiler.analysis.prefix_analyzer import PrefixOpportunity
from charter_compiler.diagnostics.errors import PlanError
from charter_compiler.ir.nodes import Call, CallRef, Param, walk
from charter_compiler.plan.codec import decode, encode
from charter_compiler.plan.sources import SourceHash, check_sources, hash_sources
from charter_compiler.tokens.blocks import block_hashes, cache_id

VERSION = 1
"""Grows with every change of the format; a plan of another version is refused, not guessed at."""


class Order(StrEnum):
    """In which order the calls of several items are sent."""

    AS_WRITTEN = "as-written"
    """As the program makes them."""
    ITEM_FIRST = "item-first"
    """The calls of an item that is under way go before those of items that start later."""


@dataclass(frozen=True, slots=True)
class PlannedCall:
    """One call site: its id, the calls whose text it needs, and how deep in loops it stands."""

    id: str
    depends_on: tuple[str, ...]
    loop_depth: int
    max_tokens: int | None


@dataclass(frozen=True, slots=True)
class PlannedPrefix:
    """Constant text that several prompts begin with. Lengths and savings in tokens, as ``PrefixOpportunity`` has them.

    ``parameters``: names of the parameters, and ids of the calls, whose values are shared after the text; they are
    known at run time only. Empty where nothing but the text is shared.
    """

    text: str
    cache_id: int
    tokens: int
    aligned_tokens: int
    saved_tokens: int
    priority: int
    pattern: PatternKind
    nodes: tuple[str, ...]
    parameters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PlannedPattern:
    """One finding of the pattern detector."""

    kind: PatternKind
    nodes: tuple[str, ...]
    description: str


@dataclass(frozen=True, slots=True)
class PredictedRates:
    """Token hit rates and prompt tokens computed before the run, over ``inputs`` rows.

    ``planned`` is what a run of this plan would reach, ``as_written`` the baseline, ``attainable`` an unbounded cache
    with the plan's order.
    """

    inputs: int
    prompt_tokens: int
    as_written: float
    planned: float
    attainable: float


@dataclass(frozen=True, slots=True)
class ExecutionPlan:
    """A plan. Equal plans have equal JSON, byte for byte.

    ``entry`` is ``file.py:Qualified.name``; ``model`` and ``tokenizer`` (a fingerprint) say what the tokens were
    counted with; ``block_size`` is in tokens, ``capacity_blocks`` ``None`` where the target does not say.
    ``items_in_flight``: so many items fit into the cache at once; ``None`` where that is not known. ``predicted`` is
    ``None`` until it is filled in.
    """

    entry: str
    target: str
    model: str
    tokenizer: str
    block_size: int
    capacity_blocks: int | None
    sources: tuple[SourceHash, ...]
    calls: tuple[PlannedCall, ...]
    prefixes: tuple[PlannedPrefix, ...]
    patterns: tuple[PlannedPattern, ...]
    order: Order = Order.ITEM_FIRST
    items_in_flight: int | None = None
    predicted: PredictedRates | None = None

    @property
    def warm_up(self) -> tuple[PlannedPrefix, ...]:
        """The prefixes to compute before the first item: known now, filling a block, and not just extending another.

        A warm-up costs its own tokens and lets the first calls start together; what a call site adds to the common
        start costs nothing if its first call computes it.
        """
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


class Graph(Protocol):
    """What a plan takes from a call graph."""

    @property
    def calls(self) -> Mapping[str, Call]: ...


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
    graph: Graph,
    opportunities: Iterable[PrefixOpportunity],
    patterns: Iterable[Pattern],
    tokens_per_item: int | None = None,
) -> ExecutionPlan:
    """The plan of an analysed agent.

    ``tokens_per_item``: what one item keeps in the cache at most, prompt and output tokens together, less the constant
    prefixes that all items share; ``None`` where no inputs were given to count them in.

    Raises:
        SourceError: a source file cannot be read.
    """
    opportunities = tuple(opportunities)
    shared = {block for opportunity in opportunities for block in block_hashes(opportunity.tokens, block_size)}
    return ExecutionPlan(
        entry=entry,
        target=target,
        model=model,
        tokenizer=tokenizer,
        block_size=block_size,
        capacity_blocks=capacity_blocks,
        sources=hash_sources(sources, root),
        calls=tuple(
            PlannedCall(call.id, call.depends_on, call.loop_depth, call.max_tokens) for call in graph.calls.values()
        ),
        prefixes=tuple(_prefix(opportunity) for opportunity in opportunities),
        patterns=tuple(PlannedPattern(p.kind, p.nodes, p.description) for p in patterns),
        items_in_flight=items_in_flight(capacity_blocks, block_size, tokens_per_item, len(shared)),
    )


def items_in_flight(
    capacity_blocks: int | None, block_size: int, tokens_per_item: int | None, shared_blocks: int = 0
) -> int | None:
    """How many items' blocks the cache holds at once beside the shared prefixes; at least 1.

    ``None`` where the capacity or the size of an item is not known.
    """
    if capacity_blocks is None or tokens_per_item is None:
        return None
    blocks_per_item = max(1, -(-tokens_per_item // block_size))
    return max(1, (capacity_blocks - shared_blocks) // blocks_per_item)


def _prefix(opportunity: PrefixOpportunity) -> PlannedPrefix:
    shared = walk(opportunity.template or ())
    names = [part.name if isinstance(part, Param) else part.id for part in shared if isinstance(part, Param | CallRef)]
    return PlannedPrefix(
        text=opportunity.prefix,
        cache_id=opportunity.cache_id,
        tokens=opportunity.shared_prefix_length,
        aligned_tokens=opportunity.aligned_length,
        saved_tokens=opportunity.saved_tokens,
        priority=opportunity.priority,
        pattern=opportunity.pattern,
        nodes=opportunity.nodes,
        parameters=tuple(names),
    )
