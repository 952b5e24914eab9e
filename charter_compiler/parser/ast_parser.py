"""Python source to IR: the front door of the parser. Nothing that is read here is imported or run."""

from __future__ import annotations

import ast
import os
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from charter_compiler.diagnostics.diagnostic import Diagnostic
from charter_compiler.diagnostics.errors import SourceError
from charter_compiler.ir.nodes import Agent, Call
from charter_compiler.ir.verify import verify
from charter_compiler.parser.files import label_of, python_files, read_source
from charter_compiler.parser.findings import findings
from charter_compiler.parser.positions import Positions
from charter_compiler.parser.sites import calls_of
from charter_compiler.parser.statements import Executor


@dataclass(frozen=True, slots=True)
class FailedFile:
    """A file that could not be parsed; ``line`` is ``None`` where the failure has none (an unreadable file)."""

    file: str
    line: int | None
    message: str


@dataclass(frozen=True, slots=True)
class ParsedAgent:
    """What was found in the files. ``sources`` holds the text of the files that have calls, by their label."""

    agent: Agent
    diagnostics: tuple[Diagnostic, ...] = ()
    failed: tuple[FailedFile, ...] = ()
    files: int = 0
    sources: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def calls(self) -> tuple[Call, ...]:
        return self.agent.calls

    def require(self) -> ParsedAgent:
        """The same, if every file could be parsed.

        Raises:
            SourceError: names the first file that could not.
        """
        for failed in self.failed:
            place = failed.file if failed.line is None else f"{failed.file}:{failed.line}"
            raise SourceError(failed.message, place=place, remedy="only source that Python can parse is inspected")
        return self


class AgentASTParser:
    """Finds the model calls of Python source, the templates of their prompts, and how results flow between them.

    It has no state; one parser serves any number of files. What it returns is verified: a ``VerificationError`` is a
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
        try:
            return _parse(text, file)
        except _UNREADABLE as error:
            return ParsedAgent(Agent(file, ()), failed=(_failure(file, error),), files=1)

    def parse_paths(self, paths: Iterable[str | os.PathLike[str]]) -> ParsedAgent:
        """Parse files, and all Python files in folders. What cannot be read is listed in ``failed``."""
        given = [Path(path) for path in paths]
        parsed: list[ParsedAgent] = []
        for path, label in python_files(given):
            try:
                parsed.append(self.parse_source(read_source(path), label))
            except (OSError, *_UNREADABLE) as error:
                parsed.append(ParsedAgent(Agent(label, ()), failed=(_failure(label, error),), files=1))
        agent = Agent(" ".join(label_of(path) for path in given), tuple(call for one in parsed for call in one.calls))
        if len(parsed) > 1:  # each file alone has been verified
            verify(agent)
        return ParsedAgent(
            agent=agent,
            diagnostics=tuple(diagnostic for one in parsed for diagnostic in one.diagnostics),
            failed=tuple(failed for one in parsed for failed in one.failed),
            files=len(parsed),
            sources={file: text for one in parsed for file, text in one.sources.items()},
        )


_UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError)
"""What ``ast.parse`` raises: a null byte is a ``ValueError``, too deep nesting a ``RecursionError`` or, from the
parser's own stack, a ``MemoryError``. ``UnicodeDecodeError`` is a ``ValueError``."""


def _parse(text: str, file: str) -> ParsedAgent:
    with warnings.catch_warnings():
        # Invalid escapes and the like are the business of the user's linter.
        warnings.simplefilter("ignore")
        tree = ast.parse(text, filename=file)
    executor = Executor(tree, Positions(file, text))
    executor.module(tree)
    calls = calls_of(executor.evaluator.sites.values(), file)
    agent = Agent(file, calls)
    verify(agent)
    return ParsedAgent(agent, findings(calls, text), files=1, sources={file: text} if calls else {})


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
