"""The interpreter of a project: reads functions on their own and inline, and follows names across files.

It owns the state that the executor of statements and the evaluator of expressions share: the names and the frame of the
function that is being read, the sites found so far, and what is known of the project's functions.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from charter_compiler.diagnostics.span import Span
from charter_compiler.parser import prompt_files, sdk
from charter_compiler.parser.calls import (
    DEPTH_LIMIT,
    FUEL,
    NESTING_LIMIT,
    Bound,
    Instantiation,
    bind,
    carried_prompts,
    interesting,
    is_content,
    seen_from_outside,
)
from charter_compiler.parser.definitions import MUTATORS, ClassInfo, FunctionInfo, FunctionNode, bind_method
from charter_compiler.parser.expressions import Evaluator
from charter_compiler.parser.modules import Module, Project
from charter_compiler.parser.scope import Environment, Frame, closure, rebound_names
from charter_compiler.parser.sites import Site, root_site, signature_of, wrapper_site
from charter_compiler.parser.state_graph import StateGraphs
from charter_compiler.parser.statements import Executor
from charter_compiler.parser.strings import Arguments, constant_text
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
    Plain,
    PromptTemplate,
    Record,
    Repeated,
    Result,
    Series,
    Text,
    Value,
    bounded,
    deps_of,
    item_of,
    join,
    results_of,
    text_of,
)

DEFAULT_LENGTH = 20
"""Characters from which the default of a parameter is taken for a text that is worth following, not for a name."""

CANDIDATE_LIMIT = 12
"""Functions of one name that a call may mean, where the object is not known; more are too many to guess from."""

COMMON_METHODS = frozenset(name for kind in (str, list, dict, set, bytes) for name in dir(kind)) | {
    "read", "write", "close", "open", "flush", "commit", "execute", "json", "text", "raise_for_status",
}  # fmt: skip
"""Methods of what is not the project's: such a name alone says nothing."""

Owner = FunctionInfo | Module
"""What sites belong to: a function with all that is nested in it, or what a module itself runs."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What a call does: the value that it returns, what ``self`` holds afterwards, and the lists and dictionaries among
    its arguments that it changed."""

    value: Value
    state: dict[str, Value] = field(default_factory=dict)
    changed: dict[str, Value] = field(default_factory=dict)


class _Reading:
    """The evaluator reads in a frame and its names, inside ``with``. A class, since this happens for every call."""

    __slots__ = ("_before", "_evaluator", "_now")

    def __init__(self, evaluator: Evaluator, frame: Frame, env: Environment) -> None:
        self._evaluator = evaluator
        self._now = env, frame

    def __enter__(self) -> None:
        self._before = self._evaluator.env, self._evaluator.frame
        self._evaluator.env, self._evaluator.frame = self._now

    def __exit__(self, *_: object) -> None:
        self._evaluator.env, self._evaluator.frame = self._before


class Interpreter:
    """Reads functions of a project. ``changed`` is called with each function of which more is known than before."""

    def __init__(self, project: Project, changed: Callable[[FunctionInfo], None]) -> None:
        self.project = project
        self.changed = changed
        self.fuel = FUEL
        self.awaiting: ast.expr | None = None
        self.carrying: dict[str, list[FunctionInfo]] = defaultdict(list)
        self._flows: dict[str, tuple[FunctionInfo, str]] = {}
        self._stack: list[FunctionInfo] = []
        self._nested: list[FunctionInfo] = []
        self._memo: dict[object, Effect] = {}
        self._users: dict[FunctionInfo, list[object]] = defaultdict(list)
        self._inside: set[FunctionInfo] = set()
        # Statements that may still be read inline, in proportion to the project, so that the time is as well.
        self.budget = 0
        # What names hold at a later turn of a loop is left out while it is found out which functions carry a prompt.
        self.rough = True
        self._cuts = 0
        self._depth = 0
        self.discarded: ast.expr | None = None
        self.unread: ast.expr | None = None
        self._summarizing: set[object] = set()
        self._globals: dict[tuple[int, str], list[Value]] = defaultdict(list)
        self._definitions: dict[str, tuple[FunctionInfo, ...]] = {}
        self._initializing: set[int] = set()
        self._changing: set[tuple[int, str]] = set()
        self._changed_attributes: dict[tuple[int, str], Value] = {}
        self.sites: dict[str, Site] = {}
        self.graphs = StateGraphs(self)
        # What calls give for the parameters that carry a prompt, and which results calls of wrappers return.
        self.arriving: dict[str, frozenset[str]] = {}
        self.returning: dict[str, frozenset[str]] = {}
        nowhere = Module("<nowhere>", None, "", frozenset())
        env = Environment()
        self.evaluator = Evaluator(self, env, Frame("<module>", env, nowhere))
        self.executor = Executor(self, self.evaluator)

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
                self.executor.block([node for node in tree.body if not (imported and _is_main(node))])
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
                found = [
                    info
                    for module in modules
                    for info in module.functions.values()
                    if info.name.rpartition(".")[2] == name
                ]
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
            if frame.info is not None and not isinstance(node, ast.Lambda) and info not in self._nested:
                self._nested.append(info)
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

    def _reading(self, frame: Frame, env: Environment) -> _Reading:
        return _Reading(self.evaluator, frame, env)

    @contextmanager
    def collecting(self) -> Iterator[dict[str, Site]]:
        """Sites that are found inside go to a dictionary of their own."""
        before, self.sites = self.sites, {}
        try:
            yield self.sites
        finally:
            self.sites = before

    @contextmanager
    def _inside_of(self, info: FunctionInfo) -> Iterator[None]:
        self._stack.append(info)
        self._depth += 1
        try:
            yield
        finally:
            self._stack.pop()
            self._depth -= 1

    def analyze(self, info: FunctionInfo) -> dict[str, Site]:
        """Read a function on its own, and those nested in it; returns their sites."""
        self._nested = []
        sites: dict[str, Site] = {}
        waiting = [info]
        while waiting:
            current = waiting.pop(0)
            current.analyzed = True
            self.fuel = FUEL
            with self.collecting() as found:
                self._analyze(current)
            sites.update(found)
            waiting.extend(self._nested)
            self._nested = []
        return sites

    def _analyze(self, info: FunctionInfo) -> None:
        outer = info.outer if info.around is None else closure(info.outer, info.around.node)
        base = Environment(outer)
        own = info.own
        frame = Frame(info.name, base, info.module, info=info, own=own, cls=info.cls)
        with self._reading(frame, base), self._inside_of(info):
            names: list[str] = []
            for parameter in info.parameters:
                names.append(parameter.arg)
                base.set(parameter.arg, self.graphs.state(info, parameter.arg, self.parameter(info, parameter)))
            if info.cls is not None:
                if own is not None:
                    base.set(own, Instance(info.cls))
                elif names and info.decorated("classmethod"):
                    base.set(names[0], ClassRef(info.cls))
            frame.parameters = frozenset(names)
            frame.fields.update(zip(names, names, strict=True))
            assert not isinstance(info.node, ast.Lambda)
            self.executor.block(info.node.body)
            if info.is_constructor and info.cls is not None and info.cls.initial is None:
                info.cls.initial = self._own_state(self.evaluator.env, base)

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
        default = self._default_node(info, parameter)
        if default is None or isinstance(default, ast.Constant | ast.UnaryOp):
            return value
        constant = self._default(info, parameter)
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

    # Calls.

    def _mark(self) -> None:
        """A model is called in each of the functions that are being read."""
        for info in self._stack:
            info.reaches = True

    def record(self, site: Site) -> None:
        """Note a site, and which parameters flow into its prompt."""
        self._mark()
        if not self.evaluator.frame.inline:
            self.sites[site.key] = site
        for flow, role in site.flows.items():
            owner = self._flows.get(flow)
            if owner is None:
                continue
            info, name = owner
            if not is_content(info, name):
                continue
            before = info.prompts.get(name)
            if before is None or (before != role and before != "unknown"):
                info.prompts[name] = role if before is None else "unknown"  # type: ignore[assignment]
                if info not in self.carrying[info.name.rpartition(".")[2]]:
                    self.carrying[info.name.rpartition(".")[2]].append(info)
                self.forget(info)
                self.changed(info)

    def project_or_model_call(
        self, node: ast.Call, callee: Value, receiver: Value | None, arguments: Arguments, span: Span
    ) -> Value | None:
        """The value of a call of a model or of the project's own; ``None`` for any other call."""
        awaited, self.awaiting = self.awaiting is node, None
        wanted, self.discarded = self.discarded is not node, None
        if isinstance(callee, External) and callee.path == "builtins.super":
            return None
        callee = self._known(callee)
        refs = list(self._functions(callee, node, arguments))
        signature = signature_of(callee, arguments) if not (refs and isinstance(callee, FunctionRef)) else None
        if (
            signature is not None
            and signature.api == "injected"
            and (refs or self._named_candidates(callee, receiver, node))
        ):
            signature = None
        if signature is not None:
            place = self._place(awaited)
            site = root_site(node, callee, signature, arguments, span, used=wanted and node is not self.unread, **place)
            self.record(site)
            self.graphs.invoked(callee, arguments)
            return Result(site.key, texts=signature.texts)
        if not refs and not isinstance(callee, External | ClassRef):
            refs = self._named_candidates(callee, receiver, node)
        if refs:
            return self._call_functions(node, refs, arguments, span, awaited, wanted)
        if isinstance(callee, ClassRef):
            return self.construct(callee.cls, arguments, span)
        if isinstance(callee, Either) and any(isinstance(option, ClassRef) for option in callee.options):
            made = [
                self.construct(option.cls, arguments, span) for option in callee.options if isinstance(option, ClassRef)
            ]
            return join(made, span)
        return None

    def _place(self, awaited: bool) -> dict[str, object]:
        frame = self.evaluator.frame
        return {
            "function": frame.function,
            "parameters": frame.parameters,
            "loops": tuple(frame.loops),
            "arms": tuple(frame.arms),
            "awaited": awaited,
            "again": self.graphs.runs_again(frame.info),
        }

    def _known(self, callee: Value) -> Value:
        """A parameter that is called: what calls are seen to give for it."""
        if not isinstance(callee, Input) or callee.origin not in self._flows:
            return callee
        info, name = self._flows[callee.origin]
        given = info.given.get(name, [])
        if not given:
            return callee
        steps = callee.path.split(".")[1:] if callee.path.startswith(".") else []
        if callee.path and not steps:
            return callee
        span = Span(info.module.label, info.node.lineno, 1, info.node.lineno, 1)
        options: list[Value] = []
        for value in given:
            for step in steps:
                value = self.evaluator.attribute_of(value, step, span)
            if isinstance(value, FunctionRef | External | Instance | Either):
                options.append(value)
        # What other calls give is not seen: the parameter itself stays one of the options.
        return join([*options, callee], span) if options else callee

    def _functions(self, callee: Value, node: ast.Call, arguments: Arguments) -> Iterator[FunctionRef]:
        """The functions of the project that a value is, called as it is."""
        match callee:
            case FunctionRef():
                yield callee
            case Instance(cls=cls):
                for name in ("__call__", "forward", "invoke"):
                    methods = cls.implementations(name)
                    if methods and (name == "__call__" or any(_is_framework(path) for path in cls.ancestors())):
                        yield from (bind_method(method, callee) for method in methods)
                        return
            case Input(cls=ClassInfo() as cls, path=""):
                yield from self._functions(Instance(cls), node, arguments)
            case Either(options=options):
                for option in options:
                    yield from self._functions(option, node, arguments)

    def functions_of(self, value: Value) -> list[FunctionRef]:
        """The functions of the project that a value is, handed to a library that calls it."""
        return list(self._functions(value, ast.Call(ast.Name("f"), [], []), Arguments()))

    def refuel(self) -> None:
        """Allow as many statements to be read inline as for one function."""
        self.fuel = FUEL

    def _named_candidates(self, callee: Value, receiver: Value | None, node: ast.Call) -> list[FunctionRef]:
        """Methods of the called name, where nothing is known of the object: whatever the project has of that name."""
        if receiver is None or not isinstance(node.func, ast.Attribute):
            return []
        name = node.func.attr
        if name in COMMON_METHODS or name.startswith("__"):
            return []
        if not isinstance(callee, Input | Opaque | Result | Either) or not isinstance(receiver, Input | Opaque):
            return []
        given = len(node.args) + len(node.keywords)
        found = self.carrying.get(name) or self.named(name)
        methods = [each for each in found if each.cls is not None and _takes(each, given, node)]
        if not methods or len(methods) > CANDIDATE_LIMIT:
            return []
        return [bind_method(each, Instance(each.cls)) for each in methods if each.cls is not None]

    def _call_functions(
        self,
        node: ast.Call,
        refs: list[FunctionRef],
        arguments: Arguments,
        span: Span,
        awaited: bool,
        wanted: bool,
    ) -> Value:
        values: list[Value] = []
        prompts: list[tuple[str, Value, Span]] = []
        bounds = [(ref, bind(ref, arguments, span)) for ref in refs]
        for ref, bound in bounds:
            self._note_given(ref.function, bound)
            found = carried_prompts(ref.function, bound)
            if len(found) > len(prompts):
                prompts = found
        result: Result | None = None
        if prompts and not all(ref.function.is_constructor for ref in refs):
            site = wrapper_site(node, prompts, arguments, span, **self._place(awaited))
            self.record(site)
            result = Result(site.key)
        known = results_of(*arguments.values(), *(ref.bound for ref in refs))
        for ref, bound in bounds:
            value = self.inline(ref, bound, carries=result is not None, wanted=wanted)
            if result is not None:
                inner = results_of(value) - known
                self.returning[result.call] = self.returning.get(result.call, frozenset()) | inner
            values.append(seen_from_outside(value, result, known) if result is not None else value)
        if result is not None and any(value == Plain(None) for value in values) and len(values) > 1:
            values = [value for value in values if value != Plain(None)] or values
        return join(values, span)

    def invoke_plain(self, ref: FunctionRef, arguments: Arguments, span: Span) -> Value:
        """The value of a call that the source does not write as one: a property."""
        bound = bind(ref, arguments, span)
        return self.inline(ref, bound)

    def handed_over(self, callee: Value, arguments: Arguments, span: Span) -> Value:
        """The value of a call that a library makes with a function it was handed: no call site of its own."""
        refs = list(self._functions(callee, ast.Call(ast.Name("f"), [], []), arguments))
        values: list[Value] = []
        for ref in refs:
            bound = bind(ref, arguments, span)
            self._note_given(ref.function, bound)
            for role, value, _ in carried_prompts(ref.function, bound):
                self._note_flows(value, role)
            value = self.inline(ref, bound)
            values.append(value)
        deps = deps_of(*arguments.values())
        return join(values, span) if values else Opaque("what a function that was handed over returns", deps)

    def _note_flows(self, value: Value, role: str) -> None:
        for flow in deps_of(value):
            owner = self._flows.get(flow)
            if owner is not None and owner[1] not in owner[0].prompts and is_content(*owner):
                owner[0].prompts[owner[1]] = role  # type: ignore[assignment]
                self.carrying[owner[0].name.rpartition(".")[2]].append(owner[0])
                self.forget(owner[0])
                self.changed(owner[0])

    def _note_given(self, info: FunctionInfo, bound: Bound) -> None:
        """Note which functions, objects and clients a call gives for the parameters."""
        for name, value in bound.values.items():
            if name == info.own:
                continue
            if name in info.prompts and (deps := deps_of(value)):
                flow = info.flow(name)
                self.arriving[flow] = self.arriving.get(flow, frozenset()) | deps
            known = info.given.setdefault(name, [])
            for each in interesting(value):
                if each not in known and len(known) < CANDIDATE_LIMIT:
                    known.append(each)
                    self.forget(info)
                    self.changed(info)

    def construct(self, cls: ClassInfo, arguments: Arguments, span: Span) -> Value:
        """An object of the project's class, made with these arguments."""
        if any(path.rpartition(".")[2].endswith(("Exception", "Error", "Enum")) for path in cls.ancestors()):
            return Opaque(f"an object of {cls.name}", deps_of(*arguments.values()))
        constructor = cls.method("__init__")
        if constructor is None:
            return self._generated(cls, arguments)
        instance = Instance(cls, ())
        ref = FunctionRef(constructor, instance)
        bound = bind(ref, arguments, span)
        self._note_given(constructor, bound)
        state = self._made(constructor, bound)
        if state is None:
            state = self._effect(ref, bound, {}).state
        return Instance(cls, tuple(sorted(state.items()))) if state else Instance(cls)

    def _made(self, constructor: FunctionInfo, bound: Bound) -> dict[str, Value] | None:
        """What a constructor leaves on the object, from what it does in general; ``None`` where that is not enough."""
        cls = constructor.cls
        if cls is None or any(isinstance(bound.values.get(name), Series | Record) for name in constructor.mutates):
            return None
        self.initialize(cls)
        if cls.initial is None:
            return {}
        general = Instantiation(constructor, bound)
        state = {name: general.value(value) for name, value in cls.initial.items()}
        return None if general.lost else state

    def _generated(self, cls: ClassInfo, arguments: Arguments) -> Value:
        """An object of a class whose constructor is made from its annotated names."""
        fields: list[str] = []
        for each in reversed(list(cls.lineage())):
            fields.extend(
                statement.target.id
                for statement in each.node.body
                if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)
                if statement.target.id not in fields
            )
        values: dict[str, Value] = {}
        for name in fields:
            constant = cls.constant(name)
            if constant is not None:
                values[name] = _field_default(constant)
        values.update(zip(fields, arguments.positional, strict=False))
        values.update(arguments.keywords)
        values = {name: bounded(value) for name, value in values.items()}
        if not values:
            return Instance(cls, ()) if not cls.foreign else Instance(cls)
        return Instance(cls, tuple(sorted(values.items())))

    def entered(self, value: Value) -> Value:
        """What ``with`` binds: the object itself, or what its ``__enter__`` or a context manager function gives."""
        match value:
            case Series(items=(Repeated(items=(inner, *_)),)) if not isinstance(inner, Repeated):
                return inner
        return value

    def inline(self, ref: FunctionRef, bound: Bound, *, carries: bool = False, wanted: bool = True) -> Value:
        """The value that a function returns for these arguments; unknown where it is too deep to be read. What the call
        does to its arguments and to ``self`` is done to the names of the caller.

        Reading a function again for each call costs most of the time, so it is done where it can tell more than what
        the function returns in general: not for what ``carries`` a prompt to a model and returns what that said, nor
        where the value is not ``wanted``.
        """
        frame, env = self.evaluator.frame, self.evaluator.env
        info = ref.function
        self._inside.add(info)
        if info.reaches:
            self._mark()
        own = info.own
        same = own is not None and frame.own is not None and ref.bound is not None and env.get(frame.own) is ref.bound
        state: dict[str, Value] = {}
        if same:
            state = {
                name[5:]: value
                for name, value in env.since(frame.base.parent).items()
                if name.startswith("self.") and not isinstance(value, FunctionRef)
            }
        elif isinstance(ref.bound, Instance) and ref.bound.attributes is not None:
            state = dict(ref.bound.attributes)
        effect = self._general(ref, bound, state, same=same, carries=carries, wanted=wanted)
        if effect is None:
            effect = self._effect(ref, bound, state)
        if same:
            for name, value in effect.state.items():
                if state.get(name) is not value:
                    env.set(f"self.{name}", value)
        elif isinstance(ref.bound, Instance) and ref.bound.attributes is not None:
            attributes = tuple(sorted(effect.state.items()))
            if attributes != ref.bound.attributes:
                env.replace(ref.bound, Instance(ref.bound.cls, attributes), frame.base)
        for name, value in effect.changed.items():
            env.replace(bound.values[name], value, frame.base)
        return effect.value

    def _effect(self, ref: FunctionRef, bound: Bound, state: dict[str, Value]) -> Effect:
        """What a call does, remembered for the next one with the same values."""
        info = ref.function
        values = tuple(sorted(bound.values.items()))
        key = (info, id(ref.closure), ref.bound, values, tuple(sorted(state.items())))
        known = self._memo.get(key)
        if known is not None:
            return known
        before, self._inside = self._inside, {info}
        cuts = self._cuts
        effect = self._read_inline(ref, bound, state)
        if cuts == self._cuts:
            self._remember(key, effect)
        self._inside = before
        return effect

    def _remember(self, key: object, effect: Effect) -> None:
        self._memo[key] = effect
        for each in self._inside:
            self._users[each].append(key)

    def _general(
        self, ref: FunctionRef, bound: Bound, state: dict[str, Value], *, same: bool, carries: bool, wanted: bool
    ) -> Effect | None:
        """What a call does, from what the function does in general; ``None`` where reading it again tells more."""
        info = ref.function
        deep = len(self._stack) > DEPTH_LIMIT or self.fuel <= 0 or self.budget <= 0
        if not deep and any(isinstance(bound.values.get(name), Series | Record) for name in info.mutates):
            return None
        if not deep and same and (info.reaches or self.touches(info)):
            return None
        summary = self._summary(info)
        if summary is None:
            return None
        value = summary.value
        if deep:
            return Effect(Instantiation(info, bound).value(value), state)
        changes = state and info.cls is not None and any(each.changing for each in info.cls.lineage())
        if not wanted and not changes:
            return Effect(Opaque("a result that nothing reads"), state)
        if changes and self.touches(info):
            return None
        general = Instantiation(info, bound)
        value = general.value(value)
        return Effect(value, state) if carries or not general.lost else None

    def touches(self, info: FunctionInfo) -> bool:
        """Whether a method changes attributes of its object, itself or through others that it calls on it."""
        if info.touches is None:
            info.touches = False  # for those that call themselves
            own = info.own
            if own is None or info.cls is None:
                return False
            info.touches = any(
                (
                    isinstance(node, ast.Attribute | ast.Subscript)
                    and isinstance(node.ctx, ast.Store)
                    and _is_of(node, own)
                )
                or (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Attribute)
                    and (
                        (node.func.attr in MUTATORS and _is_of(node.func, own, below=True))
                        or (
                            isinstance(node.func.value, ast.Name)
                            and node.func.value.id == own
                            and (method := info.cls.method(node.func.attr)) is not None
                            and self.touches(method)
                        )
                    )
                )
                for node in ast.walk(info.node)
            )
        return info.touches

    def _summary(self, info: FunctionInfo) -> Effect | None:
        """What a function does in general, its parameters being values from outside; ``None`` while that is read."""
        key = ("summary", info)
        known = self._memo.get(key)
        if known is not None:
            return known
        if info in self._stack or key in self._summarizing or self._depth > NESTING_LIMIT:
            return None
        self._summarizing.add(key)
        before, self._inside = self._inside, {info}
        stack, self._stack = self._stack, []
        fuel, self.fuel = self.fuel, FUEL
        own = info.own
        instance = Instance(info.cls) if info.cls is not None else None
        values = {each.arg: self.parameter(info, each) for each in info.parameters}
        if own is not None and instance is not None:
            values[own] = instance
        elif instance is not None and info.decorated("classmethod") and info.cls is not None:
            values[info.parameters[0].arg] = ClassRef(info.cls)
        try:
            effect = self._read_inline(FunctionRef(info, instance), Bound(values, {}), {})
        finally:
            self.fuel, self._stack = fuel, stack
            self._summarizing.discard(key)
            if info.reaches:
                self._mark()
        self._remember(key, effect)
        self._inside = before
        return effect

    def forget_all(self) -> None:
        """Forget what calls do: more is known of the functions now than when most of it was found out."""
        self._memo.clear()
        self._users.clear()
        self._changed_attributes.clear()
        self._changing.clear()

    def forget(self, info: FunctionInfo) -> None:
        """Forget what calls do in which a function is involved of which more is known now."""
        for key in self._users.pop(info, ()):
            self._memo.pop(key, None)

    def _read_inline(self, ref: FunctionRef, bound: Bound, state: dict[str, Value], *, force: bool = False) -> Effect:
        info = ref.function
        too_deep = len(self._stack) > DEPTH_LIMIT or self._depth > NESTING_LIMIT
        if (too_deep or self.fuel <= 0 or info in self._stack) and not force:
            self._cuts += 1
            return Effect(self._not_read(info, bound), state)
        base = Environment(ref.closure or info.outer)
        frame = Frame(info.name, base, info.module, info=info, own=info.own, cls=info.cls, inline=True)
        base.names.update((f"self.{name}", value) for name, value in state.items())
        with self._reading(frame, base), self._inside_of(info):
            for parameter in info.parameters:
                base.set(parameter.arg, bound.values.get(parameter.arg) or self._default(info, parameter))
            if info.cls is not None and info.decorated("classmethod"):
                first = next(iter(info.parameters), None)
                if first is not None and ref.bound is not None:
                    base.set(first.arg, ref.bound)
            frame.parameters = frozenset(parameter.arg for parameter in info.parameters)
            frame.fields.update((name, name) for name in frame.parameters)
            body = info.node.body
            if isinstance(body, list):
                if self.executor.block(body):
                    frame.ends.append(self.evaluator.env)
                    if not frame.yields:
                        frame.returns.append(Plain(None))
            else:
                frame.returns.append(self.evaluator.evaluate(body))
                frame.ends.append(self.evaluator.env)
        span = Span(info.module.label, info.node.lineno, 1, info.node.end_lineno or info.node.lineno, 1)
        value: Value
        if frame.yields:
            value = Series((Repeated(tuple(dict.fromkeys(frame.yields))),))
        else:
            returned = list(dict.fromkeys(frame.returns))
            value = join(returned, span) if returned else Plain(None)
        value = bounded(value)
        after = self._state_after(frame, base, span)
        return Effect(value, after, self._changed_arguments(frame, bound, span))

    def _not_read(self, info: FunctionInfo, bound: Bound) -> Value:
        reason = f"{info.name}() is not followed here: it calls itself, or the calls nest too deeply"
        return Opaque(reason, deps_of(*bound.values.values()))

    def _state_after(self, frame: Frame, base: Environment, span: Span) -> dict[str, Value]:
        """What ``self`` holds where the function ends."""
        names: dict[str, list[Value]] = {}
        for end in frame.ends:
            for name, value in end.since(base.parent).items():
                if name.startswith("self."):
                    names.setdefault(name, []).append(value)
        return {name[5:]: bounded(join(values, span)) for name, values in names.items()}

    @staticmethod
    def _changed_arguments(frame: Frame, bound: Bound, span: Span) -> dict[str, Value]:
        """Lists and dictionaries that the function was given and has changed in place."""
        changed: dict[str, Value] = {}
        for name, value in bound.values.items():
            if not isinstance(value, Series | Record) or not frame.ends or frame.info is None:
                continue
            after = [each for end in frame.ends if (each := end.get(name)) is not None]
            different = [each for each in after if each is not value]
            in_place = all(isinstance(each, Series | Record | Opaque) for each in different)
            if different and in_place and name not in frame.info.rebinds:
                changed[name] = join(after, span)
        return changed

    @staticmethod
    def _default_node(info: FunctionInfo, parameter: ast.arg) -> ast.expr | None:
        arguments = info.node.args
        positional = [*arguments.posonlyargs, *arguments.args]
        if parameter in positional:
            index = positional.index(parameter) - (len(positional) - len(arguments.defaults))
            return arguments.defaults[index] if index >= 0 else None
        if parameter in arguments.kwonlyargs:
            return arguments.kw_defaults[arguments.kwonlyargs.index(parameter)]
        return None

    def _default(self, info: FunctionInfo, parameter: ast.arg) -> Value:
        """The default of a parameter that a call does not give."""
        arguments = info.node.args
        if parameter is arguments.vararg:
            return Series(())
        if parameter is arguments.kwarg:
            return Record(())
        node = self._default_node(info, parameter)
        if node is None:
            return Input(parameter.arg, "item")
        with self._reading(Frame(info.name, info.outer, info.module, info=info, inline=True), info.outer):
            return self.evaluator.evaluate(node)


def _is_main(node: ast.stmt) -> bool:
    match node:
        case ast.If(test=ast.Compare(left=ast.Name(id="__name__"))):
            return True
    return False


def _is_of(node: ast.Attribute | ast.Subscript, own: str, below: bool = False) -> bool:
    """Whether an expression is an attribute of the object, or a part of one."""
    inner: ast.expr = node.value if below else node
    depth = 0
    while isinstance(inner, ast.Attribute | ast.Subscript):
        depth += isinstance(inner, ast.Attribute)
        inner = inner.value
    return depth > 0 and isinstance(inner, ast.Name) and inner.id == own


def _is_framework(path: str) -> bool:
    """Whether a base class calls ``forward`` or ``invoke`` for a plain call of the object."""
    return path.rpartition(".")[2] in ("Module", "Runnable", "RunnableSerializable", "Program")


def _takes(info: FunctionInfo, given: int, node: ast.Call) -> bool:
    """Whether a method can be called with so many arguments of these names."""
    arguments = info.node.args
    names = [each.arg for each in (*arguments.posonlyargs, *arguments.args)][
        0 if info.decorated("staticmethod") else 1 :
    ]
    if any(isinstance(each, ast.Starred) for each in node.args) or any(each.arg is None for each in node.keywords):
        return True
    if arguments.vararg is None and len(node.args) > len(names):
        return False
    known = {*names, *(each.arg for each in arguments.kwonlyargs)}
    return arguments.kwarg is not None or all(each.arg in known for each in node.keywords)


def _field_default(constant: Value) -> Value:
    """The default of a field: ``field(default=x)`` and ``Field(x)`` give ``x``."""
    if isinstance(constant, External):
        default = constant.argument("default", 0)
        if default is not None:
            return default
    return constant
