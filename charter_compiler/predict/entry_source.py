"""Whether an entry is in its file, from the source alone; nothing is imported or run."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path

from charter_compiler.diagnostics.errors import EntryError
from charter_compiler.parser.files import read_source

Function = (ast.FunctionDef, ast.AsyncFunctionDef)


def check_entry(path: Path, name: str) -> None:
    """Refuse a qualified name that the file does not define as a function or a method.

    A name that the file only imports or assigns, and a method that a base class of another file may have, cannot be
    judged without running the file; they are accepted.

    Raises:
        EntryError: there is no such name, or it is a class or a constant.
        SyntaxError, ValueError, OSError: the file cannot be read or parsed.
    """
    module = _Scope(ast.parse(read_source(path)).body)
    scope, prefix = module, ""
    parts = name.split(".")
    for index, part in enumerate(parts):
        node = scope.names.get(part)
        if node is None:
            if scope.open:
                return
            raise EntryError(f"there is no {name}", place=str(path), remedy=_near(name, module))
        last = index == len(parts) - 1
        if isinstance(node, ast.ClassDef):
            scope, prefix = _class_scope(node, module), f"{prefix}{part}."
            if last:
                raise EntryError(f"{name} is a class", place=f"{path}:{node.lineno}", remedy=_methods(prefix, scope))
        elif isinstance(node, Function):
            if not last:
                raise EntryError(
                    f"there is no {name}: {prefix}{part} is a function", place=f"{path}:{node.lineno}", remedy=_FORM
                )
        elif isinstance(node, ast.Constant):
            raise EntryError(f"{prefix}{part} is not a function", place=f"{path}:{node.lineno}", remedy=_FORM)
        else:
            return


_FORM = "an entry is path/to/file.py:function or path/to/file.py:Class.method"


class _Scope:
    """The names that statements bind. ``open``: there may be others, which only running them would tell."""

    def __init__(self, body: Sequence[ast.stmt]) -> None:
        self.names: dict[str, ast.AST] = {}
        self.open = False
        for name, node in _bindings(body):
            self.names[name] = node
            self.open |= name == "*"

    @property
    def functions(self) -> list[str]:
        return [name for name, node in self.names.items() if isinstance(node, Function) and not name.startswith("_")]


def _bindings(body: Sequence[ast.stmt]) -> Iterator[tuple[str, ast.AST]]:
    """Name and definition of what the statements bind, also under ``if``, ``try``, ``with`` and loops: the function,
    the class, the value that is assigned, or the import."""
    for node in body:
        if isinstance(node, (*Function, ast.ClassDef)):
            yield node.name, node
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from ((alias.asname or alias.name.partition(".")[0], node) for alias in node.names)
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                names = [name.id for name in ast.walk(target) if isinstance(name, ast.Name)]
                yield from ((name, node.value if isinstance(target, ast.Name) else node) for name in names)
        elif isinstance(node, ast.AnnAssign):
            if isinstance(node.target, ast.Name) and node.value is not None:
                yield node.target.id, node.value
        else:
            for field in ("body", "handlers", "orelse", "finalbody", "cases"):
                for inner in getattr(node, field, []):
                    yield from _bindings(inner.body if isinstance(inner, _BLOCKS) else [inner])


_BLOCKS = (ast.ExceptHandler, ast.match_case)


def _class_scope(node: ast.ClassDef, module: _Scope, seen: frozenset[str] = frozenset()) -> _Scope:
    """The names of a class and of its bases in the same file."""
    scope = _Scope(node.body)
    for base in node.bases:
        found = module.names.get(base.id) if isinstance(base, ast.Name) else None
        if isinstance(found, ast.ClassDef) and found.name not in seen:
            inherited = _class_scope(found, module, seen | {node.name})
            scope.names = inherited.names | scope.names
            scope.open |= inherited.open
        else:
            scope.open |= not (isinstance(base, ast.Name) and base.id == "object")
    return scope


def _near(name: str, module: _Scope) -> str:
    """The entries like the one that is missing, else some of those that there are."""
    entries = module.functions
    for label, node in module.names.items():
        if isinstance(node, ast.ClassDef):
            entries += [f"{label}.{method}" for method in _class_scope(node, module).functions]
    near = difflib.get_close_matches(name, entries, n=3) or entries[:5]
    return f"did you mean {_either(near)}?" if near else _FORM


def _methods(prefix: str, scope: _Scope) -> str:
    methods = [prefix + name for name in scope.functions]
    return f"name one of its methods: {_either(methods)}" if methods else _FORM


def _either(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
