"""The plan of an entry on a target, from its source alone; nothing is imported or run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from charter_compiler.analysis.pattern_detector import SequencePatternDetector
from charter_compiler.analysis.prefix_analyzer import PrefixAnalyzer
from charter_compiler.dag.builder import DAGBuilder
from charter_compiler.executor.entry import split_entry
from charter_compiler.ir.nodes import Call
from charter_compiler.parser.ast_parser import AgentASTParser
from charter_compiler.plan.execution_plan import ExecutionPlan, make_plan
from charter_compiler.tokens.tokenizer import Tokenizer


def calls_of_entry(entry: str) -> tuple[Call, ...]:
    """The model calls in the entry's own function, and those whose results they use; where the function has none of its
    own, since it calls others, all those of its file. In source order.

    Raises:
        EntryError: there is no such file.
        SourceError: the file does not parse.
    """
    path, name = split_entry(entry)
    calls = AgentASTParser().parse_file(path).require().calls
    by_id = {call.id: call for call in calls}
    wanted = {call.id for call in calls if call.function == name or call.function.startswith(f"{name}.")}
    waiting = list(wanted)
    while waiting:
        new = set(by_id[waiting.pop()].depends_on) - wanted
        wanted |= new
        waiting.extend(new)
    return tuple(call for call in calls if call.id in wanted) or calls


def plan_entry(
    entry: str,
    calls: Sequence[Call],
    *,
    target: str,
    model: str,
    tokenizer: Tokenizer,
    block_size: int,
    capacity_blocks: int | None,
) -> ExecutionPlan:
    """The plan for a target with this tokenizer and these block sizes; ``calls`` are those of ``calls_of_entry``."""
    path, _ = split_entry(entry)
    graph = DAGBuilder().build_from_calls(calls)
    return make_plan(
        entry=entry,
        target=target,
        model=model,
        tokenizer=tokenizer.fingerprint,
        block_size=block_size,
        capacity_blocks=capacity_blocks,
        sources=[path],
        root=Path.cwd(),
        graph=graph,
        opportunities=PrefixAnalyzer(tokenizer, block_size=block_size).find_shared_prefixes(graph),
        patterns=SequencePatternDetector().detect(graph),
    )
