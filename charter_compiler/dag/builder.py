"""IR to graph: one node a call, one edge where a result flows into a prompt."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import networkx as nx

from charter_compiler.diagnostics.errors import VerificationError
from charter_compiler.diagnostics.span import Span
from charter_compiler.ir.nodes import Call


@dataclass(frozen=True, slots=True)
class Loop:
    """A loop with model calls in it: ``calls`` are the ids of those in it, inner loops included, in source order."""

    span: Span
    function: str
    calls: tuple[str, ...]


class CallGraph:
    """The calls of an agent and the flow of their results.

    ``graph`` is a ``networkx.DiGraph`` from a call to those whose prompts hold its result; its nodes carry the
    attribute ``call``, its edges ``carried``: true where the result arrives only in the next turn of a loop. Only
    carried edges close cycles. Nodes and edges are inserted in the order of the calls, so that everything read from
    the graph comes in the same order in every run.
    """

    def __init__(self, calls: Iterable[Call]) -> None:
        """Build the graph.

        Raises:
            VerificationError: two calls have one id, or a call depends on one that is not given.
        """
        self.calls: dict[str, Call] = {}
        for call in calls:
            if call.id in self.calls:
                raise VerificationError(f"call {call.id}: the id is used twice", place=str(call.span))
            self.calls[call.id] = call
        self.graph = nx.DiGraph()
        for call in self.calls.values():
            self.graph.add_node(call.id, call=call)
        for call in self.calls.values():
            for dependency in call.depends_on:
                if dependency not in self.calls:
                    raise VerificationError(
                        f"call {call.id}: depends on {dependency}, which is not among the calls", place=str(call.span)
                    )
                self.graph.add_edge(dependency, call.id)
        circles = {
            name: number for number, each in enumerate(nx.strongly_connected_components(self.graph)) for name in each
        }
        for one, other in self.graph.edges:
            # Functions are called in any order: of these only what closes a circle is carried.
            same = self.calls[one].function == self.calls[other].function or circles[one] == circles[other]
            self.graph.edges[one, other]["carried"] = same and not _evaluated_before(self.calls[one], self.calls[other])

    @property
    def within_turn(self) -> nx.DiGraph:
        """The graph without the edges that are carried to the next turn of a loop; it has no cycles."""
        result = nx.DiGraph()
        result.add_nodes_from(self.graph.nodes)
        result.add_edges_from((one, other) for one, other, carried in self.graph.edges(data="carried") if not carried)
        return result

    def order(self) -> tuple[str, ...]:
        """Every call after those whose results it needs; in source order where the data leaves a choice."""
        position = {call_id: index for index, call_id in enumerate(self.calls)}
        return tuple(nx.lexicographical_topological_sort(self.within_turn, key=position.__getitem__))

    def predecessors(self, call_id: str) -> tuple[str, ...]:
        """Calls whose results flow into this one's prompt, carried ones included, in source order."""
        return tuple(other for other in self.calls if self.graph.has_edge(other, call_id))

    def successors(self, call_id: str) -> tuple[str, ...]:
        """Calls into whose prompts this one's result flows, carried ones included, in source order."""
        return tuple(other for other in self.calls if self.graph.has_edge(call_id, other))

    def is_carried(self, source: str, target: str) -> bool:
        """Whether the result of ``source`` reaches ``target`` only in the next turn of a loop."""
        carried: bool = self.graph.edges[source, target]["carried"]
        return carried

    def loops(self) -> tuple[Loop, ...]:
        """The loops that calls stand in, outer before inner, in source order."""
        found: dict[tuple[Span, str], list[str]] = {}
        for call in self.calls.values():
            for span in call.loops:
                found.setdefault((span, call.function), []).append(call.id)
        return tuple(Loop(span, function, tuple(ids)) for (span, function), ids in found.items())


class DAGBuilder:
    """Builds the graph of calls. It has no state."""

    def build_from_calls(self, calls: Iterable[Call]) -> CallGraph:
        """The graph of these calls, which hold every call that one of them depends on.

        Raises:
            VerificationError: two calls have one id, or a call depends on one that is not given.
        """
        return CallGraph(calls)


def _evaluated_before(one: Call, other: Call) -> bool:
    """Whether a turn of the program finishes ``one`` before ``other``: arguments are evaluated before their call."""
    return (one.span.file, one.span.end_line, one.span.end_column) < (
        other.span.file,
        other.span.end_line,
        other.span.end_column,
    )
