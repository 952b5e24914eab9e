"""Where each call stands in the picture of the graph: columns are stages, arrows are results that flow on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from charter_compiler.analysis.prefix_analyzer import PrefixOpportunity
from charter_compiler.ir.nodes import Call
from charter_compiler.report.prompt_blocks import groups_of, short_id
from charter_compiler.report.token_shares import Shares

NODE_WIDTH = 236
NODE_HEIGHT = 102
COLUMN_GAP = 84
ROW_GAP = 26
MARGIN = 16
ARROW = 12
"""Room for the arrow's head between the end of its line and the call."""
MARKS = 4
"""Shared prefixes that a call names; it says how many more it has."""
_LABEL_CHARACTERS = 26


@dataclass(frozen=True, slots=True)
class Node:
    """A call; ``x`` and ``y`` are its upper left corner in pixels, ``title`` its full id. ``shares`` say where its
    prompt tokens go, ``None`` where nothing was predicted."""

    x: int
    y: int
    title: str
    label: str
    place: str
    detail: str
    groups: tuple[int, ...]
    shares: Shares | None = None


@dataclass(frozen=True, slots=True)
class Edge:
    """An arrow as an SVG path; ``carried`` where the result comes from an earlier turn of a loop."""

    path: str
    carried: bool
    title: str


@dataclass(frozen=True, slots=True)
class Graph:
    width: int
    height: int
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]


def stages(calls: Sequence[Call]) -> list[int]:
    """Stage of each call: 0 without dependences, else one more than the latest call it waits for.

    A dependence on the call itself or on a later one comes from an earlier turn of a loop and holds nothing up.
    """
    order = {call.id: index for index, call in enumerate(calls)}
    result: list[int] = []
    for index, call in enumerate(calls):
        before = [order[name] for name in call.depends_on if order.get(name, index) < index]
        result.append(1 + max((result[other] for other in before), default=-1))
    return result


def layout(calls: Sequence[Call], opportunities: Sequence[PrefixOpportunity], shares: Sequence[Shares] = ()) -> Graph:
    """Place the calls: source order from top to bottom within a stage, shorter columns centred."""
    stage = stages(calls)
    by_site = {each.site: each for each in shares}
    columns: dict[int, list[int]] = {}
    for index, number in enumerate(stage):
        columns.setdefault(number, []).append(index)
    tallest = max((len(column) for column in columns.values()), default=0)
    height = 2 * MARGIN + tallest * (NODE_HEIGHT + ROW_GAP) - (ROW_GAP if tallest else 0)
    position: dict[str, tuple[int, int]] = {}
    nodes = []
    for number, column in sorted(columns.items()):
        used = len(column) * (NODE_HEIGHT + ROW_GAP) - ROW_GAP
        top = (height - used) // 2
        for row, index in enumerate(column):
            call = calls[index]
            x = MARGIN + number * (NODE_WIDTH + COLUMN_GAP)
            y = top + row * (NODE_HEIGHT + ROW_GAP)
            position[call.id] = (x, y)
            label = _shorten(short_id(call.id))
            groups = groups_of(call, opportunities)
            nodes.append(Node(x, y, call.id, label, _place(call), _detail(call), groups, by_site.get(call.id)))
    width = 2 * MARGIN + len(columns) * (NODE_WIDTH + COLUMN_GAP) - (COLUMN_GAP if columns else 0)
    edges = [
        _edge(name, call.id, position[name], position[call.id])
        for call in calls
        for name in call.depends_on
        if name in position
    ]
    loops_back = any(edge.carried for edge in edges)
    return Graph(width, height + (COLUMN_GAP // 2 if loops_back else 0), tuple(nodes), tuple(edges))


def _edge(source: str, target: str, start: tuple[int, int], end: tuple[int, int]) -> Edge:
    title = f"{short_id(source)} flows into {short_id(target)}"
    if start[0] < end[0]:
        x1, y1 = start[0] + NODE_WIDTH, start[1] + NODE_HEIGHT // 2
        x2, y2 = end[0] - ARROW, end[1] + NODE_HEIGHT // 2
        bend = (x2 - x1) // 2
        return Edge(f"M{x1} {y1} C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}", False, title)
    x1, y1 = start[0] + 2 * NODE_WIDTH // 3, start[1] + NODE_HEIGHT
    x2, y2 = end[0] + NODE_WIDTH // 3, end[1] + NODE_HEIGHT + ARROW
    drop = max(y1, y2) + COLUMN_GAP // 2
    return Edge(f"M{x1} {y1} C{x1} {drop} {x2} {drop} {x2} {y2}", True, f"{title}, in the next turn of the loop")


def _place(call: Call) -> str:
    return _shorten(f"{call.span.file.rsplit('/', 1)[-1]}:{call.span.line}")


def _detail(call: Call) -> str:
    parts = []
    if call.max_tokens is not None:
        parts.append(f"at most {call.max_tokens} tokens out")
    if call.in_loop:
        parts.append("in a loop")
    return ", ".join(parts)


def _shorten(text: str) -> str:
    return text if len(text) <= _LABEL_CHARACTERS else text[: _LABEL_CHARACTERS - 1] + "…"
