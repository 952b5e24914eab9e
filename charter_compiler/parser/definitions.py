"""The functions and classes of a project, and what is found out about them while it is read."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from charter_compiler.ir.nodes import Role
from charter_compiler.parser.sdk.injected import is_client_name
from charter_compiler.parser.syntax import nodes_of
from charter_compiler.parser.values import FLOW, ClassRef, External, FunctionRef, Input, Opaque, Value

if TYPE_CHECKING:
    from charter_compiler.parser.modules import Module
    from charter_compiler.parser.own_object import OwnUse
    from charter_compiler.parser.scope import Environment

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef

MUTATORS = frozenset(
    {
        "append", "extend", "insert", "pop", "remove", "clear", "update", "setdefault", "sort", "reverse", "add",
        "discard", "popleft", "appendleft",
    }
)  # fmt: skip
"""Methods of lists, dictionaries and sets that change them."""

_GENERATED_INIT = ("dataclass", "define", "frozen", "BaseModel", "NamedTuple", "TypedDict")
"""Decorators and bases that make a constructor from the annotated names of the class body."""


@dataclass(eq=False)
class FunctionInfo:
    """A function, method or lambda.

    ``outer`` are the names around it, ``around`` the function it stands in. ``prompts`` maps the parameters whose
    content travels to a model to the role of the message they reach it in; it grows until nothing changes any more.
    ``given`` maps a parameter to the functions, objects and clients that calls give for it, ``asked`` are those that
    are called, or of which a method is. ``reaches``: a model is called in it, or in what it calls; ``own_use``: what
    it does with its object (``own_object``), ``own_direct`` its own statements alone.
    """

    node: FunctionNode | ast.Lambda
    module: Module = field(repr=False)
    name: str
    outer: Environment = field(repr=False)
    cls: ClassInfo | None = field(default=None, repr=False)
    around: FunctionInfo | None = field(default=None, repr=False)
    prompts: dict[str, Role] = field(default_factory=dict)
    given: dict[str, list[Value]] = field(default_factory=dict, repr=False)
    asked: set[str] = field(default_factory=set, repr=False)
    reaches: bool = False
    own_use: OwnUse | None = None
    own_direct: OwnUse | None = None
    annotated: dict[str, Value | None] = field(default_factory=dict, repr=False)

    @property
    def bare(self) -> str:
        """The name that calls use; a constructor is called by the name of its class."""
        name = self.name.rpartition(".")[2]
        if self.cls is not None and name in ("__init__", "__new__", "__call__", "forward", "__post_init__"):
            return self.cls.name.rpartition(".")[2]
        return name

    @property
    def is_constructor(self) -> bool:
        return self.cls is not None and self.name.endswith(".__init__")

    def flow(self, parameter: str) -> str:
        """What stands for the content of a parameter among the ``deps`` of a value."""
        return f"{self._flow}{parameter}"

    @cached_property
    def _flow(self) -> str:
        return f"{FLOW}{self.module.label}:{self.name}:{self.node.lineno}:"

    def decorated(self, *names: str) -> bool:
        """Whether one of the decorators has one of these last names."""
        if isinstance(self.node, ast.Lambda):
            return False
        return any(_last_name(each) in names for each in self.node.decorator_list)

    @cached_property
    def own(self) -> str | None:
        """The parameter that holds the object, of a method; ``None`` for a function, a static or a class method."""
        if self.cls is None or self.decorated("staticmethod", "classmethod"):
            return None
        return self.positional[0] if self.positional else None

    @cached_property
    def positional(self) -> tuple[str, ...]:
        """The parameters that arguments without a name fill."""
        return tuple(each.arg for each in (*self.node.args.posonlyargs, *self.node.args.args))

    @cached_property
    def named(self) -> frozenset[str]:
        """The parameters that can be given by name."""
        return frozenset((*self.positional, *(each.arg for each in self.node.args.kwonlyargs)))

    @cached_property
    def flows(self) -> dict[str, str]:
        """The parameters by what stands for their content among the ``deps`` of a value."""
        return {self.flow(each.arg): each.arg for each in self.parameters}

    @cached_property
    def parts(self) -> list[ast.AST]:
        """Every node of its syntax."""
        return nodes_of(self.node)

    @cached_property
    def rebinds(self) -> frozenset[str]:
        """The names that its own statements bind."""
        return frozenset(
            node.id for node in self.parts if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        )

    @cached_property
    def reads(self) -> frozenset[str]:
        """The names that are read anywhere in it, or declared to be of a scope outside."""
        names = {node.id for node in self.parts if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
        for node in self.parts:
            if isinstance(node, ast.Global | ast.Nonlocal):
                names.update(node.names)
        return frozenset(names)

    @cached_property
    def opens(self) -> bool:
        """Whether it opens files: then the constant that it is given may be the name of a prompt file."""
        return any(
            isinstance(node, ast.Name | ast.Attribute)
            and (node.id if isinstance(node, ast.Name) else node.attr) in ("open", "read_text")
            for node in self.parts
        )

    @cached_property
    def mutates(self) -> frozenset[str]:
        """The names whose list or dictionary its own statements change in place."""
        return frozenset(name for node in self.parts for name in mutated_name(node))

    @cached_property
    def parameters(self) -> tuple[ast.arg, ...]:
        """All parameters in their order, ``*args`` and ``**kwargs`` included."""
        arguments = self.node.args
        variable = (arguments.vararg,) if arguments.vararg is not None else ()
        keywords = (arguments.kwarg,) if arguments.kwarg is not None else ()
        return (*arguments.posonlyargs, *arguments.args, *variable, *arguments.kwonlyargs, *keywords)


def mutated_name(node: ast.AST) -> tuple[str, ...]:
    """The name whose list or dictionary a node changes in place, if it does."""
    match node:
        case ast.Subscript(value=ast.Name(id=name), ctx=ast.Store() | ast.Del()):
            return (name,)
        case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=verb)) if verb in MUTATORS:
            return (name,)
        case ast.AugAssign(target=ast.Name(id=name)):
            return (name,)
    return ()


def _last_name(node: ast.expr) -> str:
    while isinstance(node, ast.Call):
        node = node.func
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


@dataclass(eq=False)
class ClassInfo:
    """One class statement.

    ``bases`` are those of the project, ``foreign`` the paths of the others. ``constants`` are the values bound in its
    body, ``initial`` those that ``__init__`` leaves on ``self``. ``annotations`` are the annotated names of the body.
    """

    name: str
    node: ast.ClassDef = field(repr=False)
    module: Module = field(repr=False)
    bases: tuple[ClassInfo, ...] = ()
    foreign: tuple[str, ...] = ()
    declared: frozenset[str] = frozenset()
    generated: bool = False
    constants: dict[str, Value] = field(default_factory=dict, repr=False)
    annotations: dict[str, Value] = field(default_factory=dict, repr=False)
    methods: dict[str, FunctionInfo] = field(default_factory=dict, repr=False)
    initial: dict[str, Value] | None = field(default=None, repr=False)
    overridden: set[str] = field(default_factory=set, repr=False)
    subclasses: list[ClassInfo] = field(default_factory=list, repr=False)
    _lineage: tuple[ClassInfo, ...] | None = field(default=None, repr=False)

    def lineage(self) -> tuple[ClassInfo, ...]:
        """The class and its ancestors in the project, nearest first, each once."""
        if self._lineage is None:
            found: dict[ClassInfo, None] = {}
            waiting = [self]
            while waiting:
                cls = waiting.pop(0)
                if cls not in found:
                    found[cls] = None
                    waiting = [*cls.bases, *waiting]
            self._lineage = tuple(found)
        return self._lineage

    @cached_property
    def changing(self) -> dict[str, FunctionNode]:
        """The attributes that methods other than the constructor rebind or mutate, with the first that does."""
        found: dict[str, FunctionNode] = {}
        for method in _methods(self.node):
            own_name = self_name(method)
            if own_name is not None and method.name != "__init__":
                for attribute in _changes(method, own_name):
                    found.setdefault(attribute, method)
        return found

    def ancestors(self) -> Iterator[str]:
        """Paths of the classes of other packages that it descends from."""
        for cls in self.lineage():
            yield from cls.foreign

    def method(self, name: str) -> FunctionInfo | None:
        """The method as found along the lineage."""
        return next((cls.methods[name] for cls in self.lineage() if name in cls.methods), None)

    def implementations(self, name: str) -> list[FunctionInfo]:
        """The method and those of subclasses that replace it: any may run where only the object's class is known."""
        found = [inherited] if (inherited := self.method(name)) is not None else []
        waiting, seen = list(self.subclasses), {id(self)}
        while waiting:
            cls = waiting.pop()
            if id(cls) not in seen:
                seen.add(id(cls))
                waiting.extend(cls.subclasses)
                if name in cls.methods and cls.methods[name] not in found:
                    found.append(cls.methods[name])
        return found

    def constant(self, name: str) -> Value | None:
        """A name bound in the body of the class or of an ancestor."""
        return next((cls.constants[name] for cls in self.lineage() if name in cls.constants), None)

    def annotation(self, name: str) -> Value | None:
        """What an annotation says the attribute is: a class of the project, or a client of an SDK."""
        return next((cls.annotations[name] for cls in self.lineage() if name in cls.annotations), None)

    def attribute(self, name: str) -> Value:
        """The attribute as read from any object of the class."""
        for cls in self.lineage():
            if name in cls.changing:
                return Opaque(f"self.{name} changes in {cls.changing[name].name}()")
        for cls in self.lineage():
            if cls.initial and name in cls.initial:
                value = cls.initial[name]
                # Whatever it is, it stays what it was when the object was made.
                return Input("self", "agent", f".{name}") if isinstance(value, Opaque) and not value.deps else value
            if name in cls.declared:
                return self._declared(name)
            if name in cls.constants:
                if any(name in other.overridden for other in self.lineage()):
                    return Opaque(f"a subclass of {self.name} has its own {name}")
                return cls.constants[name]
        # Set by a base class of another file; a name that says "language model" is enough to know a call by.
        if is_client_name(name):
            return Input("self", "agent", f".{name}")
        return Opaque(f"self.{name} is not bound in this project")

    def _declared(self, name: str) -> Value:
        match self.annotation(name):
            case ClassRef(cls=cls):
                return Input("self", "agent", f".{name}", cls=cls)
            case External(path=path):
                return External(f"{path}()")
        return Input("self", "agent", f".{name}")


def describe(node: ast.ClassDef, name: str, module: Module, bases: list[Value]) -> ClassInfo:
    """A class as its statement shows it, before its body is interpreted."""
    own = tuple(base.cls for base in bases if isinstance(base, ClassRef))
    foreign = tuple(base.path for base in bases if isinstance(base, External))
    words = {word for part in (*node.decorator_list, *node.bases) for word in _words(part)}
    generated = not words.isdisjoint(_GENERATED_INIT) or any(base.generated for base in own)
    info = ClassInfo(name, node, module, own, foreign, _declared(node, generated), generated)
    bound = {
        target.id
        for statement in node.body
        if isinstance(statement, ast.Assign | ast.AnnAssign)
        for target in (statement.targets if isinstance(statement, ast.Assign) else [statement.target])
        if isinstance(target, ast.Name)
    }
    for base in own:
        base.subclasses.append(info)
        for cls in base.lineage():
            cls.overridden |= bound
    return info


def self_name(node: FunctionNode) -> str | None:
    """Name of the first parameter of a method; ``None`` for a static method or a class method."""
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Name) and decorator.id in ("staticmethod", "classmethod"):
            return None
    positional = [*node.args.posonlyargs, *node.args.args]
    return positional[0].arg if positional else None


def bind_method(function: FunctionInfo, owner: Value) -> FunctionRef:
    """The method as read from an object or a class."""
    return FunctionRef(function) if function.decorated("staticmethod") else FunctionRef(function, owner)


def _methods(node: ast.ClassDef) -> Iterator[FunctionNode]:
    for statement in node.body:
        if isinstance(statement, FunctionNode):
            yield statement


def _words(node: ast.expr) -> Iterator[str]:
    for part in nodes_of(node):
        if isinstance(part, ast.Name):
            yield part.id
        elif isinstance(part, ast.Attribute):
            yield part.attr


def _declared(node: ast.ClassDef, generated: bool) -> frozenset[str]:
    """Names annotated in the body that the constructor sets: those without a value, and all where it is generated."""
    return frozenset(
        statement.target.id
        for statement in node.body
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)
        if (statement.value is None or generated) and "ClassVar" not in set(_words(statement.annotation))
    )


def _changes(method: FunctionNode, own: str) -> Iterator[str]:
    """Attributes of ``own`` that a method rebinds or mutates."""
    for node in nodes_of(method):
        match node:
            case ast.Attribute(value=ast.Name(id=name), attr=attribute, ctx=ast.Store() | ast.Del()) if name == own:
                yield attribute
            case ast.Subscript(
                value=ast.Attribute(value=ast.Name(id=name), attr=attribute), ctx=ast.Store() | ast.Del()
            ) if name == own:
                yield attribute
            case ast.Call(
                func=ast.Attribute(value=ast.Attribute(value=ast.Name(id=name), attr=attribute), attr=verb)
            ) if name == own and verb in MUTATORS:
                yield attribute
