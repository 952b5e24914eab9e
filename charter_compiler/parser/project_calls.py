"""Calls as the source has them: of models, of the project's own functions and classes, and of what is handed to either.

A call of a model is a site. So is a call of a function of which an argument travels to one; which do is noted with each
site, and grows until nothing changes.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from charter_compiler.diagnostics.span import Span
from charter_compiler.parser.calls import (
    FUEL,
    Bound,
    Instantiation,
    bind,
    carried_prompts,
    interesting,
    seen_from_outside,
)
from charter_compiler.parser.definitions import ClassInfo, FunctionInfo, bind_method
from charter_compiler.parser.joins import join
from charter_compiler.parser.parameters import CANDIDATE_LIMIT, Parameters
from charter_compiler.parser.recognition import signature_of
from charter_compiler.parser.sites import Site, root_site, wrapper_site
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
    Repeated,
    Result,
    Series,
    Value,
    bounded,
    deps_of,
    results_of,
)

if TYPE_CHECKING:
    from charter_compiler.parser.state_graph import StateGraphs


COMMON_METHODS = frozenset(name for kind in (str, list, dict, set, bytes) for name in dir(kind)) | {
    "read", "write", "close", "open", "flush", "commit", "execute", "json", "text", "raise_for_status",
}  # fmt: skip
"""Methods of what is not the project's: such a name alone says nothing."""


class ProjectCalls(Parameters):
    """The part of the interpreter that calls go through. ``awaiting`` and ``discarded`` are the call that the
    expression or statement around it awaits or drops, ``assigning`` the assignment that is read."""

    def __init__(self, changed: Callable[[FunctionInfo], None]) -> None:
        super().__init__(changed)
        self.awaiting: ast.expr | None = None
        self.discarded: ast.expr | None = None
        self.assigning: ast.Assign | None = None
        self.sites: dict[str, Site] = {}
        # What the function that is being read calls: functions of the project, and names that stand for any.
        self.called: set[FunctionInfo] = set()
        self.unresolved: set[str] = set()
        # Which results calls of wrappers return.
        self.returning: dict[str, frozenset[str]] = {}

    if TYPE_CHECKING:
        graphs: StateGraphs

        def named(self, name: str) -> tuple[FunctionInfo, ...]:
            """The functions and methods of that name."""

        def initialize(self, cls: ClassInfo) -> None:
            """Find out what the constructors of a class leave on any object."""

    def record(self, site: Site) -> None:
        """Note a site, and which parameters flow into its prompt."""
        self.mark()
        if not self.evaluator.frame.inline:
            self.sites[site.key] = site
        for flow, role in site.flows.items():
            self._carry(flow, role)

    def project_or_model_call(
        self, node: ast.Call, callee: Value, receiver: Value | None, arguments: Arguments, span: Span
    ) -> Value | None:
        """The value of a call of a model or of the project's own; ``None`` for any other call."""
        awaited, wanted = self.awaiting is node, self.discarded is not node
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
            used = wanted and not self._is_unread(node)
            site = root_site(node, callee, signature, arguments, span, used=used, **self._place(awaited))
            self.record(site)
            self.graphs.invoked(callee, arguments)
            return Result(site.key, texts=signature.texts)
        if not refs and not isinstance(callee, External | ClassRef):
            refs = self._named_candidates(callee, receiver, node)
            if not refs and isinstance(node.func, ast.Attribute | ast.Name):
                self.unresolved.add(node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id)
        for value in arguments.values():
            self.called.update(ref.function for ref in interesting(value) if isinstance(ref, FunctionRef))
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

    def _is_unread(self, node: ast.Call) -> bool:
        """Whether the result is bound to names that the function never reads."""
        statement, info = self.assigning, self.evaluator.frame.info
        if statement is None or info is None:
            return False
        value = statement.value.value if isinstance(statement.value, ast.Await) else statement.value
        return value is node and all(
            isinstance(each, ast.Name) and each.id not in info.reads for each in statement.targets
        )

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
        info.asked.add(name)
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
        if not isinstance(callee, Input | Opaque | Result | Either) or not _is_anything(receiver):
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
                for dep in deps_of(value):
                    self._carry(dep, role)
            value = self.inline(ref, bound)
            values.append(value)
        deps = deps_of(*arguments.values())
        return join(values, span) if values else Opaque("what a function that was handed over returns", deps)

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
        return None if general.lost and not self.rough else state

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


def _is_anything(value: Value) -> bool:
    """Whether nothing is known of an object that would say which class it has."""
    if isinstance(value, Either):
        return all(_is_anything(option) or option == Plain(None) for option in value.options)
    return isinstance(value, Input | Opaque)


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
