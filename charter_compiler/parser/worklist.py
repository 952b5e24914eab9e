"""What is read, and in which order: from the functions that name a model call outwards to all that hand it a prompt.

Only files that can hold a call are interpreted: those in which a name of an SDK's method, of a client that is passed
in, or of a function that is known to carry a prompt stands. Each time more becomes known of a function, the functions
that name it are read again, until nothing changes. What is known only grows, so that this ends.
"""

from __future__ import annotations

import ast
from collections import defaultdict, deque
from collections.abc import Iterator

from charter_compiler.parser import sdk
from charter_compiler.parser.calls import BUDGET
from charter_compiler.parser.definitions import FunctionInfo
from charter_compiler.parser.interpreter import Interpreter
from charter_compiler.parser.modules import Module, Project, Unit
from charter_compiler.parser.own_object import own_use
from charter_compiler.parser.sdk import injected
from charter_compiler.parser.sites import Site
from charter_compiler.parser.state_graph import units as graph_units

ROUND_LIMIT = 6
"""Readings of one function at most; what is found then stands."""

GRAPH_ROUNDS = 3
"""Times that the state of graphs is followed: what their nodes return can depend on what they are given."""

COMMON_NAMES = frozenset(
    {
        "append", "apply", "batch", "call", "chat", "complete", "create", "defer", "do", "execute", "forward", "parse",
        "post", "predict", "prompt", "query", "reply", "request", "respond", "run", "run_sync", "sample", "send",
        "send_message", "start", "step", "stream", "summarize", "wait", "send_prompt", "transform", "search", "extract",
    }
)  # fmt: skip
"""Names of SDK methods that other things have as well: they count in a file that has to do with an SDK."""


class Worklist:
    """Reads a project until nothing changes; ``sites`` then holds its model calls."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.interpreter = Interpreter(project, self._changed)
        self._waiting: deque[tuple[Module, Unit]] = deque()
        self._queued: set[tuple[int, int]] = set()
        self._rounds: dict[tuple[int, int], int] = {}
        self._units: dict[tuple[int, int], tuple[Module, Unit]] = {}
        self._found: dict[tuple[int, int], dict[str, Site]] = {}
        self._callers: dict[FunctionInfo, set[tuple[int, int]]] = defaultdict(set)
        self._by_name: dict[str, set[tuple[int, int]]] = defaultdict(set)
        self._read_once: set[tuple[int, int]] = set()

    def run(self) -> list[Site]:
        """All sites of the project."""
        for module in self.project.modules.values():
            for unit in (*seeds(module, self.project), *graph_units(module)):
                self._enqueue(module, unit)
        # First, which functions carry a prompt, from what each does in general; nothing is read inline.
        self._drain()
        self._enqueue_called()
        self._drain()
        # Then what the prompts are, once for each function in which a model is reached.
        interpreter = self.interpreter
        interpreter.forget_all()
        interpreter.rough = False
        interpreter.budget = BUDGET + sum(module.lines for module in self.project.modules.values())
        self._read_once.clear()
        self._enqueue_reaching()
        self._drain()
        self._follow_graphs()
        return [site for found in self._found.values() for site in found.values()]

    def _enqueue_called(self) -> None:
        """Functions that were read because others call them, and in which a model is called."""
        for info in self.interpreter.calling():
            unit = info.module.unit_of(_outermost(info))
            if unit is not None and _key(info.module, unit) not in self._units:
                self._enqueue(info.module, unit)

    def _enqueue_reaching(self) -> None:
        """The units in which a model is called, or a function that carries a prompt to one."""
        carrying = [info for infos in self.interpreter.carrying.values() for info in infos]
        calling = {key for info in carrying for key in self._readers(info)}
        for key, (module, unit) in list(self._units.items()):
            info = module.functions.get(id(unit.node))
            # A method may hand its argument to a model by way of its object, which only reading it inline shows.
            keeps = info is not None and info.reaches and info.cls is not None and bool(own_use(info).changes)
            if self._found[key] or keeps or key in calling:
                self._rounds[key] = 0
                self._enqueue(module, unit)

    def _follow_graphs(self) -> None:
        """Read the functions of graphs' nodes again, with the state that other nodes leave."""
        for _ in range(GRAPH_ROUNDS):
            changed = self.interpreter.graphs.solve()
            for info in changed:
                outermost = _outermost(info)
                units = [unit for unit in info.module.units if unit.node is outermost]
                for unit in units or [unit for unit in info.module.units if unit.node is None]:
                    self._rounds[_key(info.module, unit)] = 0
                    self._enqueue(info.module, unit)
            if not changed:
                return
            self._drain()

    def _drain(self) -> None:
        while self._waiting:
            module, unit = self._waiting.popleft()
            key = _key(module, unit)
            self._queued.discard(key)
            self._rounds[key] = self._rounds.get(key, 0) + 1
            self._units[key] = module, unit
            self._found.setdefault(key, {})
            self.interpreter.called, self.interpreter.unresolved = set(), set()
            try:
                self._found[key] = self._read(module, unit)
                for info in self.interpreter.called:
                    self._callers[info].add(key)
                for name in self.interpreter.unresolved:
                    self._by_name[name].add(key)
                self._read_once.add(key)
            except RecursionError:
                # Expressions nested hundreds deep. What was found in an earlier reading stands.
                line = unit.node.lineno if unit.node is not None else 1
                self.interpreter.given_up[module.label, line] = "nested too deeply to be followed"

    def _read(self, module: Module, unit: Unit) -> dict[str, Site]:
        if unit.node is None:
            return self.interpreter.run_module(module)
        self.interpreter.environment(module)
        info = module.functions.get(id(unit.node))
        if info is None:
            return {}  # in a part of the module that is never reached
        return self.interpreter.analyze(info, again=_key(module, unit) in self._read_once)

    def _enqueue(self, module: Module, unit: Unit) -> None:
        key = _key(module, unit)
        if key not in self._queued and self._rounds.get(key, 0) < ROUND_LIMIT:
            self._queued.add(key)
            self._waiting.append((module, unit))

    def _changed(self, info: FunctionInfo) -> None:
        """More is known of a function: read again it, what stands in it, and all that names it."""
        if info.given:
            concerned = [_outermost(info)]
            if info.is_constructor and info.cls is not None:
                # What the constructor is given, the methods call.
                concerned.extend(method.node for method in info.cls.methods.values())
            for node in concerned:
                unit = info.module.unit_of(node)
                if unit is not None:
                    self._enqueue(info.module, unit)
        if not info.prompts:
            return
        # While it is found out which functions carry a prompt, what calls give for parameters is noted and followed
        # without reading them again; only calls of which nothing was known have to be.
        readers = self._named(info) if self.interpreter.rough else self._readers(info)
        for key in list(readers):
            self._enqueue(*self._units[key])
        for module in self.project.mentioning(info.bare):
            for unit in module.users(info.bare):
                if _key(module, unit) not in self._read_once:
                    self._enqueue(module, unit)

    def _readers(self, info: FunctionInfo) -> set[tuple[int, int]]:
        """The units that call a function. Of a unit that was read it is known what it calls; of others, what they
        name."""
        return self._callers[info] | self._named(info)

    def _named(self, info: FunctionInfo) -> set[tuple[int, int]]:
        """The units with calls that may mean a function by its name, the object being unknown."""
        return self._by_name[info.bare] | self._by_name[info.name.rpartition(".")[2]]


def _key(module: Module, unit: Unit) -> tuple[int, int]:
    return id(module), id(unit.node) if unit.node is not None else 0


def _outermost(info: FunctionInfo) -> ast.AST:
    while info.around is not None:
        info = info.around
    return info.node


def seeds(module: Module, project: Project) -> Iterator[Unit]:
    """The units of a module that may hold a call of a model."""
    if not may_hold_calls(module):
        return
    names = module.words & sdk.METHODS.keys()
    clients = {word for word in module.words if injected.is_client_name(word)}
    common: set[str] | frozenset[str] = names & COMMON_NAMES
    if common or module.words & sdk.CALLED:
        known = _around(module, project)
        common = {name for name in common if not sdk.METHODS[name].isdisjoint(known)}
        objects = bool(known & sdk.MODULES) and module.words & sdk.CALLED
    else:
        objects = frozenset()
    names = (names - COMMON_NAMES) | common
    if not (names or clients or objects):
        return
    for unit in module.units:
        if unit.called & names or unit.words & clients or (objects and unit.words & objects):
            yield unit


def may_hold_calls(module: Module) -> bool:
    """Whether any name in a module is that of a method or class of an SDK, or of a client that is passed in: a first,
    cheap test."""
    words = module.words
    return (
        not words.isdisjoint(sdk.METHODS)
        or not words.isdisjoint(sdk.CALLED)
        or any(injected.is_client_name(word) for word in words)
    )


def _around(module: Module, project: Project) -> frozenset[str]:
    """The names in a module, and in the modules of the project that it imports: an SDK's object is made in one file
    and used in another."""
    known = module.words
    for level, name in module.imports():
        found = project.find(name, module, level)
        if found is not None:
            known |= found.words
    return frozenset("langchain" if word.startswith("langchain_") else word for word in known)


__all__ = ["Worklist", "seeds"]
