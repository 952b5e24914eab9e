"""What a LangGraph ``StateGraph`` is told while functions are read: nodes, edges, and who chooses a successor."""

from __future__ import annotations

from dataclasses import dataclass, field

from charter_compiler.diagnostics.span import Span
from charter_compiler.parser.definitions import ClassInfo
from charter_compiler.parser.graph_flow import END, START
from charter_compiler.parser.strings import Arguments, constant_text
from charter_compiler.parser.values import External, FunctionRef, Record, Repeated, Series, Text, Value


@dataclass(slots=True, eq=False)
class Graph:
    """What is known of one graph. ``conditional`` are the functions that choose a successor, with the names they choose
    from where these are written down, ``payloads`` what nodes are sent in the place of the state, ``named`` those that
    something else leads to; ``unclear``: nodes or edges are made that are not seen here."""

    span: Span
    schema: ClassInfo | None = None
    appending: set[str] = field(default_factory=set)
    nodes: dict[str, list[Value]] = field(default_factory=dict)
    edges: dict[tuple[tuple[str, ...], str], bool] = field(default_factory=dict)
    conditional: list[tuple[str, Value, frozenset[str] | None, bool]] = field(default_factory=list)
    given: list[Record] = field(default_factory=list)
    unclear: bool = False
    states: dict[str, dict[str, Value]] = field(default_factory=dict)
    payloads: dict[str, list[Value]] = field(default_factory=dict)
    choosing: dict[int, dict[str, Value]] = field(default_factory=dict)
    named: set[str] = field(default_factory=set)
    cyclic: frozenset[str] = frozenset()


def note(graph: Graph, method: str, arguments: Arguments, sure: bool) -> None:
    given = _Given(arguments)
    match method:
        case "add_node":
            _note_node(graph, given.slot("node", 0), given.slot("action", 1))
        case "add_edge":
            _note_edge(graph, _name(given.slot("start_key", 0)), _name(given.slot("end_key", 1)), sure)
        case "set_entry_point":
            _note_edge(graph, (START,), _name(given.slot("key", 0)), sure)
        case "set_finish_point":
            _note_edge(graph, _name(given.slot("key", 0)), (END,), sure)
        case "add_conditional_edges":
            sources = _name(given.slot("source", 0))
            _note_choice(graph, sources, given.slot("path", 1), given.slot("path_map", 2), sure)
        case "set_conditional_entry_point":
            _note_choice(graph, (START,), given.slot("path", 0), given.slot("path_map", 1), sure)
        case "add_sequence":
            _note_sequence(graph, given.slot("nodes", 0))


class _Given:
    def __init__(self, arguments: Arguments) -> None:
        self._arguments = arguments

    def slot(self, name: str, index: int) -> Value | None:
        positional = self._arguments.positional
        return self._arguments.keywords.get(name) or (positional[index] if index < len(positional) else None)


def _note_node(graph: Graph, first: Value | None, action: Value | None) -> str | None:
    name = constant_text(first) if first is not None else None
    if name is None and isinstance(first, FunctionRef) and action is None:
        action, name = first, first.function.name.rpartition(".")[2]
    if name is None:
        graph.unclear = True
        return None
    known = graph.nodes.setdefault(name, [])
    if action is not None and action not in known:
        known.append(action)
    return name


def _name(value: Value | None) -> tuple[str, ...] | None:
    """The names of nodes that an argument gives; ``None`` where it is not constant."""
    match value:
        case Text():
            text = constant_text(value)
            return None if text is None else (text,)
        case External(path=path) if path.rpartition(".")[2] in ("START", "END"):
            return (START,) if path.endswith("START") else (END,)
        case FunctionRef(function=function):
            return (function.name.rpartition(".")[2],)
        case Series(items=items):
            found = [_name(item) if not isinstance(item, Repeated) else None for item in items]
            known = [name for each in found if each is not None for name in each]
            return tuple(known) if known and len(known) == len(found) else None
    return None


def _note_edge(graph: Graph, sources: tuple[str, ...] | None, targets: tuple[str, ...] | None, sure: bool) -> None:
    if sources is None or targets is None:
        graph.unclear = True
        return
    for target in targets:
        graph.edges[sources, target] = sure or graph.edges.get((sources, target), False)


def _note_choice(
    graph: Graph, sources: tuple[str, ...] | None, path: Value | None, written: Value | None, sure: bool
) -> None:
    if sources is None or path is None:
        graph.unclear = True
        return
    names: frozenset[str] | None = None
    match written:
        case Record(entries=entries, rest=None):
            found = [_name(value) for _, value in entries]
            if all(each is not None for each in found):
                names = frozenset(name for each in found if each is not None for name in each)
        case Series():
            several = _name(written)
            names = None if several is None else frozenset(several)
    for source in sources:
        known = (source, path, names, sure)
        if known not in graph.conditional:
            graph.conditional.append(known)


def _note_sequence(graph: Graph, nodes: Value | None) -> None:
    before: str | None = None
    if not isinstance(nodes, Series):
        graph.unclear = True
        return
    for item in nodes.items:
        match item:
            case Series(items=(Text() as first, action)) if not isinstance(action, Repeated):
                name = _note_node(graph, first, action)
            case Repeated():
                graph.unclear = True
                return
            case _:
                name = _note_node(graph, item, None)
        if name is None:
            return
        if before is not None:
            _note_edge(graph, (before,), (name,), True)
        before = name
