"""Finds the five patterns of reuse in a graph of calls, from the source alone.

What counts as alike here is what is alike in every run: constants, values from outside that do not change in between,
and results of the same call. How many tokens a pattern is worth is the business of the prefix analyzer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise, takewhile

import networkx as nx

from charter_compiler.analysis.patterns import Pattern, PatternKind
from charter_compiler.dag.builder import CallGraph
from charter_compiler.diagnostics.span import Span
from charter_compiler.ir.nodes import Call, CallRef, Const, Param, Segment, walk
from charter_compiler.ir.prompts import leading_text, segments_of

MIN_SHARED_CHARACTERS = 24
"""Constant text, in characters, that two prompts must share at least: less is a few words that happen to agree."""

MIN_TEMPLATE_CHARACTERS = 1000
"""Constant text, in characters (about 250 tokens), from which a prompt counts as a template with small variations."""


class SequencePatternDetector:
    """Finds patterns of reuse. It has no state."""

    def detect(self, dag: CallGraph) -> tuple[Pattern, ...]:
        """Every pattern, kind by kind in the order of ``PatternKind``, each kind in source order."""
        return tuple(pattern for detector in DETECTORS for pattern in detector(dag))


def shared_prefixes(dag: CallGraph) -> Iterator[Pattern]:
    """Groups of call sites whose first messages begin with the same constant text, each call in at most one."""
    groups: dict[tuple[str, str], list[Call]] = {}
    for call in dag.calls.values():
        text = leading_text(call)
        if len(text) >= MIN_SHARED_CHARACTERS:
            groups.setdefault((call.messages[0].role, text[:MIN_SHARED_CHARACTERS]), []).append(call)
    for group in groups.values():
        if len(group) > 1:
            length = _common_length([leading_text(call) for call in group])
            yield Pattern(
                PatternKind.SHARED_PREFIX,
                tuple(call.id for call in group),
                f"{len(group)} prompts begin with the same {length} characters of constant text",
                tuple(dict.fromkeys(segments_of(call)[0].span for call in group)),
            )


def sequential_chains(dag: CallGraph) -> Iterator[Pattern]:
    """Longest runs of calls in which each one's result flows into the next and nowhere else first."""
    flow = nx.transitive_reduction(dag.within_turn)
    links = {one: other for one, other in flow.edges if flow.out_degree(one) == 1 and flow.in_degree(other) == 1}
    starts = [call_id for call_id in dag.calls if call_id in links and call_id not in links.values()]
    for start in starts:
        chain = [start]
        while chain[-1] in links:
            chain.append(links[chain[-1]])
        yield Pattern(
            PatternKind.SEQUENTIAL_CHAIN,
            tuple(chain),
            f"{len(chain)} calls, each with the result of the one before in its prompt",
            tuple(span for one, other in pairwise(chain) for span in _uses(dag.calls[other], one)),
        )


def branchings(dag: CallGraph) -> Iterator[Pattern]:
    """Results that flow into several calls of which none waits for another."""
    flow = dag.within_turn
    reachable = {call_id: nx.descendants(flow, call_id) for call_id in dag.calls}
    for call_id in dag.calls:
        fed = [other for other in dag.successors(call_id) if flow.has_edge(call_id, other)]
        first = [other for other in fed if not any(other in reachable[another] for another in fed)]
        if len(first) > 1:
            yield Pattern(
                PatternKind.BRANCHING,
                (call_id, *first),
                f"one result flows into {len(first)} calls that do not depend on each other",
                tuple(span for other in first for span in _uses(dag.calls[other], call_id)),
            )


def loop_invariants(dag: CallGraph) -> Iterator[Pattern]:
    """Calls in loops whose prompt, or whose beginning of it, is the same in every turn."""
    for call in dag.calls.values():
        if not call.in_loop:
            continue
        segments = segments_of(call)
        inside = _same_innermost_loop(call, dag)
        steady = _steady_start(segments, inside)
        if len(steady) == len(segments):
            what = "the whole prompt is the same in every turn of the loop"
        elif sum(len(segment.text) for segment in steady if isinstance(segment, Const)) >= MIN_SHARED_CHARACTERS:
            what = (
                f"the first {len(steady)} of {len(segments)} parts of the prompt are the same in every turn of the loop"
            )
        else:
            continue
        yield Pattern(PatternKind.LOOP_INVARIANT, (call.id,), what, tuple(segment.span for segment in steady))


def delta_matches(dag: CallGraph) -> Iterator[Pattern]:
    """Long templates in which only values from outside vary. How long these are is not known from the source."""
    for call in dag.calls.values():
        segments = segments_of(call)
        constant = sum(len(segment.text) for segment in segments if isinstance(segment, Const))
        varying = [segment for segment in segments if isinstance(segment, Param) and segment.scope != "agent"]
        known = all(isinstance(segment, Const | Param) for segment in segments)
        if known and varying and constant >= MIN_TEMPLATE_CHARACTERS:
            names = list(dict.fromkeys(segment.name for segment in varying))
            yield Pattern(
                PatternKind.DELTA_MATCHING,
                (call.id,),
                f"{constant} characters of the prompt are constant; what varies: {', '.join(names)}",
                tuple(dict.fromkeys(segment.span for segment in varying)),
            )


DETECTORS: tuple[Callable[[CallGraph], Iterable[Pattern]], ...] = (
    shared_prefixes,
    sequential_chains,
    branchings,
    loop_invariants,
    delta_matches,
)
"""One for each ``PatternKind``, in its order."""


def _uses(call: Call, source: str) -> tuple[Span, ...]:
    """Where the result of ``source`` stands in the prompt; the call itself where it flows in unseen."""
    spans = [
        segment.span
        for message in call.messages
        for segment in walk(message.segments)
        if isinstance(segment, CallRef) and segment.id == source
    ]
    return tuple(spans) or (call.span,)


def _common_length(texts: list[str]) -> int:
    """Characters with which all texts begin."""
    first, last = min(texts), max(texts)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False)))


def _steady_start(segments: tuple[Segment, ...], inside: frozenset[str]) -> list[Segment]:
    return list(takewhile(lambda segment: _is_steady(segment, inside), segments))


def _is_steady(segment: Segment, inside: frozenset[str]) -> bool:
    """Whether a segment is the same in every turn of a loop that holds the calls ``inside``."""
    match segment:
        case Const():
            return True
        case Param(scope=scope):
            return scope in ("agent", "item")
        case CallRef(id=call_id):
            return call_id not in inside
    return False


def _same_innermost_loop(call: Call, dag: CallGraph) -> frozenset[str]:
    """The calls in the innermost loop around ``call``, inner loops included."""
    if not call.loops:
        # IR without the spans of its loops: any call in a loop may be in this one.
        return frozenset(other.id for other in dag.calls.values() if other.in_loop)
    loop = (call.function, call.loops[-1])
    return frozenset(
        other.id for other in dag.calls.values() if loop in {(other.function, span) for span in other.loops}
    )
