"""Whether an agent's code could act on the outside: then it is not run for a prediction without leave.

Conservative by table: modules of the standard library that only compute are listed; every other import, and the
built-ins that read files or run code, count as a possible effect. Modules of the agent's own project are read too.
Nothing is imported or run.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_PURE = """
__future__ abc argparse ast array asyncio base64 bisect calendar cmath collections contextlib copy dataclasses
datetime decimal difflib enum fractions functools hashlib heapq html inspect itertools json keyword logging math
numbers operator pprint random re statistics string struct textwrap types typing typing_extensions unicodedata uuid
warnings zlib
"""
PURE_MODULES = frozenset(_PURE.split())
EFFECTFUL_NAMES = frozenset({"open", "exec", "eval", "compile", "input", "breakpoint", "__import__"})
EFFECTFUL_ASYNCIO = frozenset(
    {"create_subprocess_exec", "create_subprocess_shell", "open_connection", "start_server", "open_unix_connection"}
)


@dataclass(frozen=True, slots=True)
class Effect:
    """A place where the code may act on the outside, and how."""

    file: str
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line} {self.reason}"


def possible_effects(path: Path, root: Path) -> tuple[Effect, ...]:
    """The possible effects of a file and of the files below ``root`` that importing it executes, in the order in which
    they are met; empty if the code only computes. A file that does not parse is one itself."""
    return tuple(effect for source in _project(path, root) for effect in source.effects)


def project_files(path: Path, root: Path) -> tuple[Path, ...]:
    """A file and the files below ``root`` that importing it executes: its packages, and what these import in turn."""
    return tuple(source.path for source in _project(path, root))


@dataclass(frozen=True, slots=True)
class _Source:
    path: Path
    effects: tuple[Effect, ...]


def _project(path: Path, root: Path) -> Iterator[_Source]:
    waiting = [path, *_packages(path, root)]
    seen: set[Path] = set()
    while waiting:
        current = waiting.pop(0)
        if current in seen:
            continue
        seen.add(current)
        try:
            tree = ast.parse(current.read_bytes(), filename=str(current))
        except (SyntaxError, ValueError, OSError) as error:
            yield _Source(current, (Effect(str(current), 1, f"cannot be read: {error}"),))
            continue
        effects: list[Effect] = []
        for line, module, names in _imports(tree):
            own = _own_files(module, current, root)
            for name in names:
                own += _own_files(f"{module}{'' if module.endswith('.') else '.'}{name}", current, root)
            waiting.extend(own)
            if not own and module.partition(".")[0] not in PURE_MODULES:
                effects.append(Effect(str(current), line, f"imports {module}"))
        effects.extend(Effect(str(current), line, f"calls {name}") for line, name in _calls(tree))
        yield _Source(current, tuple(effects))


def _packages(path: Path, root: Path) -> list[Path]:
    """The ``__init__.py`` of the packages that a file lies in, which run before it."""
    folders = [folder for folder in path.parents if folder != root and folder.is_relative_to(root)]
    return [folder / "__init__.py" for folder in folders if (folder / "__init__.py").is_file()]


def _imports(tree: ast.AST) -> Iterator[tuple[int, str, list[str]]]:
    """Line, dotted name and imported names of every import; a relative name begins with its dots. An imported name may
    be a module too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name, []) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, "." * node.level + (node.module or ""), [alias.name for alias in node.names]


def _own_files(module: str, importer: Path, root: Path) -> list[Path]:
    """The files of the project that an import executes: the packages on the way and the module itself."""
    name = module.lstrip(".")
    level = len(module) - len(name)
    folder = root
    if level:
        folder = importer.parent
        for _ in range(level - 1):
            folder = folder.parent
    files: list[Path] = []
    for part in name.split(".") if name else []:
        if (folder / f"{part}.py").is_file():
            return [*files, folder / f"{part}.py"]
        folder = folder / part
        if (folder / "__init__.py").is_file():
            files.append(folder / "__init__.py")
    return files


def _calls(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Name) and node.func.id in EFFECTFUL_NAMES:
            yield node.lineno, f"{node.func.id}()"
        elif isinstance(node.func, ast.Attribute) and node.func.attr in EFFECTFUL_ASYNCIO:
            yield node.lineno, f"{node.func.attr}()"
