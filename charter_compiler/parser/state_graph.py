"""The flow of state between the nodes of a LangGraph ``StateGraph``.

While functions are read, ``StateGraphs`` notes which nodes and edges each graph is given. When nothing new is found any
more, ``solve`` reads what the functions of the nodes return, follows which of these texts each node can find in its
state, and says which functions have to be read again; ``state`` is what their parameter then holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from charter_compiler.diagnostics.span import Span
from charter_compiler.parser.definitions import FunctionInfo
from charter_compiler.parser.graph_edges import Graph, note
from charter_compiler.parser.graph_flow import BEFORE, END, START, Reached, Step, Targets, flow
from charter_compiler.parser.graph_state import (
    MESSAGE_STATES,
    annotated,
    appended,
    is_appending,
    is_mapping,
    read_keys,
    state_parameter,
    with_flow,
)
from charter_compiler.parser.graph_updates import Update, literal_names, node_names, read_updates
from charter_compiler.parser.joins import join
from charter_compiler.parser.loops import last_turn
from charter_compiler.parser.modules import Module, Unit
from charter_compiler.parser.strings import Arguments
from charter_compiler.parser.values import (
    ClassRef,
    Either,
    External,
    FunctionRef,
    Input,
    Instance,
    Opaque,
    Plain,
    Record,
    Result,
    Value,
    bounded,
    results_of,
)

if TYPE_CHECKING:
    from charter_compiler.parser.interpreter import Interpreter

ROUND_LIMIT = 8
"""Times that what the nodes return is found out; a key whose value still changes then is unknown."""

_CLASSES = frozenset({"StateGraph", "MessageGraph", "Graph"})
_BUILDING = frozenset({"add_node", "add_edge", "add_conditional_edges", "add_sequence", "set_entry_point"})
_MARK = "state_graph"


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
            note(graph, name, arguments, not optional)
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
        elif isinstance(schema, External) and schema.path.rpartition(".")[2] in MESSAGE_STATES:
            graph.appending.add("messages")
        if name in MESSAGE_STATES:
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
        return with_flow(known, otherwise.deps)

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
            found = node_names(value, sent)
            literal = literal_names(ref.function)
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
            literal = literal_names(ref.function)
            for update in read_updates(returned, argument):
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
        arguments = Arguments([state]) if state_parameter(ref) is not None else Arguments()
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
                state[key] = bounded(appended(options, graph))
            else:
                flat = [value for _, values in options for value in values]
                state[key] = bounded(join(flat, graph.span)) if flat else start[key]
        return state

    def _keys(self, graph: Graph) -> set[str]:
        """The keys of a graph's state, as far as they are named anywhere."""
        found: set[str] = set(graph.appending)
        if graph.schema is not None:
            for cls in graph.schema.lineage():
                found |= {name for name, _ in annotated(cls)}
            if any(path.rpartition(".")[2] in MESSAGE_STATES for path in graph.schema.ancestors()):
                found.add("messages")
                graph.appending.add("messages")
            graph.appending |= {
                name for cls in graph.schema.lineage() for name, node in annotated(cls) if is_appending(node)
            }
        for given in graph.given:
            found |= {key for key, _ in given.entries}
        for values in graph.nodes.values():
            for ref in self._refs(values):
                name = state_parameter(ref)
                found |= set(read_keys(ref.function, name)) if name is not None else set()
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
            if schema is not None and not is_mapping(schema):
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


def _add(found: dict[tuple[FunctionInfo, str], Value], ref: FunctionRef, state: Value, span: Span) -> None:
    name = state_parameter(ref)
    if name is None or isinstance(state, Opaque):
        return
    before = found.get((ref.function, name))
    found[ref.function, name] = state if before is None else join([before, state], span)
