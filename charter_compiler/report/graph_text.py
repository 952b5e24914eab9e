"""The graph of calls in the languages of Graphviz (DOT) and Mermaid."""

from __future__ import annotations

import re

from charter_compiler.dag.builder import CallGraph
from charter_compiler.ir.nodes import Call


def to_dot(graph: CallGraph) -> str:
    """A Graphviz digraph; results that arrive in the next turn of a loop are dashed edges."""
    lines = ["digraph agent {", "  rankdir=LR;", '  node [shape=box, fontname="sans-serif"];']
    for call in graph.calls.values():
        label = "\\n".join(_dot_escape(part) for part in _label(call))
        lines.append(f'  "{_dot_escape(call.id)}" [label="{label}"];')
    for source, target in _edges(graph):
        style = " [style=dashed]" if graph.is_carried(source, target) else ""
        lines.append(f'  "{_dot_escape(source)}" -> "{_dot_escape(target)}"{style};')
    return "\n".join([*lines, "}"]) + "\n"


def to_mermaid(graph: CallGraph) -> str:
    """A Mermaid flowchart; results that arrive in the next turn of a loop are dotted arrows."""
    names = {call_id: f"c{index}" for index, call_id in enumerate(graph.calls, start=1)}
    lines = ["flowchart LR"]
    for call in graph.calls.values():
        label = "<br/>".join(_mermaid_escape(part) for part in _label(call))
        lines.append(f'  {names[call.id]}["{label}"]')
    for source, target in _edges(graph):
        arrow = "-.->" if graph.is_carried(source, target) else "-->"
        lines.append(f"  {names[source]} {arrow} {names[target]}")
    return "\n".join(lines) + "\n"


def _edges(graph: CallGraph) -> list[tuple[str, str]]:
    return [(source, target) for target in graph.calls for source in graph.predecessors(target)]


def _label(call: Call) -> tuple[str, ...]:
    number = call.id.rpartition("#")[2]
    loop = ("in a loop",) if call.in_loop else ()
    return (f"{call.function}#{number}", f"{call.span.file}:{call.span.line}", *loop)


def _dot_escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")


def _mermaid_escape(text: str) -> str:
    # Mermaid reads HTML entities, with # in place of &.
    return re.sub(r"[^\w .:/-]", lambda match: f"#{ord(match[0])};", text)
