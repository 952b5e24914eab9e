"""The interpreter of a project: reads functions on their own and inline, and follows names across files.

It owns the state that the executor of statements and the evaluator of expressions share: the names and the frame of the
function that is being read, the sites found so far, and what is known of the project's functions.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from charter_compiler.diagnostics.span import Span
from charter_compiler.parser import prompt_files, sdk
from charter_compiler.parser.calls import FUEL, Bound
from charter_compiler.parser.definitions import ClassInfo, FunctionInfo, FunctionNode
from charter_compiler.parser.expressions import Evaluator
from charter_compiler.parser.joins import join
from charter_compiler.parser.modules import Module, Project
from charter_compiler.parser.parameters import CANDIDATE_LIMIT
from charter_compiler.parser.project_calls import COMMON_METHODS, ProjectCalls
from charter_compiler.parser.scope import Environment, Frame, rebound_names
from charter_compiler.parser.sites import Site
from charter_compiler.parser.state_graph import StateGraphs
from charter_compiler.parser.statements import Executor
from charter_compiler.parser.strings import constant_text
from charter_compiler.parser.texts import text_of
from charter_compiler.parser.values import (
    ClassRef,
    Either,
    External,
    FunctionRef,
    Imported,
    Input,
    Instance,
    ModuleRef,
    Opaque,
    PromptTemplate,
    Repeated,
    Series,
    Text,
    Value,
    deps_of,
    item_of,
)

DEFAULT_LENGTH = 20
"""Characters from which the default of a parameter is taken for a text that is worth following, not for a name."""


class Interpreter(ProjectCalls):
    """Reads functions of a project. ``changed`` is called with each function of which more is known than before."""

    def __init__(self, project: Project, changed: Callable[[FunctionInfo], None]) -> None:
        super().__init__(changed)
        self.project = project
        self.given_up: dict[tuple[str, int], str] = {}
        self.nested: list[FunctionInfo] = []
        self._globals: dict[tuple[int, str], list[Value]] = defaultdict(list)
        self._definitions: dict[str, tuple[FunctionInfo, ...]] = {}
        self._initializing: set[int] = set()
        self._changing: set[tuple[int, str]] = set()
        self._changed_attributes: dict[tuple[int, str], Value] = {}
        self.graphs = StateGraphs(self)
        nowhere = Module("<nowhere>", None, "", frozenset())
        env = Environment()
        self.evaluator = Evaluator(self, env, Frame("<module>", env, nowhere))
        self.executor = Executor(self, self.evaluator)

    def forget_all(self) -> None:
        super().forget_all()
        self._changed_attributes.clear()
        self._changing.clear()

    # Names.

    def environment(self, module: Module) -> Environment:
        """The names of a module: its own statements are executed once."""
        if module.environment is None:
            self.run_module(module, imported=True)
        assert module.environment is not None
        return module.environment

    def run_module(self, module: Module, *, imported: bool = False) -> dict[str, Site]:
        """Execute the statements of a module; returns its sites. ``imported``: not what stands under
        ``if __name__ == "__main__"``."""
        tree = module.parsed()
        module.rebound = rebound_names(module.source)
        env = Environment()
        module.environment, module.running = env, True
        fuel, self.fuel = self.fuel, FUEL
        try:
            with self._reading(Frame("<module>", env, module), env), self.collecting() as sites:
                for node in tree.body:
                    if imported and _is_main(node):
                        continue
                    try:
                        if not self.executor.statement(node):
                            break
                    except RecursionError:
                        self.given_up[module.label, node.lineno] = "nested too deeply to be followed"
                return sites
        finally:
            module.running = False
            self.fuel = fuel

    def member(self, module: Module, name: str, quiet: bool = False) -> Value:
        """A name of a module; ``quiet`` returns ``None`` for one that it does not have."""
        value = self._member(module, name, set())
        if value is None and not quiet:
            registered = self.registered(name) if module.words & {"__getattr__", "modules"} else None
            return registered or Opaque(f"{name} is not bound in {module.label}")
        return value  # type: ignore[return-value]

    def _member(self, module: Module, name: str, seen: set[int]) -> Value | None:
        if id(module) in seen:
            return None
        seen.add(id(module))
        env = self.environment(module)
        value = env.get(name)
        if isinstance(value, Imported):
            value = self._member(value.module, value.name, seen)
        if value is None:
            for star in module.stars:
                value = self._member(star, name, seen)
                if value is not None:
                    return value
        if value is None and module.is_package:
            below = self.project.find(name, module, level=1)
            return ModuleRef(below) if below is not None else None
        if name in module.rebound:
            return self.rebound(module, name, value)
        return value

    def registered(self, name: str) -> Value | None:
        """A function of that name anywhere in the project, where nothing binds the name: frameworks that hand out
        functions by their names. Only one that is the only one of its name, or that is known to reach a model."""
        if name in COMMON_METHODS:
            return None
        found = [each for each in self.named(name) if each.cls is None and each.around is None]
        return FunctionRef(found[0]) if len(found) == 1 else None

    def named(self, name: str) -> tuple[FunctionInfo, ...]:
        """The functions and methods of that name; none where there are more than ``CANDIDATE_LIMIT``."""
        if name not in self._definitions:
            self._definitions[name] = ()
            modules = [each for each in self.project.mentioning(name) if f"def {name}(" in each.source]
            if len(modules) <= CANDIDATE_LIMIT:
                for module in modules:
                    self.environment(module)
                found = [info for module in modules for info in module.functions_named(name)]
                known = tuple(found) if len(found) <= CANDIDATE_LIMIT else ()
                if any(module.running for module in modules):
                    del self._definitions[name]  # there may be more once they have run
                    return known
                self._definitions[name] = known
        return self._definitions[name]

    def rebound(self, module: Module, name: str, value: Value | None) -> Value:
        """A name that a function declares ``global``: what the module binds to it, or what functions do."""
        options = [each for each in (value, *self._globals[id(module), name]) if each is not None]
        useful = [each for each in options if isinstance(each, FunctionRef | External | Instance | ClassRef)]
        if useful:
            return join(useful, Span(module.label, 1, 1, 1, 1))
        return Opaque(f"{name} is rebound by a function", deps_of(value))

    def global_bound(self, module: Module, name: str, value: Value) -> None:
        """Note what a function binds to a name that it declares ``global``."""
        known = self._globals[id(module), name]
        if isinstance(value, FunctionRef | External | Instance | ClassRef) and value not in known and len(known) < 8:
            known.append(value)

    def file(self, path: str, module: Module) -> Path | None:
        """The prompt file of the project that a constant path names."""
        return prompt_files.resolve(path, module, self.project.roots)

    def annotation(self, node: ast.expr | None) -> Value | None:
        """The class of the project, or the client of an SDK, that an annotation names."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            try:
                node = ast.parse(node.value, mode="eval").body
            except SyntaxError:
                return None
        match node:
            case ast.Name() | ast.Attribute():
                value = self.evaluator.evaluate(node)
                if isinstance(value, ClassRef):
                    return value
                return value if isinstance(value, External) and sdk.is_model(value.path) else None
            case ast.BinOp(left=left, op=ast.BitOr(), right=right):
                return self.annotation(left) or self.annotation(right)
            case ast.Subscript(value=ast.Name(id="Optional" | "Annotated" | "Union"), slice=inner):
                parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
                return next((found for part in parts if (found := self.annotation(part)) is not None), None)
        return None

    def function_info(
        self, node: FunctionNode | ast.Lambda, name: str, cls: ClassInfo | None, around: FunctionInfo | None
    ) -> FunctionInfo:
        """What is known of a function; the same object each time its definition is read."""
        frame = self.evaluator.frame
        info = frame.module.functions.get(id(node))
        if info is None:
            info = FunctionInfo(node, frame.module, name, frame.base, cls, around)
            frame.module.functions[id(node)] = info
        if not frame.inline:
            info.outer = frame.base if frame.info is not None else self.environment(frame.module)
            if frame.info is not None and not isinstance(node, ast.Lambda) and info not in self.nested:
                self.nested.append(info)
        return info

    def anonymous(self, node: ast.Lambda) -> Value:
        """A lambda: its body is read where it stands, for the calls in it."""
        frame = self.evaluator.frame
        info = self.function_info(node, f"{frame.function}.<lambda>", None, frame.info)
        outer = self.evaluator.env
        with self.evaluator.inside() as env:
            for parameter in info.parameters:
                self._declare(info, parameter.arg)
                flow = info.flow(parameter.arg)
                value = Input(parameter.arg, "call", origin=flow, deps=frozenset({flow}))
                env.set(parameter.arg, self.graphs.state(info, parameter.arg, value))
            self.evaluator.evaluate(node.body)
        return FunctionRef(info, closure=outer)

    # Reading.

    @contextmanager
    def collecting(self) -> Iterator[dict[str, Site]]:
        """Sites that are found inside go to a dictionary of their own."""
        before, self.sites = self.sites, {}
        try:
            yield self.sites
        finally:
            self.sites = before

    def analyze(self, info: FunctionInfo, *, again: bool = False) -> dict[str, Site]:
        """Read a function on its own, and those nested in it; returns their sites. ``again``: more may be known now
        than when it was read before."""
        sites: dict[str, Site] = {}
        waiting = [info]
        while waiting:
            current = waiting.pop(0)
            reading = self._own.get(current)
            given = self.graphs.given(current, {each.arg: self.parameter(current, each) for each in current.parameters})
            # A nested function sees the names around it as they are in the end, not where it was called.
            if again or given or reading is None or not reading.whole or current.around is not None:
                self.fuel = FUEL
                reading = self.read_own(current, given)
            sites.update(reading.sites)
            waiting.extend(reading.nested)
            self.called |= reading.called
            self.unresolved |= reading.unresolved
        return sites

    def parameter(self, info: FunctionInfo, parameter: ast.arg) -> Value:
        """A parameter as the function itself sees it: a value from outside."""
        flow = info.flow(parameter.arg)
        self._declare(info, parameter.arg)
        annotated: Value | None = None
        if parameter.annotation is not None:
            if parameter.arg not in info.annotated:
                with self._reading(Frame(info.name, info.outer, info.module, info=info, inline=True), info.outer):
                    info.annotated[parameter.arg] = self.annotation(parameter.annotation)
            annotated = info.annotated[parameter.arg]
        if isinstance(annotated, External):
            return External(f"{annotated.path}()")
        value = Input(
            parameter.arg,
            "agent" if info.is_constructor else "item",
            origin=flow,
            deps=frozenset({flow}),
            cls=annotated.cls if isinstance(annotated, ClassRef) else None,
        )
        default = self.default_node(info, parameter)
        if default is None or isinstance(default, ast.Constant | ast.UnaryOp):
            return value
        constant = self.default(info, parameter)
        text = isinstance(constant, Text) and len(constant_text(constant) or "") >= DEFAULT_LENGTH
        return Either((value, constant)) if text or isinstance(constant, PromptTemplate) else value

    def _declare(self, info: FunctionInfo, name: str) -> None:
        self._flows[info.flow(name)] = (info, name)

    @staticmethod
    def _own_state(env: Environment, base: Environment) -> dict[str, Value]:
        return {
            name.removeprefix("self."): value
            for name, value in env.since(base.parent).items()
            if name.startswith("self.")
        }

    def initialize(self, cls: ClassInfo) -> None:
        """Find out what the constructors of a class and its ancestors leave on any object."""
        for each in cls.lineage():
            constructor = each.methods.get("__init__")
            if each.initial is not None or constructor is None or id(each) in self._initializing:
                continue
            self._initializing.add(id(each))
            values = {parameter.arg: self.parameter(constructor, parameter) for parameter in constructor.parameters[1:]}
            own = constructor.own
            instance = Instance(each)
            if own is not None:
                values[own] = instance
            fuel, self.fuel = self.fuel, FUEL
            effect = self._read_inline(FunctionRef(constructor, instance), Bound(values, {}), {}, force=True)
            self.fuel = fuel
            each.initial = effect.state

    def changing_attribute(self, cls: ClassInfo, name: str, otherwise: Opaque) -> Value:
        """An attribute that methods rebind: worth knowing only where it is a client, a function or an object."""
        options: list[Value] = []
        for each in cls.lineage():
            if each.initial and name in each.initial:
                options.append(each.initial[name])
            node = each.changing.get(name)
            method = each.methods.get(node.name) if node is not None else None
            if method is None or method in self._stack or (id(each), name) in self._changing:
                continue
            self._changing.add((id(each), name))
            values: dict[str, Value] = {
                parameter.arg: self.parameter(method, parameter) for parameter in method.parameters[1:]
            }
            own = method.own
            instance = Instance(each)
            if own is not None:
                values[own] = instance
            effect = self._read_inline(FunctionRef(method, instance), Bound(values, {}), {}, force=True)
            if name in effect.state:
                self._changed_attributes[id(each), name] = effect.state[name]
        options.extend(
            self._changed_attributes[id(each), name]
            for each in cls.lineage()
            if (id(each), name) in self._changed_attributes
        )
        place = Span(cls.module.label, cls.node.lineno, 1, cls.node.lineno, 1)
        useful: list[Value] = []
        for option in options:
            parts = option.options if isinstance(option, Either) else (option,)
            useful.extend(p for p in parts if isinstance(p, FunctionRef | External | Instance) and p not in useful)
        if useful:
            return join(useful, place)
        deps = deps_of(*options)
        lists = [option for option in options if isinstance(option, Series)]
        if lists:
            items = dict.fromkeys(item for each in lists for item in item_of(each.items))
            return Series((Repeated((*items, Opaque(otherwise.reason, deps))),))
        texts = [option for option in options if isinstance(option, Text)]
        if texts:
            return join([*dict.fromkeys(texts), text_of(Opaque(otherwise.reason, deps), place)], place)
        templates = [option for option in options if isinstance(option, PromptTemplate)]
        return templates[0] if templates else Opaque(otherwise.reason, deps)


def _is_main(node: ast.stmt) -> bool:
    match node:
        case ast.If(test=ast.Compare(left=ast.Name(id="__name__"))):
            return True
    return False
