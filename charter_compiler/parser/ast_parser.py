"""Python source to IR: the front door of the parser. Nothing that is read here is imported or run."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType

from charter_compiler.diagnostics.errors import SourceError
from charter_compiler.diagnostics.span import Span
from charter_compiler.ir.nodes import Agent, Call, walk
from charter_compiler.ir.verify import verify
from charter_compiler.parser.files import label_of, python_files, read_source
from charter_compiler.parser.linking import calls_of
from charter_compiler.parser.modules import Module, Project, parse, words_of
from charter_compiler.parser.notebooks import Notebook, is_notebook, read_notebook
from charter_compiler.parser.worklist import Worklist, may_hold_calls


@dataclass(frozen=True, slots=True)
class FailedFile:
    """A file that could not be parsed, or a cell of a notebook; ``line`` is ``None`` where the failure has none (an
    unreadable file), ``cell`` counts the cells of a notebook from 1: the line is then one of the cell."""

    file: str
    line: int | None
    message: str
    cell: int | None = None

    @property
    def place(self) -> str:
        """Where it is, as far as known."""
        parts = [self.file, *([] if self.cell is None else [f"cell {self.cell}"])]
        return ":".join([*parts, *([] if self.line is None else [str(self.line)])])


@dataclass(frozen=True, slots=True)
class ParsedAgent:
    """What was found in the files. ``sources`` holds the text of the files that have calls, by their label; of a
    notebook it is the module that its code cells form, and ``notebooks`` says where its lines stand."""

    agent: Agent
    failed: tuple[FailedFile, ...] = ()
    files: int = 0
    sources: Mapping[str, str] = field(default_factory=dict, repr=False)
    notebooks: Mapping[str, Notebook] = field(default_factory=dict, repr=False)

    @property
    def calls(self) -> tuple[Call, ...]:
        return self.agent.calls

    def require(self) -> ParsedAgent:
        """The same, if every file could be parsed.

        Raises:
            SourceError: names the first file that could not.
        """
        for failed in self.failed:
            raise SourceError(
                failed.message, place=failed.place, remedy="only source that Python can parse is inspected"
            )
        return self


class AgentASTParser:
    """Finds the model calls of Python source, the templates of their prompts, and how results flow between them.

    It has no state; one parser serves any number of projects. What it returns is verified: a ``VerificationError`` is a
    defect of Charter, whatever the source holds.
    """

    def parse_file(self, path: str | os.PathLike[str]) -> ParsedAgent:
        """Parse one file. A file with a syntax error is listed in ``failed``.

        Raises:
            SourceError: there is no such file.
        """
        if not Path(path).is_file():
            raise SourceError("no such file", place=os.fspath(path), remedy="give the path of a Python file")
        return self.parse_paths([path])

    def parse_source(self, text: str, file: str = "<source>") -> ParsedAgent:
        """Parse source text; ``file`` names it in ids and spans."""
        loaded = _load(file, None, lambda: text)
        return _parse(file, [loaded], ())

    def parse_paths(self, paths: Iterable[str | os.PathLike[str]]) -> ParsedAgent:
        """Parse files, and all Python files in folders, as one project. What cannot be read is listed in ``failed``."""
        given = [Path(path) for path in paths]
        with _no_cycle_collection():
            return self._parse_paths(given)

    def _parse_paths(self, given: list[Path]) -> ParsedAgent:
        notebooks: dict[str, Notebook] = {}
        loaded = [
            _load_notebook(label, path, notebooks)
            if is_notebook(path)
            else _load(label, path, partial(read_source, path))
            for path, label in python_files(given)
        ]
        roots = tuple(Path(os.path.abspath(path if path.is_dir() else path.parent)) for path in given)
        return _parse(" ".join(label_of(path) for path in given), loaded, roots, notebooks)


@contextmanager
def _no_cycle_collection() -> Iterator[None]:
    """Syntax trees are millions of objects that stay: to look through them for cycles, again and again, takes longer
    than to make them."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


_UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError)
"""What ``ast.parse`` raises: a null byte is a ``ValueError``, too deep nesting a ``RecursionError`` or, from the
parser's own stack, a ``MemoryError``. ``UnicodeDecodeError`` is a ``ValueError``."""


def _load(label: str, path: Path | None, read: Callable[[], str]) -> Module | FailedFile:
    """The module of a file that parses. Its syntax tree is dropped again unless it can hold calls."""
    try:
        text = read()
        tree = parse(text, label)
        module = Module(label, path, text, words_of(text))
        if may_hold_calls(module):
            module.tree = tree
    except (OSError, *_UNREADABLE) as error:
        return _failure(label, error)
    return module


def _load_notebook(label: str, path: Path, notebooks: dict[str, Notebook]) -> Module | FailedFile:
    """The module that the code cells form; notes the notebook under its label."""
    try:
        notebook = read_notebook(path.read_text(encoding="utf-8-sig"))
    except (OSError, *_UNREADABLE) as error:
        return _failure(label, error)
    notebooks[label] = notebook
    return _load(label, path, lambda: notebook.source)


def _parse(
    name: str,
    loaded: Sequence[Module | FailedFile],
    roots: tuple[Path, ...],
    notebooks: Mapping[str, Notebook] = MappingProxyType({}),
) -> ParsedAgent:
    modules = [each for each in loaded if isinstance(each, Module)]
    project = Project(modules)
    project.roots = roots
    worklist = Worklist(project)
    sites = worklist.run()
    calls = calls_of(sites, worklist.interpreter.arriving, worklist.interpreter.returning)
    agent = Agent(name, calls)
    verify(agent)
    # The files of the prompts' texts too: findings stand there, and comments that silence them.
    files = {span.file for call in calls for span in _spans(call)}
    sources = {label: module.source for label, module in project.modules.items() if label in files}
    given_up = worklist.interpreter.given_up
    return ParsedAgent(
        agent=agent,
        failed=(
            *(each for each in loaded if isinstance(each, FailedFile)),
            *(
                replace(_failure(label, cell.error), cell=cell.number)
                for label, notebook in notebooks.items()
                for cell in notebook.broken
            ),
            *(_given_up(file, line, reason, notebooks) for (file, line), reason in given_up.items()),
        ),
        files=len(loaded),
        sources=sources,
        notebooks={label: notebook for label, notebook in notebooks.items() if label in files},
    )


def _given_up(file: str, line: int, reason: str, notebooks: Mapping[str, Notebook]) -> FailedFile:
    if file not in notebooks:
        return FailedFile(file, line, reason)
    cell = notebooks[file].at(line)
    return FailedFile(file, line - cell.first + 1, reason, cell.number)


def _spans(call: Call) -> Iterator[Span]:
    yield call.span
    for message in call.messages:
        yield from (segment.span for segment in walk(message.segments))


def _failure(file: str, error: BaseException) -> FailedFile:
    match error:
        case SyntaxError():
            return FailedFile(file, error.lineno, f"syntax error: {error.msg}")
        case UnicodeDecodeError():
            return FailedFile(file, None, f"not {error.encoding} text: byte {error.start} is {error.reason}")
        case RecursionError() | MemoryError():
            return FailedFile(file, None, "expressions or statements are nested too deeply to be read")
        case OSError():
            return FailedFile(file, None, f"cannot be read: {error.strerror or error}")
    return FailedFile(file, None, str(error))
