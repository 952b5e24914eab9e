"""The modules of a project: finding them by the names that imports use, and reading them when they are needed."""

from __future__ import annotations

import ast
import re
import sys
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from charter_compiler.parser.definitions import ClassInfo, FunctionInfo, FunctionNode
from charter_compiler.parser.own_sdk import own_modules
from charter_compiler.parser.positions import Positions

if TYPE_CHECKING:
    from charter_compiler.parser.scope import Environment
    from charter_compiler.parser.values import Text

_LINE_END = re.compile(r"\r\n|\r|\n")
_WORD = re.compile(r"[A-Za-z_]\w*")
_CALLED = re.compile(r"([A-Za-z_]\w*)\s*\(")
_HANDED = re.compile(r"(?:[(,=\[:|]|\breturn|\blambda[^:\n]*:)\s*(?:[A-Za-z_]\w*\.)*([A-Za-z_]\w*)\s*(?=[,)\]|\n}]|$)")
_ALIASES = re.compile(r"\b(\w+)[ \t]+as[ \t]+(\w+)|(\w+)[ \t]*=[ \t]*(?:\w+\.)*(\w+)\b(?!\()")
_IMPORTS = re.compile(r"^[ \t]*(?:from[ \t]+(\.*)([\w.]*)[ \t]+import|import[ \t]+(\.*)([\w.]+))", re.MULTILINE)


@dataclass(frozen=True)
class Unit:
    """A function of a module with all that is nested in it, or (``node`` is ``None``) what the module itself runs.
    ``words`` are the names in it, ``called`` those that a parenthesis follows, ``handed`` those that are handed on:
    arguments of calls, and what is assigned or returned."""

    node: FunctionNode | None
    text: str = field(repr=False)

    @cached_property
    def words(self) -> frozenset[str]:
        return words_of(self.text)

    @cached_property
    def called(self) -> frozenset[str]:
        return frozenset(map(sys.intern, _CALLED.findall(self.text)))

    @cached_property
    def handed(self) -> frozenset[str]:
        return frozenset(map(sys.intern, _HANDED.findall(self.text)))


@dataclass(slots=True, eq=False)
class Module:
    """One file.

    ``label`` is its name in spans and ids, ``path`` where it lies (``None`` for a text that was given), ``words`` every
    name in its text. ``tree`` is there while it is needed; ``environment`` holds its names once it was interpreted;
    ``texts`` are the values of its string constants by their nodes.
    """

    label: str
    path: Path | None
    source: str = field(repr=False)
    words: frozenset[str] = field(repr=False)
    tree: ast.Module | None = field(default=None, repr=False)
    environment: Environment | None = field(default=None, repr=False)
    running: bool = False
    stars: list[Module] = field(default_factory=list, repr=False)
    functions: dict[int, FunctionInfo] = field(default_factory=dict, repr=False)
    classes: dict[int, ClassInfo] = field(default_factory=dict, repr=False)
    texts: dict[int, Text] = field(default_factory=dict, repr=False)
    rebound: frozenset[str] = frozenset()
    lines: int = 0
    shared: frozenset[str] | None = None
    _indexed: int = 0
    _by_bare_name: dict[str, list[FunctionInfo]] = field(default_factory=lambda: defaultdict(list), repr=False)
    _by_node: dict[int, Unit] | None = field(default=None, repr=False)
    _users: dict[str, list[Unit]] | None = field(default=None, repr=False)
    _aliases: dict[str, set[str]] = field(default_factory=dict, repr=False)
    _table: frozenset[str] = frozenset()
    _positions: Positions | None = field(default=None, repr=False)
    _units: tuple[Unit, ...] | None = field(default=None, repr=False)

    @property
    def positions(self) -> Positions:
        if self._positions is None:
            self._positions = Positions(self.label, self.source)
        return self._positions

    @property
    def units(self) -> tuple[Unit, ...]:
        """What can be analyzed on its own."""
        if self._units is None:
            self._units = tuple(_units(self.parsed(), self.source))
        return self._units

    def parsed(self) -> ast.Module:
        """The syntax tree."""
        if self.tree is None:
            self.tree = parse(self.source, self.label)
        return self.tree

    def functions_named(self, name: str) -> list[FunctionInfo]:
        """The functions and methods of that name."""
        if len(self.functions) != self._indexed:
            self._by_bare_name.clear()
            for info in self.functions.values():
                self._by_bare_name[info.name.rpartition(".")[2]].append(info)
            self._indexed = len(self.functions)
        return self._by_bare_name.get(name, [])

    def unit_of(self, node: ast.AST) -> Unit | None:
        """The unit of a function that stands in no other."""
        if self._by_node is None:
            self._by_node = {id(unit.node): unit for unit in self.units if unit.node is not None}
        return self._by_node.get(id(node))

    def users(self, name: str) -> list[Unit]:
        """The units that call a function of that name or hand it on, under that name or another one that the module
        gives it; all of them where the module itself puts it somewhere, such as in a table."""
        if self._users is None:
            self._users = defaultdict(list)
            for unit in self.units:
                for word in unit.called | unit.handed:
                    self._users[word].append(unit)
            for one, other, new, old in _ALIASES.findall(self.source):
                self._aliases.setdefault(one or old, set()).add(other or new)
            self._table = next((unit.handed for unit in self.units if unit.node is None), frozenset())
        if name in self._table:
            return list(self.units)
        found = list(self._users.get(name, ()))
        for alias in self._aliases.get(name, ()):
            found.extend(unit for unit in self._users.get(alias, ()) if unit not in found)
        return found

    def imports(self) -> Iterator[tuple[int, str]]:
        """(leading dots, dotted name) of what the module imports, read off its text."""
        for dots, name, more_dots, plain in _IMPORTS.findall(self.source):
            yield len(dots or more_dots), name or plain

    @property
    def is_package(self) -> bool:
        return self.label.endswith("__init__.py")


def parse(source: str, label: str) -> ast.Module:
    """The syntax tree of a text.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: what ``ast.parse`` raises.
    """
    with warnings.catch_warnings():
        # Invalid escapes and the like are the business of the user's linter.
        warnings.simplefilter("ignore")
        return ast.parse(source, filename=label)


def words_of(source: str) -> frozenset[str]:
    """Every name in a text, in comments and strings too: a cheap test of what a file can be about."""
    return frozenset(map(sys.intern, _WORD.findall(source)))


class Project:
    """The files that are inspected together."""

    def __init__(self, modules: Iterable[Module]) -> None:
        self.modules: dict[str, Module] = {}
        self._by_name: dict[str, list[Module]] = defaultdict(list)
        self._mentions: dict[str, list[Module]] | None = None
        self.roots: tuple[Path, ...] = ()
        for module in modules:
            module.lines = module.source.count("\n")
            self.modules[module.label] = module
            parts = _parts(module.label)
            if parts and not module.label.endswith(".ipynb"):
                self._by_name[parts[-1]].append(module)

    @cached_property
    def own_sdks(self) -> frozenset[str]:
        """The import names of the SDKs that the project itself is."""
        return own_modules(self.roots)

    def mentioning(self, name: str) -> list[Module]:
        """Modules that hold a name."""
        if self._mentions is None:
            self._mentions = defaultdict(list)
            for module in self.modules.values():
                for word in module.words:
                    self._mentions[word].append(module)
        return self._mentions.get(name, [])

    def find(self, name: str, importer: Module, level: int = 0) -> Module | None:
        """The module of that dotted name as ``importer`` would import it; ``level`` counts the leading dots.

        A module of an SDK that the project itself is counts as foreign outside its own folder (``own_sdk``). Other
        absolute names are matched by their end, since the folder on Python's path is not known; among several, the one
        nearest to the importer is taken.
        """
        here = PurePosixPath(importer.label).parent.parts
        wanted = tuple(name.split(".")) if name else ()
        if level:
            if level - 1 > len(here):
                return None
            return self._at((*here[: len(here) - (level - 1)], *wanted))
        if not wanted or (wanted[0] in self.own_sdks and wanted[0] not in here):
            return None
        best: tuple[int, int, Module] | None = None
        for module in self._by_name.get(wanted[-1], ()):
            parts = _parts(module.label)
            if parts[-len(wanted) :] != wanted or (module is importer and len(wanted) == 1):
                continue
            above = parts[: -len(wanted)]
            # A name of one part is a module beside the importer or at a root, not any file of that name.
            if len(wanted) == 1 and above and above != here[: len(above)] and above[-1] not in ("src", "lib"):
                continue
            common = sum(1 for one, other in zip(parts, here, strict=False) if one == other)
            if best is None or (common, -len(parts)) > best[:2]:
                best = (common, -len(parts), module)
        return best[2] if best else None

    def _at(self, parts: tuple[str, ...]) -> Module | None:
        base = "/".join(parts)
        return self.modules.get(f"{base}.py") or self.modules.get(f"{base}/__init__.py" if base else "__init__.py")


def _parts(label: str) -> tuple[str, ...]:
    path = PurePosixPath(label)
    return path.parent.parts if path.name == "__init__.py" else (*path.parent.parts, path.stem)


def _units(tree: ast.Module, source: str) -> Iterator[Unit]:
    """The functions of a module that stand in no other, and what is left. Their names are read off the text, which is
    many times quicker than walking the tree; names in strings and comments do no harm."""
    lines = _LINE_END.split(source)  # as the parser counts lines: a form feed ends none
    rest = list(lines)
    stack: list[ast.AST] = list(reversed(tree.body))
    while stack:
        node = stack.pop()
        if isinstance(node, FunctionNode):
            start = min([node.lineno, *(each.lineno for each in node.decorator_list)]) - 1
            end = node.end_lineno or node.lineno
            yield Unit(node, "\n".join(lines[start:end]))
            rest[start:end] = [""] * (end - start)
        elif not isinstance(node, ast.expr):
            stack.extend(each for each in ast.iter_child_nodes(node) if isinstance(each, _HOLDERS))
    yield Unit(None, "\n".join(rest))


_HOLDERS = (ast.stmt, ast.ExceptHandler, ast.match_case)
