"""The flow of state between the nodes of a LangGraph ``StateGraph``.

While functions are read, ``StateGraphs`` notes which nodes and edges each graph is given. When nothing new is found any
more, ``solve`` reads what the functions of the nodes return, follows which of these texts each node can find in its
state, and says which functions have to be read again; ``state`` is what their parameter then holds.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import product
from typing import TYPE_CHECKING

from charter_compiler.diagnostics.span import Span
from charter_compiler.ir.nodes import Choice, Const
from charter_compiler.parser.definitions import ClassInfo, FunctionInfo
from charter_compiler.parser.graph_flow import BEFORE, END, START, Reached, Step, Targets, flow
from charter_compiler.parser.loops import last_turn
from charter_compiler.parser.modules import Module, Unit
from charter_compiler.parser.strings import Arguments, constant_text
from charter_compiler.parser.values import (
    ClassRef,
    Either,
    External,
    FunctionRef,
    Input,
    Instance,
    Item,
    Opaque,
    Plain,
    Record,
    Repeated,
    Result,
    Series,
    Text,
    Value,
    bounded,
    concat,
    item_of,
    join,
    repeat,
    results_of,
    text_of,
)

if TYPE_CHECKING:
    from charter_compiler.parser.interpreter import Interpreter

ROUND_LIMIT = 8
"""Times that what the nodes return is found out; a key whose value still changes then is unknown."""

OPTION_LIMIT = 64
"""Different texts that a function may name its successor with."""

_CLASSES = frozenset({"StateGraph", "MessageGraph", "Graph"})
_BUILDING = frozenset({"add_node", "add_edge", "add_conditional_edges", "add_sequence", "set_entry_point"})
_MESSAGES = ("MessagesState", "AgentState", "MessageGraph")
_ADDING = frozenset({"add_messages", "add", "concat", "extend", "iadd"})
_MARK = "state_graph"


@dataclass(frozen=True, slots=True)
class Update:
    """What one way through a node's function does: the keys it returns, and where it goes on (``None``: as the edges
    say). ``whole``: it returns something that is not known, so that any key may change."""

    keys: dict[str, Value] = field(default_factory=dict)
    whole: bool = False
    goto: Targets | None = None


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


class StateGraphs:
    """The graphs of a project."""

    def __init__(self, interpreter: Interpreter) -> None:
        self.interpreter = interpreter
        self.graphs: dict[str, Graph] = {}
        self._known: dict[tuple[FunctionInfo, str], Value] = {}
        self._cyclic: set[FunctionInfo] = set()

    # What is noted while functions are read.

    def called(self, callee: External, arguments: Arguments, span: Span) -> Value | None:
        """Note a call of LangGraph; a value where it makes a graph, ``None`` for all else."""
        path = callee.path
        if not path.startswith("langgraph"):
            return None
        name = path.rpartition(".")[2]
        if name in _CLASSES:
            return self._made(path, name, arguments, span)
        graph = self.of(callee)
        if graph is not None and "compile" not in path:
            optional = bool(self.interpreter.evaluator.frame.arms)
            _note(graph, name, arguments, not optional)
        return None

    def of(self, value: Value | None) -> Graph | None:
        """The graph that an object is, or was compiled from."""
        if not isinstance(value, External):
            return None
        match value.argument(_MARK):
            case Plain(value=str(key)):
                return self.graphs.get(key)
        return None

    def invoked(self, callee: Value, arguments: Arguments) -> None:
        """Note what a graph is run with."""
        for option in callee.options if isinstance(callee, Either) else (callee,):
            graph = self.of(option)
            value = arguments.positional[0] if arguments.positional else arguments.keywords.get("input")
            if isinstance(value, Instance) and value.attributes:
                value = Record(value.attributes)
            if graph is not None and isinstance(value, Record) and value not in graph.given and len(graph.given) < 8:
                graph.given.append(value)

    def _made(self, path: str, name: str, arguments: Arguments, span: Span) -> Value:
        key = f"{span.file}:{span.line}:{span.column}"
        graph = self.graphs.setdefault(key, Graph(span))
        schema = arguments.keywords.get("state_schema") or (arguments.positional[0] if arguments.positional else None)
        if isinstance(schema, ClassRef):
            graph.schema = schema.cls
        elif isinstance(schema, External) and schema.path.rpartition(".")[2] in _MESSAGES:
            graph.appending.add("messages")
        if name in _MESSAGES:
            graph.appending.add("messages")
        return External.made(f"{path}()", ((_MARK, Plain(key)), *enumerate(arguments.positional)))

    # What is found out.

    def given(self, info: FunctionInfo, parameters: dict[str, Value]) -> dict[str, Value]:
        """The parameters that are the state of the graph whose node the function is."""
        return {name: value for name, each in parameters.items() if (value := self.state(info, name, each)) is not each}

    def state(self, info: FunctionInfo, parameter: str, otherwise: Value) -> Value:
        """The value of a parameter: the state of the graph whose node the function is, else ``otherwise``."""
        known = self._known.get((info, parameter))
        if known is None or not isinstance(otherwise, Input):
            return otherwise
        return _with_flow(known, otherwise.deps)

    def runs_again(self, info: FunctionInfo | None) -> bool:
        """Whether the function is that of a node which a graph can come back to."""
        return info is not None and info in self._cyclic

    def solve(self) -> list[FunctionInfo]:
        """Follow the state through all graphs; returns the functions of whose parameter more is known than before."""
        found: dict[tuple[FunctionInfo, str], Value] = {}
        cyclic: set[FunctionInfo] = set()
        for graph in self.graphs.values():
            if graph.unclear or not graph.nodes:
                continue
            self._solve(graph)
            for name, values in graph.nodes.items():
                for ref in self._refs(values):
                    _add(found, ref, self._argument(graph, name, graph.states.get(name)), graph.span)
                    if name in graph.cyclic:
                        cyclic.add(ref.function)
            for index, (_, router, _, _) in enumerate(graph.conditional):
                for ref in self._refs([router]):
                    _add(found, ref, self._as_state(graph, graph.choosing.get(index), None), graph.span)
        changed = {info for (info, name), value in found.items() if self._known.get((info, name)) != value}
        changed |= cyclic - self._cyclic
        self._known.update(found)
        self._cyclic |= cyclic
        return list(changed)

    def _solve(self, graph: Graph) -> None:
        keys = self._keys(graph)
        start = {key: self._given(graph, key) for key in keys}
        settled: set[str] = set()
        for turn in range(ROUND_LIMIT):
            updates = {
                name: self._updates(graph, values, self._argument(graph, name, graph.states.get(name, start)))
                for name, values in graph.nodes.items()
            }
            keys |= {key for each in updates.values() for update in each for key in update.keys}
            start.update({key: self._given(graph, key) for key in keys if key not in start})
            routes = [self._route(graph, index, start) for index in range(len(graph.conditional))]
            reached = self._follow(graph, updates, routes, keys)
            states = {name: self._values(graph, at, updates, start) for name, at in reached.nodes.items()}
            graph.choosing = {
                index: self._values(graph, reached.after[source], updates, start)
                for index, (source, _, _, _) in enumerate(graph.conditional)
                if source in reached.after
            }
            payloads: dict[str, list[Value]] = {}
            for _, sent in routes:
                for name, payload in sent:
                    payloads.setdefault(name, []).append(payload)
            before = graph.states
            same = states == before and payloads == graph.payloads
            graph.states, graph.payloads, graph.cyclic = states, payloads, reached.cyclic
            graph.named = {
                *(target for _, target in graph.edges),
                *(name for names, _ in routes for name in names),
                *(name for each in updates.values() for update in each for name in update.goto or ()),
            }
            if same:
                return
            if turn >= ROUND_LIMIT - 2:
                settled = {
                    key
                    for name, state in states.items()
                    for key, value in state.items()
                    if before.get(name, {}).get(key) != value
                }
        for state in (*graph.states.values(), *graph.choosing.values()):
            for key in settled & state.keys():
                state[key] = Opaque(f"{key} is made from itself in each turn of the graph", results_of(state[key]))

    def _follow(
        self,
        graph: Graph,
        updates: dict[str, list[Update]],
        routes: list[tuple[Targets, list[tuple[str, Value]]]],
        keys: set[str],
    ) -> Reached:
        steps: dict[str, Step] = {}
        for name in (START, *graph.nodes):
            step = steps[name] = Step()
            found = updates.get(name, [])
            for key in keys:
                writing = [update for update in found if key in update.keys or update.whole]
                if writing:
                    sure = len(writing) == len(found) and not any(each.whole for each in writing)
                    step.writes[key] = sure and not self._appends(graph, key)
            step.joining = frozenset(key for key in keys if self._appends(graph, key))
            gotos = [update.goto for update in found]
            if any(goto is not None for goto in gotos):
                step.choices.append([frozenset() if goto is None else goto for goto in gotos])
        for index, (source, _, _, sure) in enumerate(graph.conditional):
            if source in steps:
                chosen = [each for target in routes[index][0] if (each := frozenset({target}))]
                sent = frozenset(name for name, _ in routes[index][1])
                options: list[frozenset[str]] = [*chosen, *([sent] if sent else [])]
                steps[source].choices.append(options if sure else [*options, frozenset()])
        barriers: list[tuple[frozenset[str], str]] = []
        for (sources, target), sure in graph.edges.items():
            if len(sources) > 1:
                barriers.append((frozenset(sources), target))
            elif sources[0] in steps and sure:
                steps[sources[0]].always.add(target)
            elif sources[0] in steps:
                steps[sources[0]].choices.append([frozenset({target}), frozenset()])
        return flow(steps, barriers, keys)

    def _route(self, graph: Graph, index: int, start: dict[str, Value]) -> tuple[Targets, list[tuple[str, Value]]]:
        """The nodes that a function for conditional edges may name, and what it sends to some in place of the state."""
        _, router, written, _ = graph.conditional[index]
        anywhere = frozenset({*graph.nodes, END})
        state = self._as_state(graph, graph.choosing.get(index, start), None)
        names: set[str] = set()
        sent: list[tuple[str, Value]] = []
        refs = self._refs([router])
        known = bool(refs)
        for ref in refs:
            value = self._returned(ref, state, graph.span)
            found = _named(value, sent)
            literal = _literal(ref.function)
            if found is None and literal is not None:
                found = literal
            known = known and found is not None
            names |= found or set()
        sent = [(name, payload) for name, payload in sent if name in graph.nodes]
        if written is not None:
            # Names that are written down beside `Send` are those it sends to.
            return frozenset() if sent and known and not names else written & anywhere, sent
        if not known:
            return anywhere, sent
        return frozenset(names & anywhere), sent

    def _updates(self, graph: Graph, values: list[Value], argument: Value) -> list[Update]:
        """What the function of a node returns, each way through it."""
        found: list[Update] = []
        refs = self._refs(values)
        for ref in refs:
            returned = last_turn(self._returned(ref, argument, graph.span))
            literal = _literal(ref.function)
            for update in _read(returned, argument):
                goto = update.goto
                if goto is not None and not goto:  # a successor that is not known
                    goto = frozenset(literal & {*graph.nodes, END}) if literal else frozenset({*graph.nodes, END})
                    found.extend(replace(update, goto=frozenset({each})) for each in sorted(goto))
                else:
                    found.append(update)
        if not refs:
            prebuilt = any(isinstance(value, External) for value in values)
            unseen: Value = Opaque("what a node that is not in this project returns")
            found.append(
                Update({"messages": unseen}) if prebuilt and self.of(values[0]) is None else Update(whole=True)
            )
        return found

    def _returned(self, ref: FunctionRef, state: Value, span: Span) -> Value:
        self.interpreter.refuel()
        arguments = Arguments([state]) if _state_parameter(ref) is not None else Arguments()
        return self.interpreter.invoke_plain(ref, arguments, span)

    def _values(
        self, graph: Graph, at: dict[str, tuple[str, ...]], updates: dict[str, list[Update]], start: dict[str, Value]
    ) -> dict[str, Value]:
        """The state where those nodes have set the keys."""
        state: dict[str, Value] = {}
        for key, names in at.items():
            options: list[tuple[str, list[Value]]] = []
            for name in names:
                if name == BEFORE:
                    options.append((name, [start[key]]))
                    continue
                written = [
                    update.keys[key] if key in update.keys else Opaque(f"what the node {name} returns is not known")
                    for update in updates[name]
                    if key in update.keys or update.whole
                ]
                options.append((name, written))
            if self._appends(graph, key) and any(name != BEFORE for name in names):
                state[key] = bounded(_appended(options, graph))
            else:
                flat = [value for _, values in options for value in values]
                state[key] = bounded(join(flat, graph.span)) if flat else start[key]
        return state

    def _keys(self, graph: Graph) -> set[str]:
        """The keys of a graph's state, as far as they are named anywhere."""
        found: set[str] = set(graph.appending)
        if graph.schema is not None:
            for cls in graph.schema.lineage():
                found |= {name for name, _ in _annotated(cls)}
            if any(path.rpartition(".")[2] in _MESSAGES for path in graph.schema.ancestors()):
                found.add("messages")
                graph.appending.add("messages")
            graph.appending |= {
                name for cls in graph.schema.lineage() for name, node in _annotated(cls) if _is_appending(node)
            }
        for given in graph.given:
            found |= {key for key, _ in given.entries}
        for values in graph.nodes.values():
            for ref in self._refs(values):
                name = _state_parameter(ref)
                found |= set(_read_keys(ref.function, name)) if name is not None else set()
        return found

    @staticmethod
    def _appends(graph: Graph, key: str) -> bool:
        return key in graph.appending

    @staticmethod
    def _given(graph: Graph, key: str) -> Value:
        """What a key holds before any node has set it: a value from outside, named after the key."""
        flowing = [value for given in graph.given if (value := given.get(key)) is not None and results_of(value)]
        if not flowing:
            return Input(key, "item")
        if all(isinstance(value, Result) for value in flowing):
            return join(flowing, graph.span)
        return Opaque(f"{key} is what the graph is run with", results_of(*flowing))

    def _as_state(self, graph: Graph, state: dict[str, Value] | None, payloads: list[Value] | None) -> Value:
        """The parameter of a node's function."""
        found: list[Value] = list(payloads or [])
        if state is not None:
            entries = tuple(sorted(state.items()))
            schema = graph.schema
            if schema is not None and not _is_mapping(schema):
                found.append(Instance(schema, entries))
            else:
                found.append(Record(entries))
        return join(found, graph.span) if found else Opaque("the state of a node that no edge leads to")

    def _argument(self, graph: Graph, name: str, state: dict[str, Value] | None) -> Value:
        """What a node is given: the state, or what another sends it."""
        payloads = graph.payloads.get(name)
        return self._as_state(graph, None if payloads and name not in graph.named else state, payloads)

    def _refs(self, values: Iterable[Value]) -> list[FunctionRef]:
        """The functions of the project that a node is."""
        found: list[FunctionRef] = []
        for value in values:
            while isinstance(value, External) and value.path.endswith("RunnableLambda()"):
                inner = value.argument("func", 0)
                value = inner if inner is not None else Opaque("nothing")
            found.extend(self.interpreter.functions_of(value))
        return list(dict.fromkeys(found))


def units(module: Module) -> Iterator[Unit]:
    """The units of a module that build a graph."""
    if module.words & _BUILDING and "langgraph" in module.words:
        for unit in module.units:
            if unit.called & _BUILDING:
                yield unit


# What a graph is told.


def _note(graph: Graph, method: str, arguments: Arguments, sure: bool) -> None:
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


# What the functions of nodes return.


def _read(value: Value, state: Value) -> list[Update]:
    """The updates that a returned value is."""
    match value:
        case Plain(value=None):
            return [Update()]
        case Record(entries=entries, rest=rest):
            return [Update(_written(dict(entries), state), whole=rest is not None)]
        case Instance(attributes=attributes) if attributes is not None:
            return [Update(_written(dict(attributes), state))]
        case External(path=path) if path.endswith(".Command()"):
            given = value.argument("update")
            updates = [Update()] if given is None else _read(given, state)
            goto = value.argument("goto")
            if goto is None:
                return updates
            sent: list[tuple[str, Value]] = []
            names = _named(goto, sent)
            if isinstance(goto, Series) and names:
                return [replace(each, goto=frozenset(names)) for each in updates]
            options = [frozenset({name}) for name in sorted(names)] if names else [frozenset[str]()]
            return [replace(each, goto=option) for each in updates for option in options]
        case Either(options=options_):
            return [update for option in options_ for update in _read(option, state)]
        case Series(items=items) if items and all(isinstance(each, External | Record) for each in items):
            return [update for each in items if not isinstance(each, Repeated) for update in _read(each, state)]
    return [Update(whole=True)]


def _written(keys: dict[str, Value], state: Value) -> dict[str, Value]:
    """Without what is the state as it was."""
    before = dict(
        state.entries if isinstance(state, Record) else (state.attributes or ()) if isinstance(state, Instance) else ()
    )
    return {key: value for key, value in keys.items() if before.get(key) != value}


def _named(value: Value, sent: list[tuple[str, Value]]) -> set[str] | None:
    """The names of nodes that a value can be; ``None`` where that is not known. ``Send`` objects go to ``sent``."""
    match value:
        case Text():
            return _alternatives(value)
        case External(path=path) if path.rpartition(".")[2] in ("START", "END"):
            return {END} if path.endswith("END") else {START}
        case External(path=path) if path.endswith(".Send()"):
            name = value.argument("node", 0)
            payload = value.argument("arg", 1)
            text = constant_text(name) if name is not None else None
            if text is None:
                return None
            sent.append((text, last_turn(payload) if payload is not None else Opaque("nothing is sent")))
            return set()
        case Plain(value=None):
            return set()
        case Either() | Series():
            options = value.options if isinstance(value, Either) else item_of(value.items)
            found = [_named(option, sent) for option in options]
            known = [each for each in found if each is not None]
            return set().union(*known) if len(known) == len(found) else None
    return None


def _alternatives(text: Text) -> set[str] | None:
    """The strings that a text can be, where it is put together from constants alone."""
    parts: list[list[str]] = []
    count = 1
    for segment in text.segments:
        match segment:
            case Const(text=constant):
                parts.append([constant])
            case Choice(options=options) if all(isinstance(each, Const) for option in options for each in option):
                parts.append(["".join(each.text for each in option if isinstance(each, Const)) for option in options])
                count *= len(options)
            case _:
                return None
    return {"".join(each) for each in product(*parts)} if count <= OPTION_LIMIT else None


def _literal(info: FunctionInfo) -> set[str] | None:
    """The names in the ``Literal`` of a return annotation."""
    if isinstance(info.node, ast.Lambda) or info.node.returns is None:
        return None
    found: set[str] = set()
    for part in ast.walk(info.node.returns):
        if isinstance(part, ast.Subscript) and ast.unparse(part.value).rpartition(".")[2] == "Literal":
            for element in part.slice.elts if isinstance(part.slice, ast.Tuple) else [part.slice]:
                if isinstance(element, ast.Constant) and isinstance(element.value, str):
                    found.add(element.value)
                elif ast.unparse(element).rpartition(".")[2] == "END":
                    found.add(END)
                else:
                    return None
    return found or None


def _state_parameter(ref: FunctionRef) -> str | None:
    """The parameter that LangGraph gives the state to: the first that is not given already."""
    arguments = ref.function.node.args
    names = [each.arg for each in (*arguments.posonlyargs, *arguments.args)]
    names = names[(ref.bound is not None) + len(ref.positional) :]
    taken = {name for name, _ in ref.keywords}
    return next((name for name in names if name not in taken), None)


def _read_keys(info: FunctionInfo, name: str) -> Iterator[str]:
    """The keys that a function takes from its state."""
    for node in info.parts:
        match node:
            case ast.Subscript(value=ast.Name(id=owner), slice=ast.Constant(value=str(key))) if owner == name:
                yield key
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id=owner), attr="get"), args=[ast.Constant(value=str(key)), *_]
            ) if owner == name:
                yield key


def _annotated(cls: ClassInfo) -> Iterator[tuple[str, ast.expr]]:
    for statement in cls.node.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            yield statement.target.id, statement.annotation


def _is_appending(node: ast.expr) -> bool:
    """Whether ``Annotated`` names a function that adds what a node returns to what is there."""
    match node:
        case ast.Subscript(value=owner, slice=ast.Tuple(elts=[_, *more])) if ast.unparse(owner).endswith("Annotated"):
            return any(isinstance(each, ast.Name | ast.Attribute | ast.Call | ast.Lambda) for each in more)
    return False


def _is_mapping(cls: ClassInfo) -> bool:
    paths = {path.rpartition(".")[2] for path in cls.ancestors()}
    return bool(paths & {"TypedDict", *_MESSAGES}) or not cls.generated


def _appended(options: list[tuple[str, list[Value]]], graph: Graph) -> Value:
    """What a key holds to which each node adds."""
    values = [value for _, written in options for value in written]
    if any(isinstance(value, Text) for value in values) and not any(isinstance(value, Series) for value in values):
        parts: list[Text] = []
        for name, written in options:
            text = text_of(join(written, graph.span), graph.span)
            parts.append(repeat(text, graph.span) if name in graph.cyclic else text)
        return concat(parts, graph.span)
    items: list[Item] = []
    several = graph.cyclic | graph.payloads.keys()
    for name, written in options:
        whole = written[0] if len(written) == 1 else None
        if name == BEFORE:
            items.append(Repeated(tuple(written)))
        elif isinstance(whole, Series) and name not in several:
            items.extend(whole.items)
        elif whole is not None and name not in several:
            items.append(whole)
        else:
            flat = [
                each for value in written for each in (item_of(value.items) if isinstance(value, Series) else [value])
            ]
            items.append(Repeated(tuple(dict.fromkeys(flat))))
    return Series(tuple(items))


def _with_flow(value: Value, flow_: frozenset[str]) -> Value:
    """The state with its values from outside marked as those of the function's parameter."""

    def marked(each: Value) -> Value:
        match each:
            case Input(origin=""):
                return replace(each, deps=each.deps | flow_)
            case Either(options=options):
                return Either(tuple(marked(option) for option in options))
            case Series(items=items):
                return Series(tuple(_item(item) for item in items))
        return each

    def _item(item: Item) -> Item:
        return Repeated(tuple(_item(each) for each in item.items)) if isinstance(item, Repeated) else marked(item)

    match value:
        case Record(entries=entries):
            return Record(tuple((key, marked(each)) for key, each in entries))
        case Instance(attributes=attributes) if attributes:
            return Instance(value.cls, tuple((key, marked(each)) for key, each in attributes))
        case Either(options=options):
            return Either(tuple(_with_flow(option, flow_) for option in options))
    return value


def _add(found: dict[tuple[FunctionInfo, str], Value], ref: FunctionRef, state: Value, span: Span) -> None:
    name = _state_parameter(ref)
    if name is None or isinstance(state, Opaque):
        return
    before = found.get((ref.function, name))
    found[ref.function, name] = state if before is None else join([before, state], span)
