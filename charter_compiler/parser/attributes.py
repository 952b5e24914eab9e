"""Attributes: what ``value.name`` is, for every kind of value."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from charter_compiler.diagnostics.span import Span
from charter_compiler.parser.carriers import CHAIN
from charter_compiler.parser.definitions import ClassInfo, bind_method
from charter_compiler.parser.joins import join
from charter_compiler.parser.scope import Environment, Frame
from charter_compiler.parser.strings import (
    Arguments,
    constant_text,
)
from charter_compiler.parser.values import (
    Chain,
    ClassRef,
    Either,
    External,
    FilePath,
    FunctionRef,
    Imported,
    Input,
    Instance,
    ModuleRef,
    Opaque,
    PromptTemplate,
    Record,
    Result,
    Text,
    Value,
    deps_of,
)

if TYPE_CHECKING:
    from charter_compiler.parser.interpreter import Interpreter


class Attributes:
    """The part of the evaluator that reads attributes."""

    interpreter: Interpreter
    env: Environment
    frame: Frame

    def _super(self, name: str) -> Value:
        own = self.env.get(self.frame.own) if self.frame.own else None
        if self.frame.cls is not None and own is not None:
            for cls in self.frame.cls.lineage()[1:]:
                if name in cls.methods:
                    return bind_method(cls.methods[name], own)
            foreign = next(self.frame.cls.ancestors(), None)
            if foreign is not None:
                return External(f"{foreign}().{name}")
        return Opaque(f"super().{name} is not in this project")

    def attribute_of(self, value: Value, name: str, span: Span) -> Value:
        match value:
            case Imported(module=module, name=member):
                return self.attribute_of(self.interpreter.member(module, member), name, span)
            case Input(cls=ClassInfo() as cls):
                return self._typed_attribute(value, cls, name)
            case Input() | Result():
                return value.part(f".{name}")
            case External(path=path):
                if name in TASK_METHODS and path.endswith("()"):
                    return value
                return value.attribute(name)
            case Instance():
                return self._instance_attribute(value, name, span)
            case ClassRef(cls=cls):
                method = cls.method(name)
                if method is not None:
                    return FunctionRef(method, value) if method.decorated("classmethod") else FunctionRef(method)
                constant = cls.constant(name)
                if constant is not None:
                    return self._constant(constant)
                foreign = next(cls.ancestors(), None)
                return (
                    External(f"{foreign}.{name}")
                    if foreign
                    else Opaque(f"{cls.name}.{name} is not bound in this project")
                )
            case ModuleRef(module=module):
                return self.interpreter.member(module, name)
            case Chain() | PromptTemplate():
                chain = Chain((value,)) if isinstance(value, PromptTemplate) else value
                return External(f"{CHAIN}.{name}", (("chain", chain),), deps_of(chain))
            case Record() if (found := value.get(name)) is not None:
                return found
            case FilePath(path=path) if name == "parent":
                return FilePath(os.path.dirname(path))
            case Text() if name == "value" and constant_text(value) is not None:
                return value  # of an enumeration
            case Either(options=options):
                return join([self.attribute_of(option, name, span) for option in options], span)
            case FunctionRef() if name in ("func", "__wrapped__"):
                return value
            case Opaque(reason=reason, deps=deps):
                return Opaque(reason, deps)
        return Opaque(f"the attribute .{name} is read at run time", deps_of(value))

    def _constant(self, constant: Value) -> Value:
        if isinstance(constant, Imported):
            return self.interpreter.member(constant.module, constant.name)
        return constant

    def _typed_attribute(self, value: Input, cls: ClassInfo, name: str) -> Value:
        """An attribute of a value that an annotation gives a class of the project."""
        methods = cls.implementations(name)
        if methods and methods[0].decorated("property", "cached_property"):
            return value.part(f".{name}")
        if methods:
            refs = tuple(bind_method(method, Instance(method.cls or cls)) for method in methods)
            return refs[0] if len(refs) == 1 else Either(refs)
        part = value.part(f".{name}")
        match cls.annotation(name):
            case ClassRef(cls=known):
                return replace(part, cls=known)
            case External(path=path):
                return External(f"{path}()")
        self.interpreter.initialize(cls)
        initial = next((each.initial[name] for each in cls.lineage() if each.initial and name in each.initial), None)
        if isinstance(initial, External | Instance | FunctionRef | Chain):
            return initial
        return part

    def _instance_attribute(self, value: Instance, name: str, span: Span) -> Value:
        cls = value.cls
        known = dict(value.attributes) if value.attributes is not None else {}
        method = cls.method(name)
        if name in known and method is None:
            return known[name]
        if method is None and value.attributes is None and name not in cls.declared:
            method = next(iter(cls.implementations(name)), None)  # only subclasses have it
        if method is not None:
            if method.decorated("property", "cached_property"):
                return self.interpreter.invoke_plain(FunctionRef(method, value), Arguments(), span)
            if value.attributes is None:
                refs = tuple(bind_method(each, value) for each in cls.implementations(name))
                return refs[0] if len(refs) == 1 else Either(refs)
            return bind_method(method, value)
        self.interpreter.initialize(cls)
        found = self._constant(cls.attribute(name))
        if isinstance(found, Opaque):
            changing = any(name in each.changing for each in cls.lineage())
            if changing:
                return self.interpreter.changing_attribute(cls, name, found)
            if cls.method("__getattr__") is not None and (registered := self.interpreter.registered(name)):
                return registered
            foreign = next(cls.ancestors(), None)
            if foreign is not None and not found.deps:
                return External(f"{foreign}().{name}")
        return found


TASK_METHODS = frozenset({"result", "remote", "delay", "get_result"})
"""Methods of what stands for a value that comes later."""
