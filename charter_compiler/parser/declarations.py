"""Declarations: what ``import``, ``def`` and ``class`` bind."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from charter_compiler.parser.definitions import FunctionNode, describe
from charter_compiler.parser.expressions import Evaluator
from charter_compiler.parser.scope import Environment, Frame
from charter_compiler.parser.values import ClassRef, External, FunctionRef, Imported, ModuleRef

if TYPE_CHECKING:
    from charter_compiler.parser.interpreter import Interpreter


class Declarations:
    """The part of the executor that reads imports, functions and classes."""

    interpreter: Interpreter
    evaluator: Evaluator

    if TYPE_CHECKING:

        @property
        def env(self) -> Environment:
            """The names that are bound."""

        @property
        def frame(self) -> Frame:
            """The function that is read."""

        def statement(self, node: ast.stmt) -> bool:
            """Execute a statement; returns whether its end is reached."""

    def imported(self, node: ast.Import) -> bool:
        project, module = self.interpreter.project, self.frame.module
        for alias in node.names:
            name = alias.name if alias.asname else alias.name.partition(".")[0]
            found = project.find(alias.name, module)
            if found is not None and not alias.asname and "." in alias.name:
                top = project.find(name, module)
                self.env.set(name, ModuleRef(top) if top is not None else External(name))
            else:
                self.env.set(alias.asname or name, ModuleRef(found) if found is not None else External(name))
        return True

    def imported_from(self, node: ast.ImportFrom) -> bool:
        project, module = self.interpreter.project, self.frame.module
        source = project.find(node.module or "", module, node.level)
        path = "." * node.level + (node.module or "")
        for alias in node.names:
            if alias.name == "*":
                if source is not None and source is not module:
                    module.stars.append(source)
                continue
            below = (
                project.find(f"{node.module or ''}.{alias.name}".strip("."), module, node.level)
                if source is None or (source.is_package)
                else None
            )
            name = alias.asname or alias.name
            if source is not None and source is not module:
                self.env.set(name, Imported(source, alias.name))
            elif below is not None:
                self.env.set(name, ModuleRef(below))
            else:
                self.env.set(name, External(f"{path.rstrip('.') or path}.{alias.name}"))
        return True

    def defined(self, node: FunctionNode) -> bool:
        for expression in (*node.decorator_list, *node.args.defaults, *node.args.kw_defaults):
            if expression is not None:
                self.evaluator.evaluate(expression)
        frame = self.frame
        name = f"{frame.function}.{node.name}" if frame.info is not None else node.name
        info = self.interpreter.function_info(node, name, None, frame.info)
        nested = self.env if frame.info is not None else None
        self.env.set(node.name, FunctionRef(info, closure=nested))
        return True

    def class_(self, node: ast.ClassDef) -> bool:
        frame = self.frame
        for decorator in node.decorator_list:
            self.evaluator.evaluate(decorator)
        bases = [self.evaluator.evaluate(base) for base in node.bases]
        for keyword in node.keywords:
            self.evaluator.evaluate(keyword.value)
        name = f"{frame.function}.{node.name}" if frame.info is not None else node.name
        if frame.cls is not None and frame.info is None:
            name = f"{frame.cls.name}.{node.name}"
        cls = frame.module.classes.get(id(node))
        if cls is None:
            cls = frame.module.classes[id(node)] = describe(node, name, frame.module, bases)
        before, self.frame.cls = self.frame.cls, cls
        with self.evaluator.inside() as body:
            for statement in node.body:
                if isinstance(statement, FunctionNode):
                    for decorator in statement.decorator_list:
                        self.evaluator.evaluate(decorator)
                    info = self.interpreter.function_info(statement, f"{name}.{statement.name}", cls, frame.info)
                    if not info.decorated("setter", "deleter"):  # of a property: the name stays its getter's
                        cls.methods[statement.name] = info
                        body.set(statement.name, FunctionRef(info))
                else:
                    self.statement(statement)
                    if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                        annotated = self.interpreter.annotation(statement.annotation)
                        if annotated is not None:
                            cls.annotations[statement.target.id] = annotated
        self.frame.cls = before
        cls.constants.update(
            (key, value)
            for key, value in body.names.items()
            if not (isinstance(value, FunctionRef) and key in cls.methods)
        )
        self.env.set(node.name, ClassRef(cls))
        return True
