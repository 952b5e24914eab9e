"""An entry analysed and planned for a target, from its source alone; nothing is imported or run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from charter_compiler.analysis.pattern_detector import SequencePatternDetector
from charter_compiler.analysis.patterns import Pattern
from charter_compiler.analysis.prefix_analyzer import PrefixAnalyzer, PrefixOpportunity
from charter_compiler.analysis.prompt_text import engine_calls
from charter_compiler.dag.builder import CallGraph, DAGBuilder
from charter_compiler.executor.entry import package_root, split_entry
from charter_compiler.ir.nodes import Call
from charter_compiler.parser.ast_parser import AgentASTParser
from charter_compiler.passes.template import PlannedLayout
from charter_compiler.plan.derive_hints import derive_hints
from charter_compiler.plan.execution_plan import ExecutionPlan, make_plan
from charter_compiler.predict.effects import project_files
from charter_compiler.predict.entry_source import check_entry
from charter_compiler.tokens.tokenizer import Tokenizer


def calls_of_entry(entry: str) -> tuple[Call, ...]:
    """The model calls in the entry's own function, and those whose results they use; where the function has none of its
    own, since it calls others, all those of its file. In source order.

    Raises:
        EntryError: there is no such file, or no such function in it.
        SourceError: the file does not parse.
    """
    path, name = split_entry(entry)
    calls = AgentASTParser().parse_file(path).require().calls
    check_entry(path, name)
    by_id = {call.id: call for call in calls}
    # A call of a function that makes a prompt of its own is no request: the call inside that function is.
    sent = engine_calls(calls)
    wanted = {call.id for call in sent if call.function == name or call.function.startswith(f"{name}.")}
    waiting = list(wanted)
    while waiting:
        new = set(by_id[waiting.pop()].depends_on) - wanted
        wanted |= new
        waiting.extend(new)
    return tuple(call for call in calls if call.id in wanted) or sent or calls


@dataclass(frozen=True, slots=True)
class Analysis:
    """What is known of some calls on a tokenizer and a block size."""

    graph: CallGraph
    opportunities: tuple[PrefixOpportunity, ...]
    patterns: tuple[Pattern, ...]


def analyse(calls: Sequence[Call], tokenizer: Tokenizer, block_size: int) -> Analysis:
    """The graph of the calls, what their prompts share in blocks of that many tokens, and the patterns of reuse."""
    graph = DAGBuilder().build_from_calls(calls)
    opportunities = PrefixAnalyzer(tokenizer, block_size=block_size).find_shared_prefixes(graph)
    return Analysis(graph, tuple(opportunities), SequencePatternDetector().detect(graph))


def plan_entry(
    entry: str,
    analysis: Analysis,
    *,
    target: str,
    model: str,
    tokenizer: Tokenizer,
    block_size: int,
    capacity_blocks: int | None,
    layouts: Sequence[PlannedLayout] = (),
    engine: str | None = None,
) -> ExecutionPlan:
    """The plan of an analysed entry, for a target with this tokenizer, these block sizes and ``engine``'s cache rules
    (``TargetFacts.engine``). Its sources are the entry's file and the files of its project that it imports; their paths
    are relative to the current folder."""
    path = split_entry(entry)[0].resolve()
    return make_plan(
        entry=entry,
        target=target,
        model=model,
        tokenizer=tokenizer.fingerprint,
        block_size=block_size,
        capacity_blocks=capacity_blocks,
        sources=project_files(path, package_root(path)),
        root=Path.cwd(),
        opportunities=analysis.opportunities,
        hints=derive_hints(analysis.graph, analysis.opportunities, tokenizer.chat_template),
        layouts=layouts,
        engine=engine,
    )
