"""Cases and tables of cases: which workloads at which sizes, run in which ways."""

from __future__ import annotations

from dataclasses import dataclass

from charter_compiler.bench.arms import AS_WRITTEN, BASELINES, BOUND, EXACT, LAYOUT, TUNED, UNWARMED, Arm
from charter_compiler.bench.workloads import Agent, example_agents
from charter_compiler.executor.defaults import DEFAULT_CONCURRENCY

BLOCK_SIZE = 32
BLOCKS = 256


@dataclass(frozen=True, slots=True)
class Case:
    """A workload at one size.

    ``concurrency``: items in flight as a user would have it, ``None`` for all at once. ``max_tokens`` caps each call's
    output. ``text_tokens``: length of the agent's text. ``pressure``: capacity of the cache as a multiple of what the
    largest call needs; without it ``blocks`` is the capacity.
    """

    label: str
    agent: Agent
    items: int
    max_tokens: int = 24
    concurrency: int | None = None
    text_tokens: int | None = None
    pressure: float | None = None
    blocks: int = BLOCKS
    block_size: int = BLOCK_SIZE
    partial_reuse: bool = False

    @property
    def in_flight(self) -> int:
        return self.concurrency or self.items


@dataclass(frozen=True, slots=True)
class Table:
    """Cases that are shown together, and the ways in which each is run."""

    name: str
    about: str
    cases: tuple[Case, ...]
    arms: tuple[Arm, ...] = BASELINES
    rounds: int = 3


PRESSURES = (1.2, 2.5, 8.0)
PREFIXES = (64, 256, 1024, 4096)
BATCHES = (1, 8, 32)


def all_tables() -> dict[str, Table]:
    """Every table by its name.

    Raises:
        UsageError: the examples are missing from this installation.
    """
    agents = example_agents()
    chain, delta, claims = agents["document_processor"], agents["delta_processor"], agents["claims_desk"]
    questions = agents["document_qa"]
    shapes = tuple(
        Case(label, agents[name], items, pressure=2.5)
        for label, name, items in (
            ("map and reduce", "map_reduce", 2),
            ("debate", "debate", 2),
            ("reflection", "reflection", 2),
            ("tree of thoughts", "tree_search", 2),
            ("tool loop", "tool_loop", 3),
            ("questions on one document", "document_qa", 5),
            ("questions on several passages", "retrieval", 5),
            ("table rows", "report_analyst", 6),
            ("multi-agent coding", "coding_team", 2),
        )
    )
    tables = (
        Table(
            "chain",
            "three dependent calls on each document of 900 tokens; the cache holds 2.5 documents",
            (Case("900 tokens a document", chain, 4, text_tokens=900, pressure=2.5),),
        ),
        Table(
            "chain-long",
            "the same on documents of 3,000 tokens",
            (Case("3,000 tokens a document", chain, 2, text_tokens=3000, pressure=2.5),),
            (*BOUND, AS_WRITTEN, LAYOUT),
        ),
        Table(
            "delta",
            "one call an item; prompts differ in a few tokens",
            (
                Case("350 tokens, 8 items", delta, 8),
                Case("350 tokens, 8 items, partial reuse", delta, 8, partial_reuse=True),
                Case("350 tokens, 40 items", delta, 40, max_tokens=2),
                Case("350 tokens, 40 items, partial reuse", delta, 40, max_tokens=2, partial_reuse=True),
                Case("900 tokens, answers of 2", claims, 8, max_tokens=2),
            ),
        ),
        Table(
            "pressure",
            "the chain, at capacities that are a multiple of what its largest call needs",
            tuple(
                Case(f"{pressure:g} times", chain, 3, text_tokens=300, pressure=pressure, max_tokens=12)
                for pressure in PRESSURES
            ),
            (*BOUND, AS_WRITTEN, TUNED, LAYOUT),
        ),
        Table(
            "prefix",
            "two calls a question, four questions at once on one text, which stands first",
            tuple(
                Case(f"{tokens:,} tokens", questions, 4, max_tokens=8, text_tokens=tokens, blocks=640)
                for tokens in PREFIXES
            ),
            (*BOUND, AS_WRITTEN, EXACT),
        ),
        Table(
            "batch",
            "delta matching, so many items in flight",
            tuple(Case(f"{size} in flight", delta, 32, concurrency=size, max_tokens=8) for size in BATCHES),
            (*BOUND, AS_WRITTEN, LAYOUT),
        ),
        Table(
            "prepopulation",
            "handbooks that no call has sent yet, computed before the first question or by it",
            (Case("question desk", agents["question_desk"], 8),),
            (*BOUND, AS_WRITTEN, EXACT, UNWARMED),
        ),
        Table("shapes", "the agent shapes of public systems; the cache holds 2.5 of their largest calls", shapes),
        Table(
            "short",
            "a few seconds: that everything runs; its figures say nothing",
            (Case("two short documents", chain, 2, max_tokens=4, text_tokens=48),),
            (*BOUND, AS_WRITTEN, TUNED, EXACT, LAYOUT),
            rounds=1,
        ),
    )
    return {table.name: table for table in tables}


def table_of_entry(
    entry: str,
    inputs: str,
    *,
    items: int,
    max_tokens: int,
    concurrency: int | None,
    blocks: int | None,
    block_size: int | None,
    pressure: float | None,
) -> Table:
    """The comparison of an agent of the user's own."""
    agent = Agent(entry.rpartition(":")[2], entry, inputs)
    case = Case(
        agent.name,
        agent,
        items,
        max_tokens,
        concurrency or min(items, DEFAULT_CONCURRENCY),
        pressure=pressure,
        blocks=blocks or BLOCKS,
        block_size=block_size or BLOCK_SIZE,
    )
    return Table(agent.name, f"{entry} over {inputs}", (case,))
