"""The entry of a run, ``path/to/file.py:Qualified.name``: load it, and bind rows of the inputs to its parameters.

Loading executes the user's module; only commands that run the agent do that.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from charter_compiler.diagnostics.errors import EntryError

CLIENT_PARAMETERS = ("llm_client", "llm", "client")
"""Parameters that receive Charter's client, in order of preference."""

_ENTRY_FORM = "an entry is path/to/file.py:function or path/to/file.py:Class.method"


@dataclass(frozen=True, slots=True)
class Entry:
    """A loaded entry. ``owner`` is the class to construct, ``None`` for a plain function; ``root`` is the folder below
    which frames count as the agent's own code."""

    path: Path
    qualified_name: str
    function: Callable[..., Any]
    owner: type | None
    owner_client: str | None
    client_parameter: str | None
    parameters: tuple[inspect.Parameter, ...]
    is_async: bool

    @property
    def name(self) -> str:
        return f"{self.path}:{self.qualified_name}"

    @property
    def root(self) -> Path:
        return package_root(self.path.resolve())

    def bind(self, values: Mapping[str, Any], place: str) -> dict[str, Any]:
        """The arguments that the entry takes from a row; the row's other keys stay out.

        Args:
            values: the row.
            place: file and line of the row, for the message.

        Raises:
            EntryError: a required parameter is not in the row.
        """
        takes_all = any(p.kind is p.VAR_KEYWORD for p in self.parameters)
        named = [p for p in self.parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
        missing = [p.name for p in named if p.default is p.empty and p.name not in values]
        if missing:
            raise EntryError(
                f"{self.qualified_name} needs {_listed(missing)}, which the row lacks (it has {_listed(list(values))})",
                place=place,
                remedy="add the missing keys to the row, or defaults to the entry",
            )
        if takes_all:
            return {key: value for key, value in values.items() if key != self.client_parameter}
        return {p.name: values[p.name] for p in named if p.name in values}

    def call(self, client: object, arguments: Mapping[str, Any]) -> Any:
        """Construct the class, if there is one, and call the entry; for an async entry this returns the coroutine."""
        function = self.function
        if self.owner is not None:
            instance = self.owner(**({self.owner_client: client} if self.owner_client else {}))
            function = getattr(instance, self.qualified_name.rpartition(".")[2])
        keywords = dict(arguments)
        if self.client_parameter is not None:
            keywords[self.client_parameter] = client
        positional = [
            keywords.pop(p.name) for p in self.parameters if p.kind is p.POSITIONAL_ONLY and p.name in keywords
        ]
        return function(*positional, **keywords)


def split_entry(text: str) -> tuple[Path, str]:
    """File and qualified name of ``path/to/file.py:Qualified.name``.

    Raises:
        EntryError: the text has another form, or there is no such file.
    """
    file, colon, name = text.rpartition(":")
    if not colon or not name or not file:
        raise EntryError(f"'{text}' is not an entry", remedy=_ENTRY_FORM)
    path = Path(file)
    if not path.is_file():
        near = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*.py")], n=3)
        hint = f"did you mean {_listed([str(path.parent / n) for n in near], 'or')}?" if near else _ENTRY_FORM
        raise EntryError("there is no such file", place=file, remedy=hint)
    return path, name


def load_entry(text: str, *, needs_client: bool = True) -> Entry:
    """Execute the module of an entry and find the function or method.

    Args:
        text: the entry.
        needs_client: false where the agent constructs its own client.

    Raises:
        EntryError: no such file or name, a module that does not parse or raises when it is executed, a class that
            needs constructor arguments other than the client, or an entry that nothing can hand the client to.
    """
    path, name = split_entry(text)
    module = _load_module(path)
    owner: type | None = None
    value: Any = module
    for part in name.split("."):
        owner = value if inspect.isclass(value) else None
        found = inspect.getattr_static(value, part, None) if owner else vars(value).get(part)
        if found is None:
            raise _missing_name(path, name, part, value)
        value = getattr(value, part)
    if inspect.isclass(value):
        methods = [f"{name}.{m}" for m, f in vars(value).items() if inspect.isroutine(f) and not m.startswith("_")]
        raise EntryError(
            f"{name} is a class",
            place=str(path),
            remedy=f"name one of its methods: {_listed(methods, 'or')}" if methods else _ENTRY_FORM,
        )
    if not callable(value):
        raise EntryError(f"{name} is not a function", place=str(path), remedy=_ENTRY_FORM)
    if owner is not None and not inspect.isfunction(inspect.getattr_static(owner, name.rpartition(".")[2])):
        owner = None  # a static or class method needs no instance
    return _describe(path, name, value, owner, needs_client)


def _describe(path: Path, name: str, function: Callable[..., Any], owner: type | None, needs_client: bool) -> Entry:
    parameters = list(inspect.signature(function).parameters.values())
    if owner is not None:
        parameters = parameters[1:]  # self
    names = {p.name for p in parameters}
    client_parameter = next((p for p in CLIENT_PARAMETERS if p in names), None)
    owner_client = _client_of_constructor(path, owner) if owner is not None else None
    if needs_client and client_parameter is None and owner_client is None:
        where = f"neither {owner.__name__}() nor {name} has a" if owner is not None else f"{name} has no"
        raise EntryError(
            f"{where} parameter for the model client",
            place=f"{path}:{_line_of(function)}",
            remedy=f"name one {_listed(list(CLIENT_PARAMETERS), 'or')}",
        )
    return Entry(
        path=path,
        qualified_name=name,
        function=function,
        owner=owner,
        owner_client=owner_client,
        client_parameter=client_parameter,
        parameters=tuple(p for p in parameters if p.name != client_parameter),
        is_async=inspect.iscoroutinefunction(function),
    )


def _client_of_constructor(path: Path, owner: type) -> str | None:
    try:
        parameters = inspect.signature(owner).parameters
    except ValueError:  # a class whose constructor is written in C tells no signature
        return None
    client = next((name for name in CLIENT_PARAMETERS if name in parameters), None)
    others = [
        p.name
        for p in parameters.values()
        if p.name != client and p.default is p.empty and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
    ]
    if others:
        raise EntryError(
            f"{owner.__name__}() needs {_listed(others)}; Charter passes only the client",
            place=f"{path}:{_line_of(owner)}",
            remedy="give them defaults, or use as the entry a function that constructs the class itself",
        )
    return client


def _line_of(thing: Any) -> int:
    return inspect.getsourcelines(thing)[1]


def _missing_name(path: Path, name: str, part: str, holder: Any) -> EntryError:
    public = [n for n, v in vars(holder).items() if not n.startswith("__") and callable(getattr(holder, n, v))]
    own = [n for n in public if getattr(getattr(holder, n), "__module__", None) in (None, _module_of(holder))]
    near = difflib.get_close_matches(part, own, n=3) or own[:5]
    prefix = name.split(part)[0]
    remedy = f"did you mean {_listed([prefix + n for n in near], 'or')}?" if near else _ENTRY_FORM
    return EntryError(f"there is no {name}", place=str(path), remedy=remedy)


def _module_of(holder: Any) -> str:
    return holder.__name__ if inspect.ismodule(holder) else str(holder.__module__)


def _load_module(path: Path) -> ModuleType:
    """Execute the file: as a module of its package if it lies in one, else by itself with its folder importable."""
    resolved = path.resolve()
    root = package_root(resolved)
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    try:
        compile(resolved.read_bytes(), str(path), "exec", dont_inherit=True)
        if root != resolved.parent:
            parts = resolved.relative_to(root).with_suffix("").parts
            return importlib.import_module(".".join(parts))
        return _load_file(resolved)
    except SyntaxError as error:
        where = error.filename or str(path)
        place = f"{path if where == str(resolved) else where}:{error.lineno}"
        raise EntryError(f"syntax error: {error.msg}", place=place, remedy="mend the file") from error
    except OSError as error:
        raise EntryError(f"cannot read the file: {error.strerror}", place=str(path)) from error
    except (Exception, SystemExit) as error:  # the user's module may raise anything at all
        line = last_line_in(error, resolved)
        place = f"{path}:{line}" if line else str(path)
        raise EntryError(
            f"the module raised {type(error).__name__} when it was imported: {error}",
            place=place,
            remedy="it must import without error; install what it needs",
        ) from error


def _load_file(path: Path) -> ModuleType:
    # The name must not shadow another module, and dataclasses look their module up in sys.modules.
    name = f"_charter_entry_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise EntryError("not a Python file", place=str(path), remedy=_ENTRY_FORM)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def package_root(path: Path) -> Path:
    """The folder to import from: the first above the file that is not a package."""
    folder = path.parent
    while (folder / "__init__.py").is_file():
        folder = folder.parent
    return folder


def last_line_in(error: BaseException, path: Path) -> int | None:
    """The innermost line of a file in an exception's traceback; ``None`` if the traceback does not pass through it."""
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if Path(f.filename) == path]
    return lines[-1] if lines else None


def _listed(names: list[str], word: str = "and") -> str:
    if not names:
        return "nothing"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {word} {names[-1]}"
